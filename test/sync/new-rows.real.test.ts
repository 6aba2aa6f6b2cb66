/** Batches of nothing but new rows of one table: they go to it as they came, and end as any others would. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type ChangeEvent, type Dataset, type DatasetName, eventId, type Position, type Row, UNCHANGED } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { DatasetOptions } from '../../sync/postgres/layout.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { batchOf, batchSource, DATASET, encoded, gate, insertOf, PLAIN, RELATION, type Values } from './shop.ts';
import { sinkOf } from './store.ts';

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
  await using sink = await sinkOf(url);
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

const OTHERS: Dataset = { ...DATASET, name: 'shop.public.others' as DatasetName };

const othersRow = (...values: Values): Row => {
  const { bytes, cells, at } = encoded(...values);
  return new PgRow({ ...RELATION, dataset: OTHERS }, bytes, cells, at);
};

/** Two tables, as the source has them, and their changes. */
class Source {
  readonly items = new Map<number, Values>();
  readonly others = new Map<number, Values>();
  readonly #random: Random;
  #next = 1;
  #n = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** New rows, and mostly something else among them. */
  batch(n: number): Batch {
    const size = 24 + this.#random.below(40);
    const odd = this.#random.chance(0.8) ? this.#random.below(size) : -1;
    const events = Array.from({ length: size }, (_, i) => ({
      ...(i === odd ? this.#other() : this.#insert()),
      version: placeOf(n),
      ordinal: i,
      committedAtMs: n * 1000,
    }));
    return batchOf(events as unknown as ChangeEvent[], placeOf(n)); // By construction the rows are those that the operation has.
  }

  #insert(id = this.#next++): object {
    const values: Values = [id, ++this.#n, `note ${this.#n}`];
    this.items.set(id, values);
    return { op: 'insert', dataset: DATASET, before: null, after: encoded(...values), key: String(id), movedFrom: null };
  }

  #other(): object {
    const random = this.#random;
    const known = [...this.items.values()][random.below(this.items.size)];
    const kind = random.below(6);
    if (known === undefined || kind === 0) {
      const values: Values = [this.#next++, ++this.#n, 'other'];
      this.others.set(values[0], values);
      return { op: 'insert', dataset: OTHERS, before: null, after: othersRow(...values), key: String(values[0]), movedFrom: null };
    }
    const [id, , note] = known;
    const [before, key] = [encoded(id, null, null), String(id)];
    if (kind === 1) {
      this.items.clear();
      return { op: 'truncate', dataset: DATASET, before: null, after: null, key: '', movedFrom: null };
    }
    this.items.delete(id);
    if (kind === 2) return { op: 'delete', dataset: DATASET, before, after: null, key, movedFrom: null };
    const to = kind === 3 ? this.#next++ : id;
    const values: Values = [to, ++this.#n, kind === 4 ? `note ${this.#n}` : note];
    this.items.set(to, values);
    const after = encoded(to, this.#n, kind === 5 ? UNCHANGED : values[2]);
    if (to === id) return { op: 'update', dataset: DATASET, before: null, after, key, movedFrom: null };
    return { op: 'update', dataset: DATASET, before, after, key: String(to), movedFrom: key };
  }
}

const LAYOUTS: readonly (readonly [string, DatasetOptions, string])[] = [
  ['as it is', PLAIN, 'true'],
  [
    'with columns of its own',
    { ...PLAIN, write: { ...PLAIN.write, operation: 'op', verdict: 'verdict' } },
    `op <> '' and verdict = 'pass'`,
  ],
  ['whose deleted rows stay', { ...PLAIN, softDelete: { at: null, flag: 'gone' } }, 'not gone'],
  ['whose versions stay', { ...PLAIN, history: { from: 'since', to: 'until' } }, 'until is null'],
];

test.each(LAYOUTS)(
  `other changes among them, and other tables: a table %s ends as the source's (seed ${SEED})`,
  async (_, layout, alive) => {
    const source = new Source(new Random(SEED + 1));
    const batches = Array.from({ length: 60 }, (__, n) => source.batch(n + 1));
    await using database = await createDatabase(inject('targetServer'), 'newrows');
    const { url } = database;
    await using sink = await postgresSink({
      name: 'store',
      url,
      schema: 'shop',
      datasets: new Map([[DATASET.name, layout]]),
      tables: { create: true, widen: false },
      hold: () => 'event',
      scores: [],
      pipeline: 'p',
    });
    await runPipeline({ source: batchSource(batches), stages: [], sink }, { drain: never, abort: never });
    await using sql = await PgConnection.connect({ url });
    const rowsOf = async (table: string, where: string): Promise<unknown[]> =>
      (await sql.query(`select id, n, note from shop.${table} where ${where} order by id`)).rows.map((row) => [...row]);
    const expected = (rows: ReadonlyMap<number, Values>): unknown[] =>
      [...rows.values()].toSorted(([a], [b]) => a - b).map(([id, n, note]) => [String(id), String(n), note]);
    expect(await rowsOf('items', alive)).toEqual(expected(source.items));
    expect(await rowsOf('others', 'true')).toEqual(expected(source.others));
  },
);
