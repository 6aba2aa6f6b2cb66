/** Rows beyond `rowBytes`, by every way that a row comes: they are held without their large cells, and nothing else is. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type DatasetName, UNCHANGED } from '../../core/event.ts';
import type { PostgresSource } from '../../cdc/postgres/source.ts';
import { SourceRows } from '../../cdc/postgres/source-rows.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { follower } from '../support/follower.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { catchUp, failureOf, isCopying, Model, run, testDatabase } from './support.ts';

const server = inject('sourceServer');
const MIB = 1 << 20;
/** The rows that were held so far, as `op id`, with the columns that are missing. */
const held = (batch: Batch): string[] =>
  batch.findings.map(({ index, rule, stage }) => {
    const event = batch.events[index];
    const missing = event?.dataset.columns.filter((_, column) => event.after?.value(column) === UNCHANGED).map(({ name }) => name) ?? [];
    return `${rule} ${stage} ${event?.op ?? ''} ${event?.key ?? ''} ${missing.join()}`;
  });
const T =
  'create table t (id int primary key, a text, b bytea, n int); alter table t alter a set storage external; alter table t alter b set storage external';

test('in the first copy and in the log: one above the limit is held, one below it arrives whole, and all others as ever', async () => {
  await using db = await testDatabase(server, T);
  await db.sql.script(
    `insert into t select i, repeat('x', case i when 5 then 2 * ${MIB} when 7 then ${MIB} - 1000 when 9 then 40 * ${MIB} else 10 end), 'b', i from generate_series(1, 12) i`,
  );
  const model = new Model();
  const found: string[] = [];
  const options = { rowBytes: MIB, snapshot: { mode: 'initial' as const, chunkRows: 4, parallel: 2 } };
  const until = async (done: () => boolean): Promise<void> =>
    run(db.source(options), model, (batch) => {
      found.push(...held(batch));
      return done();
    });
  await until(() => !isCopying(model));
  expect(found.splice(0)).toEqual(['source.row_bytes cdc read 5 a', 'source.row_bytes cdc read 9 a']);
  expect(model.rows('shop.public.t').map(({ id, a, n }) => [id, typeof a === 'string' ? a.length : a, n])).toEqual(
    Array.from({ length: 12 }, (_, i) => [i + 1, i === 4 || i === 8 ? undefined : i === 6 ? MIB - 1000 : 10, i + 1]).sort((a, b) =>
      String(a[0]) < String(b[0]) ? -1 : 1,
    ),
  );
  const before = model.events;
  await db.sql.script(`begin; insert into t values (20, 'small', 'b', 20);
    insert into t values (21, repeat('y', 3 * ${MIB}), decode(repeat('00', 2 * ${MIB}), 'hex'), 21);
    select pg_logical_emit_message(true, 'somebody', repeat('m', 30 * ${MIB}));
    insert into t values (22, 'small', decode(repeat('07', ${MIB} - 1000), 'hex'), 22);
    -- Of what is unchanged nothing is sent, so this one is small.
    update t set n = -21 where id = 21; update t set b = 'small' where id = 21;
    update t set a = repeat('z', 2 * ${MIB}), id = 120 where id = 20; delete from t where id = 21; commit`);
  await until(() => model.events === before + 7);
  expect(found).toEqual(['source.row_bytes cdc insert 21 a,b', 'source.row_bytes cdc update 120 a']);
  expect(model.rows('shop.public.t').find(({ id }) => id === 22)).toMatchObject({ b: { length: MIB - 1000 } });
});

test('of a table that sends its old rows whole: what is large only in the old row is no reason, and is not taken for the new', async () => {
  await using db = await testDatabase(server, `${T}; alter table t replica identity full`, 'create publication tidegate for table t');
  await db.sql.script(`insert into t values (1, repeat('x', 3 * ${MIB}), 'b', 1), (2, 'small', 'b', 2)`);
  const model = new Model();
  const found: string[] = [];
  await catchUp(db.source(), model, db.sql);
  await db.sql.script(
    `update t set n = 10 where id = 1; update t set a = 'short' where id = 1; update t set a = repeat('y', 2 * ${MIB}) where id = 2; update t set n = 3 where id = 2; delete from t where id = 2`,
  );
  await run(db.source({ rowBytes: MIB }), model, (batch) => {
    found.push(...held(batch));
    return model.events >= 5;
  });
  expect(found).toEqual(['source.row_bytes cdc update 2 a']);
  expect(model.rows('shop.public.t').map(({ id, a, n }) => [id, a, n])).toEqual([[1, 'short', 10]]);
});

