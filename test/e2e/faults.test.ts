/**
 * The service under load while everything around it fails: every kind of fault (faults.ts) strikes at least once. In the end of each round the target is what an
 * oracle makes of the source's own log of changes: nothing lost, doubled or out of order, each held event held once, the ledger closed, `tidegate verify` content.
 *
 * `npm run test:faults` has as many rounds as one likes; FAULT_SEED begins with another seed here.
 */
import { expect, test } from 'vitest';
import { faultRounds, type Round } from './fault-rounds.ts';
import { FAULTS } from './faults.ts';

const SEED = Number(process.env['FAULT_SEED'] ?? 1);
const STEPS = 5;
/** A fault of the target and another strike at once, and most are the target's. */
const ROUNDS = Math.ceil(FAULTS.filter(({ strikes }) => strikes === 'target').length / STEPS);

test(`nothing is lost, doubled or out of order through every fault (seed ${SEED})`, { timeout: 600_000 }, async () => {
  const rounds: Round[] = [];
  for await (const round of faultRounds({ rounds: ROUNDS, seed: SEED, steps: STEPS, both: true })) rounds.push(round);
  const failed = rounds.filter(({ failure }) => failure !== null);
  expect(failed, `npm run test:faults -- --rounds 1 --seed <seed> --steps ${STEPS} --both replays a round`).toEqual([]);
  expect(rounds).toHaveLength(ROUNDS);
});
