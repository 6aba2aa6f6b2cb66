/**
 * Whatever is done to a Postgres road, at the source, by operators and to its processes, in whatever order: at rest the target is the source without what is held
 * or was given up, verify says just that, and once all is let through it is the source. From seeds, which are printed; ANYTHING_SEED begins at another and
 * ANYTHING_RUNS runs more of them.
 */
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Random } from '../support/random.ts';
import { AnyTable, LOOKS } from './anything-tables.ts';
import { AnyWorld } from './anything-world.ts';
import { step } from './anything-steps.ts';

const FIRST = process.env['ANYTHING_SEED'];
const RUNS = Number(process.env['ANYTHING_RUNS'] ?? 1);
const STEPS = Number(process.env['ANYTHING_STEPS'] ?? 60);
const drawn = Math.floor(Math.random() * 1e6);
const seeds = FIRST === undefined ? [1, 2, 3, drawn] : Array.from({ length: RUNS }, (_, n) => Number(FIRST) + n);

test.concurrent.each(seeds)(
  'whatever is done, the target is the source without what is held (ANYTHING_SEED=%i)',
  { timeout: 300_000 },
  async (seed) => {
    console.log(`ANYTHING_SEED=${seed}`);
    const random = new Random(seed);
    const policies = process.env['ANYTHING_POLICIES']?.split(',') ?? ['accept', 'accept', 'hold', 'quarantine', 'ignore'];
    const layouts = process.env['ANYTHING_LAYOUTS']?.split(',') ?? Object.keys(LOOKS);
    const tables = Array.from({ length: 1 + random.below(3) }, (_, n) => new AnyTable(`t${n}`, random, { layouts, policies }));
    await using world = await AnyWorld.start('any', tables, random);
    try {
      for (let n = 0; n < STEPS; n++) await step(world, random);
      await world.check();
      await world.settle();
      await world.repair();
    } catch (error) {
      if (process.env['ANYTHING_LOG'] !== undefined)
        writeFileSync(
          `${process.env['ANYTHING_LOG']}.${seed}.txt`,
          `${(error as Error).stack}\n${world.said.join('\n')}\n${world.service.log.join('\n')}`,
        );
      expect.unreachable(`ANYTHING_SEED=${seed}: ${(error as Error).message}\n${world.said.map((line) => line.slice(0, 2000)).join('\n')}`);
    }
  },
);
