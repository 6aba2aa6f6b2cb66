/** Much that is released by one command: whoever releases it has its names, and never its rows. */
import { expect, inject, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import { type ChangeEvent, type Position, ValueRow } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { Desk } from '../../app/desk.ts';
import { discardItems, releaseItems } from '../../app/quarantines.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { createDatabase } from '../support/databases.ts';
import { batchSource, failing, insertOf, LANE } from '../sync/shop.ts';

const never = new AbortController().signal;
const ROWS = 3000;
const NOTE = 'x'.repeat(20_000);

/** How much more memory is taken at any time of the work. */
async function peakOf(work: () => Promise<unknown>): Promise<number> {
  const taken = (): number => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = taken();
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, taken())), 2);
  await work();
  clearInterval(watch);
  return Math.max(most, taken()) - before;
}

test.each(['release', 'discard'] as const)('%s: all that a filter finds takes no more memory than its names', async (what) => {
  await using database = await createDatabase(inject('targetServer'), 'names');
  const options = { name: 'store', url: database.url, schema: 'shop', tables: { create: true, widen: false }, scores: [], pipeline: 'p' };
  await using sink = await postgresSink({ ...options, hold: () => 'key' });
  const hex = (n: number): string => n.toString(16).padStart(16, '0');
  const batches = Array.from({ length: ROWS / 100 }, (_, n) => {
    const events = Array.from({ length: 100 }, (_row, i): ChangeEvent => {
      const id = n * 100 + i;
      return { ...insertOf(id, id, hex(n), i), op: 'insert', before: null, after: new ValueRow(id, id, NOTE) };
    });
    return new Batch(events, { lane: LANE, position: hex(n + 1) as Position });
  });
  await runPipeline({ source: batchSource(batches), stages: [failing(() => true)], sink }, { drain: never, abort: never });
  const desk = { pipeline: 'p', source: 'shop', withSink: <T>(work: (one: typeof sink) => Promise<T>) => work(sink) } as unknown as Desk; // All of it that is asked for.
  const settle = async (): Promise<number> =>
    what === 'release'
      ? (await releaseItems([desk], { filter: {} }, 'me', false, never)).released.length
      : (await discardItems([desk], { filter: {} }, 'me', 'they are wrong')).length;
  let settled = 0;
  const peak = await peakOf(async () => void (settled = await settle()));
  expect(settled).toBe(ROWS);
  expect(peak / 1e6, 'MB').toBeLessThan(30);
});
