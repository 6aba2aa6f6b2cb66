/** What batches are written into is used again, whatever road they take and whatever becomes of them: their number takes no memory. */
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { eventId, type ChangeEvent } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, gate, Shop } from './shop.ts';

const seeds = process.env['SYNC_SEEDS']?.split(',').map(Number) ?? [1, 2];
const never = new AbortController().signal;
const BATCHES = 120;
/** A batch is on one road, and a few are got ready or on their way before and behind it. */
const AT_ONCE_MAX = 8;
const LARGE_BYTES = 1 << 18;

/** How often memory as large as a writer's is made from now on. */
function countLarge(): () => number {
  const made = vi.spyOn(Buffer, 'allocUnsafe');
  onTestFinished(() => made.mockRestore());
  return () => made.mock.calls.filter(([bytes]) => bytes >= LARGE_BYTES).length;
}

test.each(seeds)('seed %i: a hundred batches take the writers that a few do', async (seed) => {
  const random = new Random(seed);
  const shop = new Shop(random, 'encoded', { moves: true, partial: true, truncates: true, keys: 300 });
  const verdicts = new Map<string, 'quarantine' | 'drop'>();
  // What the target itself refuses: it is looked for by halves, and what was sent behind it comes again.
  const isRefused = ({ after }: ChangeEvent): boolean => after?.value(1) === 13;
  let refused = 0;
  const batches: Batch[] = Array.from({ length: BATCHES }, () => {
    const events = Array.from({ length: 20 }, () => shop.transaction()).flat();
    for (const event of events) {
      if (isRefused(event)) refused++;
      else if (random.chance(0.01)) verdicts.set(eventId(event), random.chance(0.7) ? 'quarantine' : 'drop');
    }
    return batchOf(events, shop.place);
  });
  await using database = await createDatabase(inject('targetServer'), 'writers');
  await using sql = await PgConnection.connect({ url: database.url });
  await sql.script('create schema shop; create table shop.items (id bigint primary key, n integer check (n <> 13), note text)');
  await using sink = await postgresSink({
    name: 'store',
    url: database.url,
    schema: 'shop',
    tables: { create: false, widen: false },
    hold: () => 'event',
    scores: [],
    pipeline: 'p',
    besideRowsMin: 1,
  });
  const made = countLarge();
  await runPipeline({ source: batchSource(batches), stages: [gate(verdicts)], sink }, { drain: never, abort: never });
  const { rows } = await sql.query('select count(*) from tidegate.quarantine');
  expect(Number(rows[0]?.[0])).toBeGreaterThan(refused); // All of the roads were taken.
  expect(made()).toBeLessThanOrEqual(AT_ONCE_MAX + refused);
});