test('read again by their keys, and brought because somebody asks: as in the log, and no more at once than a batch has room for', async () => {
  await using db = await testDatabase(server, T, 'create publication tidegate for table t');
  const model = new Model();
  const options = { rowBytes: MIB, batch: { rows: 100, bytes: MIB, ageMs: 0 } };
  await catchUp(db.source(options), model, db.sql);
  await db.sql.script(
    `insert into t select i, repeat('x', case when i % 5 = 0 then 3 * ${MIB} when i % 2 = 0 then 900000 else 10 end), 'b', i from generate_series(1, 20) i`,
  );
  const log: string[] = [];
  const until = async (source: PostgresSource, done: () => boolean): Promise<void> =>
    run(source, model, (batch) => {
      log.push(...held(batch));
      return done();
    });
  await until(db.source(options), () => model.events >= 20);
  const inTheLog = model.rows('shop.public.t');
  expect(log.splice(0)).toEqual([5, 10, 15, 20].map((id) => `source.row_bytes cdc insert ${id} a`));
  const keys = Array.from({ length: 20 }, (_, i) => [String(20 - i)]);
  const read = [20, 15, 10, 5].map((id) => `source.row_bytes cdc read ${id} a`);

  const forAnybody = db.source(options);
  const reading = until(forAnybody, () => forAnybody.rereads().some(({ state }) => state === 'done'));
  const request = { dataset: 'shop.public.t' as DatasetName, where: null, keys: [...keys, ['99']] };
  const begun = (): Promise<boolean> =>
    forAnybody.reread(request, new AbortController().signal).then(
      () => true,
      () => false, // The lane does not read yet.
    );
  await eventually(begun, 'the lane begins to read them again');
  await reading;
  expect([log.splice(0), model.rows('shop.public.t')]).toEqual([read, inTheLog]);

  const before = model.events;
  await using rows = await SourceRows.open(
    { name: 'shop', url: db.url, slot: db.slot, publication: 'tidegate', rowBytes: MIB },
    new AbortController().signal,
  );
  await rows.request('public.t', [...keys, ['99']]);
  await until(db.source(options), () => model.events >= before + 21);
  expect([log, model.rows('shop.public.t')]).toEqual([read, inTheLog]);
  // What is compared is cut the same way.
  const sizes: (number | string | null)[] = [];
  for await (const { row } of rows.rows(await rows.table('public.t'), [['99'], ['5'], ['4'], ['3']])) {
    const a = row?.value(1) ?? null;
    sizes.push(a === UNCHANGED ? 'left out' : typeof a === 'string' ? a.length : null);
  }
  expect(sizes).toEqual([null, 'left out', 900000, 10]);
});

test('a row whose very key is too large stops the lane, and says why', async () => {
  await using db = await testDatabase(server, 'create table t (id text primary key, a text)');
  // What an index takes is what is left of it when it is compressed.
  await db.sql.script(`insert into t values (repeat('k', 100000), repeat(md5('x'), 65536))`);
  expect(await failureOf(db.source({ rowBytes: MIB, snapshot: { mode: 'initial', chunkRows: 4, parallel: 1 } }))).toMatchObject({
    code: 'SOURCE_ROW_TOO_LARGE',
  });
});

test('the memory of the process does not follow the size of rows', async () => {
  const rows = Number(process.env['LARGE_ROWS'] ?? 4);
  const megabytes = Number(process.env['LARGE_ROW_MB'] ?? 60);
  const rowBytes = Number(process.env['LARGE_ROW_LIMIT_MB'] ?? 8) * MIB;
  const isAbove = megabytes * 1_000_000 > rowBytes;
  await using from = await createDatabase(server, 'large');
  await using to = await createDatabase(inject('targetServer'), 'large');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  await source.script(`${T}; create table marks (k int primary key, v text)`);
  const insert = (first: number) =>
    `insert into t select i, repeat('0123456789', ${megabytes} * 100000), 'b', i from generate_series(${first}, ${first} + ${rows - 1}) i`;
  await source.script(`${insert(1)}; insert into t values (1000, repeat('x', ${rowBytes} - 1000), 'b', 0)`);
  const road = { from, to, tables: ['public.t', 'public.marks'], rowBytes };
  const copied = await follower({ ...road, mark: 1 });
  await source.script(`${insert(101)}; insert into t values (1001, repeat('y', ${rowBytes} - 1000), 'b', 0)`);
  const streamed = await follower({ ...road, mark: 2 });
  const requested = follower({ ...road, mark: 3, isMarked: true });
  const isThere = async (count: number) => Number((await target.query('select count(*) from tidegate.quarantine')).rows[0]?.[0]) >= count;
  {
    await using asking = await SourceRows.open(
      { name: 'shop', url: from.url, slot: from.name, publication: 'tidegate' },
      new AbortController().signal,
    );
    const keys = Array.from({ length: rows }, (_, i) => [String(i + 1)]);
    await asking.request('public.t', keys);
    await eventually(() => isThere(isAbove ? 3 * rows : 0), 'they are brought again');
    await source.script(`insert into marks values (3, 'there')`);
  }
  const byKeys = await requested;
  console.log(JSON.stringify({ rows, megabytes, copied, streamed, byKeys }));
  const { rows: counts } = await target.query(
    `select count(*) filter (where id < 1000), count(*) filter (where length(a) = ${rowBytes} - 1000) from t`,
  );
  expect(counts).toEqual([[String(isAbove ? 0 : 2 * rows), '2']]);
  const kept = await target.query("select count(*), max(length(event)) < 1000 from tidegate.quarantine where rules = '{source.row_bytes}'");
  expect(kept.rows).toEqual([isAbove ? [String(3 * rows), 't'] : ['0', null]]);
  if (isAbove) for (const { beforeMiB, peakMiB } of [copied, streamed, byKeys]) expect(peakMiB - beforeMiB).toBeLessThan(150);
});
