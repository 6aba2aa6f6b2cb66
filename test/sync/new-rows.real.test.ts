/** Batches of nothing but new rows of one table: they go to it as they came, and end as any others would. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type ChangeEvent, eventId, type Position } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, gate, insertOf } from './shop.ts';

const SEED = Number(process.env['NEW_ROWS_SEED'] ?? 1);
const never = new AbortController().signal;
type Held = 'quarantine' | 'drop';

const placeOf = (n: number): Position => String(n).padStart(16, '0') as Position;

/** Rows `ids` of the n-th batch, each with its place in it. */
const batchAt = (n: number, ids: readonly number[], change: (event: ChangeEvent) => void = () => {}): Batch => {
  const events = ids.map((id, i) => insertOf(id, n * 1000 + i, placeOf(n), i));
  for (const event of events) change(event);
  return batchOf(events, placeOf(n));
};

const idsFrom = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

/** What the table has in the end. */
async function written(batches: readonly Batch[], verdicts: ReadonlyMap<string, Held> = new Map()): Promise<unknown[]> {
  await using database = await createDatabase(inject('targetServer'), 'newrows');
  const { url } = database;
  await using sql = await PgConnection.connect({ url });
  await sql.script('create schema shop; create table shop.items (id bigint primary key, n integer, note text)');
  await using sink = await postgresSink({
    name: 'store',
    url,
    schema: 'shop',
    tables: { create: false, widen: false },
    hold: () => 'event',
    scores: [],
    pipeline: 'p',
  });
  await runPipeline(
    { source: batchSource(batches), stages: verdicts.size === 0 ? [] : [gate(verdicts)], sink },
    { drain: never, abort: never },
  );
  return (await sql.query('select id, n, note from shop.items order by id')).rows.map((row) => [...row]);
}

test(`those that are held or dropped are left out, the others are there (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  const verdicts = new Map<string, Held>();
  const expected: unknown[] = [];
  const batches = idsFrom(1, 8).map((n) =>
    batchAt(n, idsFrom(n * 1000, 24 + random.below(100)), (event) => {
      if (random.chance(0.1)) verdicts.set(eventId(event), random.chance(0.5) ? 'quarantine' : 'drop');
      else expected.push([event.key, String(event.after?.value(1)), 'x']);
    }),
  );
  expect(await written(batches, verdicts)).toEqual(expected);
});

test('a key that comes again, in its batch or in a later one, ends with its last state', async () => {
  const ids = idsFrom(1, 50);
  const last = [...ids, 7, 8, 9, 7];
  const rows = await written([batchAt(1, ids), batchAt(2, idsFrom(101, 50)), batchAt(3, last), batchAt(4, idsFrom(201, 50))]);
  const expected = new Map(last.map((id, i) => [String(id), String(3000 + i)]));
  for (const [n, first] of [
    [2, 101],
    [4, 201],
  ] as const)
    for (const [i, id] of idsFrom(first, 50).entries()) expected.set(String(id), String(n * 1000 + i));
  expect(rows).toEqual([...expected].toSorted(([a], [b]) => Number(a) - Number(b)).map(([id, n]) => [id, n, 'x']));
});

test('nobody reads their keys', async () => {
  let reads = 0;
  const counted = (event: ChangeEvent): void => {
    const { key } = event;
    Object.defineProperty(event, 'key', { get: () => (reads++, key) });
  };
  // By the first ones the table and its statement are looked up.
  const batches = idsFrom(1, 8).map((n) => batchAt(n, idsFrom(n * 1000, 50), n === 8 ? counted : undefined));
  expect(await written(batches)).toHaveLength(400);
  expect(reads).toBe(0);
});
