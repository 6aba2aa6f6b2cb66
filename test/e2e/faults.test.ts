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
/** Each with a fault of the target and another at once, and judged by itself: more of them than there are kinds of either. */
const ROUNDS = 20;

test(`nothing is lost, doubled or out of order through every fault (seed ${SEED})`, { timeout: 600_000 }, async () => {
  const rounds: Round[] = [];
  for await (const round of faultRounds({ rounds: ROUNDS, seed: SEED, both: true })) rounds.push(round);
  const failed = rounds.filter(({ failure }) => failure !== null);
  expect(failed, 'npm run test:faults -- --rounds 1 --seed <seed> --both replays a round').toEqual([]);
  expect(rounds).toHaveLength(ROUNDS);
  // Whatever a fault lacks here (a disk of its own, say) is told; none is left out, and a round in which one had no effect has failed.
  const struck = new Set(rounds.flatMap(({ faults }) => faults.flatMap((pair) => pair.split(' + '))));
  expect(FAULTS.map(({ name }) => name).filter((name) => !struck.has(name))).toEqual([]);
});
