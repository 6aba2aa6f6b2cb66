/**
 * Whatever is done to a Postgres road, at the source, by operators, to its config and to its processes, in whatever order: at rest the target is the source
 * without what is held or was given up, verify says just that, and once all is let through it is the source. From seeds, which are printed: a few that stay;
 * ANYTHING_SEED takes another, and ANYTHING_RUNS so many from there.
 */
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Random } from '../support/random.ts';
import { step } from './anything-steps.ts';
import { AnyTable } from './anything-tables.ts';
import { AnyWorld } from './anything-world.ts';

const FIRST = process.env['ANYTHING_SEED'];
const RUNS = Number(process.env['ANYTHING_RUNS'] ?? 1);
const STEPS = Number(process.env['ANYTHING_STEPS'] ?? 40);
/** Where what was done is kept of those that fail, with the service's log: a file of each seed that begins so. */
const LOG = process.env['ANYTHING_LOG'];
const SEEDS = FIRST === undefined ? [1, 2, 3] : Array.from({ length: RUNS }, (_, n) => Number(FIRST) + n);

test.concurrent.each(SEEDS)('the target is the source without what is held (ANYTHING_SEED=%i)', { timeout: 300_000 }, async (seed) => {
  console.log(`ANYTHING_SEED=${seed}`);
  const random = new Random(seed);
  const tables = Array.from({ length: 1 + random.below(3) }, (_, n) => new AnyTable(`t${n}`, random));
  await using world = await AnyWorld.start('any', tables, random);
  try {
    for (let n = 0; n < STEPS; n++) await step(world, random);
    await world.check();
    await world.settle();
    await world.repair();
  } catch (error) {
    const { message, stack } = error as Error;
    if (LOG !== undefined) writeFileSync(`${LOG}.${seed}.txt`, [stack, ...world.said, ...world.service.log].join('\n'));
    expect.unreachable(`ANYTHING_SEED=${seed}: ${message}\n${world.said.join('\n')}`);
  }
});
