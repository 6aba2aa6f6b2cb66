/** A table that one pipeline writes is refused to another, by name, whichever comes first and however long it is away; what is meant to share one does. */
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent, LaneId, Position } from '../../core/event.ts';
import { type PostgresSink, postgresSink, type PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { insertOf } from './shop.ts';

const rowOf = (id: number): ChangeEvent => insertOf(id, 1, `${1000 + id}`.padStart(16, '0'));
const never = new AbortController().signal;
const VERSIONS = { epoch: 0, keepMs: 3_600_000 };

let database: TestDatabase;
let sql: PgConnection;

beforeAll(async () => {
  database = await createDatabase(inject('targetServer'), 'claims');
  sql = await PgConnection.connect({ url: database.url });
});
beforeEach(async () => {
  await sql.script('drop schema if exists shop, elsewhere, tidegate cascade');
});
afterAll(async () => {
  await sql?.close();
  await database?.[Symbol.asyncDispose]();
});

interface Writer extends AsyncDisposable {
  readonly sink: PostgresSink;
  /** Writes one row, or empties the table: 'written', or the error. */
  readonly write: (event?: ChangeEvent) => Promise<string>;
}

async function writer(
  pipeline: string,
  road: string,
  options: Partial<PostgresSinkOptions> & { takesOver?: readonly string[] } = {},
): Promise<Writer> {
  const { takesOver = [], ...own } = options;
  const sink = await postgresSink({
    name: 'lake',
    url: database.url,
    schema: 'shop',
    tables: { create: true, widen: true },
    hold: () => 'event',
    scores: [],
    pipeline,
    claims: { road: road as LaneId, hasDataset: () => true, takesOver },
    ...own,
  });
  let places = 0;
  return {
    sink,
    write: async (event = rowOf(1 + places)) => {
      try {
        const lease = await sink.acquire(road as LaneId);
        const from = lease.checkpoint?.position ?? '0';
        const position = `${from}${++places}` as Position;
        const batch = new Batch([event], { lane: road as LaneId, position });
        batch.after = lease.checkpoint?.position ?? null;
        const applied = await sink.apply(batch, [], lease, never);
        return applied.kind === 'applied' ? 'written' : 'refused';
      } catch (error) {
        if (error instanceof PipelineError) return `${error.code} ${error.message}`;
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

const rows = async (): Promise<number> => Number((await sql.query('select count(*) from shop.items')).rows[0]?.[0]);
const TRUNCATE = { ...rowOf(1), op: 'truncate', before: null, after: null, key: '' } as ChangeEvent;

test('the second is refused by the names of both, also while the first is away, with rows, truncates and a lane that stay as they are', async () => {
  {
    await using first = await writer('orders', 'shop/a');
    expect([await first.write(), await first.write()]).toEqual(['written', 'written']);
  }
  await using second = await writer('copy', 'other/b');
  const refused =
    /^TARGET_TABLE_CLAIMED writing "shop"."items" at lake, for the pipeline copy: the pipeline orders \(shop\/a\) has written shop.public.items there since \d{4}-/;
  expect(await second.write(TRUNCATE)).toMatch(refused);
  expect(await second.write()).toMatch(refused);
  expect(await rows()).toBe(2);
  expect((await sql.query("select position from tidegate.lanes where lane = 'other/b'")).rows).toEqual([[null]]);
  await using again = await writer('orders', 'shop/a');
  expect(await again.write(rowOf(9))).toBe('written');
});

test('of those that begin at the same moment one writes', async () => {
  for (let round = 0; round < 5; round++) {
    await sql.script('drop schema if exists shop cascade; drop schema if exists tidegate cascade');
    await using one = await writer('one', 'shop/a');
    await using two = await writer('two', 'shop/b');
    await using three = await writer('three', 'shop/c');
    const outcomes = await Promise.all([one, two, three].map(({ write }, n) => write(rowOf(n))));
    expect(outcomes.filter((outcome) => outcome === 'written').length).toBe(1);
    expect(outcomes.filter((outcome) => outcome.startsWith('TARGET_TABLE_CLAIMED')).length).toBe(2);
    expect(await rows()).toBe(1);
  }
});

test('a pipeline with another name goes on, and its replay lane and other workers with it', async () => {
  {
    await using first = await writer('orders', 'shop/a');
    expect(await first.write()).toBe('written');
  }
  await using renamed = await writer('sales', 'shop/a');
  await using worker = await writer('sales', 'shop/a');
  expect(await renamed.write(rowOf(5))).toBe('written');
  expect(await worker.write(rowOf(6))).toBe('written');
  expect((await sql.query('select pipeline, road from tidegate.table_claims')).rows).toEqual([['sales', 'shop/a']]);
});

test('a slot with another name takes its place once the one before has ended, and not sooner', async () => {
  {
    await using first = await writer('orders', 'shop/a');
    expect(await first.write()).toBe('written');
    await using early = await writer('orders', 'shop/b');
    expect(await early.write()).toMatch(/^TARGET_BUSY .* by another lane, which is not at its end/);
  }
  await using second = await writer('orders', 'shop/b');
  expect(await second.write(rowOf(5))).toBe('written');
});

test('a pipeline that takes over another one does so once that has ended, and that one is refused from then on', async () => {
  {
    await using first = await writer('old', 'shop/a');
    expect(await first.write()).toBe('written');
    await using early = await writer('new', 'other/b', { takesOver: ['old'] });
    expect(await early.write()).toMatch(/^TARGET_TABLE_CLAIMED .* and still does/);
  }
  await using second = await writer('new', 'other/b', { takesOver: ['old'] });
  expect(await second.write(rowOf(5))).toBe('written');
  await using late = await writer('old', 'shop/a');
  expect(await late.write()).toMatch(/^TARGET_TABLE_CLAIMED .* the pipeline new \(other\/b\)/);
});

test('two roads with row versions share a table, and neither does with one that has none', async () => {
  await using slot = await writer('slot', 'direct/a', { rowVersions: VERSIONS });
  await using topics = await writer('topics', 'kafka/b', { rowVersions: VERSIONS });
  await using plain = await writer('plain', 'third/c');
  expect([await slot.write(), await topics.write(rowOf(2))]).toEqual(['written', 'written']);
  expect(await plain.write()).toMatch(/^TARGET_TABLE_CLAIMED/);
});

test('a table that a road has left is free', async () => {
  {
    await using first = await writer('orders', 'shop/a');
    expect(await first.write()).toBe('written');
  }
  await using left = await writer('orders', 'shop/a', { claims: { road: 'shop/a' as LaneId, hasDataset: () => false, takesOver: [] } });
  await left.sink.acquire('shop/a' as LaneId);
  await using second = await writer('copy', 'other/b');
  expect(await second.write()).toBe('written');
});

test('two roads of one name do not write one target at a time, whatever their tables, for what is released goes by that name', async () => {
  const second = () => writer('main', 'shop/b', { schema: 'elsewhere' });
  const refused = (by: string) => new RegExp(`^TARGET_BUSY .* a pipeline main does so by another lane, ${by}, which is not at its end`);
  {
    await using first = await writer('main', 'crm/a');
    expect(await first.write()).toBe('written');
    await using early = await second();
    expect(await early.write()).toMatch(refused('crm/a'));
    expect((await sql.query("select from tidegate.table_claims where road = 'shop/b'")).rows).toEqual([]);
  }
  await using other = await second();
  expect(await other.write()).toBe('written');
  // Neither by the lane of released rows, which comes to its own tables.
  await using again = await writer('main', 'crm/a');
  await expect(again.sink.acquire('replay:main' as LaneId)).rejects.toThrow(/by another lane, shop\/b,/);
  expect(await again.write(rowOf(7))).toMatch(refused('shop/b'));
  // Under another name both go on.
  await using renamed = await writer('sales', 'crm/a');
  expect([await renamed.write(rowOf(8)), await other.write(rowOf(9))]).toEqual(['written', 'written']);
  await using restarted = await second();
  expect(await restarted.write(rowOf(10))).toBe('written');
});
