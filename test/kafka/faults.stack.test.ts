/** Two workers under load while one and the target are killed; `npm run test:faults -- --road kafka` has more rounds, and more faults. */
import { expect, test } from 'vitest';
import type { Round } from '../e2e/fault-rounds.ts';
import { KAFKA_FAULTS, kafkaFaultRounds } from './fault-rounds.ts';
import { stack } from './support.ts';

/** The first of them, once each: they strike no server of the stack, which other tests use meanwhile. Workers that end, come and stand still are in workers.stack.test.ts. */
const ROUNDS = 2;
const SEED = Number(process.env['FAULT_SEED'] ?? 1);

test(`over Kafka nothing is lost, doubled or out of order through faults (seed ${SEED})`, { timeout: 300_000 }, async () => {
  const rounds: Round[] = [];
  for await (const round of kafkaFaultRounds({ rounds: ROUNDS, seed: SEED, stack })) rounds.push(round);
  expect(
    rounds.filter(({ failure }) => failure !== null),
    'npm run test:faults -- --road kafka --rounds 2 --seed <seed> replays them',
  ).toEqual([]);
  expect(rounds.map(({ faults }) => faults.join())).toEqual(KAFKA_FAULTS.slice(0, ROUNDS).map(({ name }) => name));
});
