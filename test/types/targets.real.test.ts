/** Targets that are not made like the source: types that they lack, or have in another schema, or in columns of another type. */
import { expect, inject, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import type { Source } from '../../core/contracts.ts';
import type { ChangeEvent, LaneId, Position, Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { Datasets, readTable, SESSION } from '../../cdc/postgres/catalog.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';

const never = new AbortController().signal;

interface Sides extends AsyncDisposable {
  readonly source: PgConnection;
  readonly target: PgConnection;
  /** Sends the rows of the source's table `t` as inserts: in bulk, then one by one under other ids. */
  send(held?: readonly unknown[]): Promise<void>;
}

async function sides(sourceSql: string, targetSql: string): Promise<Sides> {
  const databases: readonly TestDatabase[] = await Promise.all([
    createDatabase(inject('sourceServer'), 'from'),
    createDatabase(inject('targetServer'), 'to'),
  ]);
  const [source, target] = await Promise.all(databases.map(({ url }) => PgConnection.connect({ url })));
  if (source === undefined || target === undefined) throw new Error('not connected');
  await target.script(`${Array.from({ length: 7 }, (_, i) => `create type other${i} as enum ('x')`).join('; ')}; ${targetSql}`);
  await source.script(sourceSql);
  return {
    source,
    target,
    send: async (held: readonly unknown[] = []) => {
      const tables = { create: true, widen: false };
      const options = { name: 'target', url: databases[1]?.url ?? '', schema: 'public', tables, pipeline: 'types' };
      await using sink = await postgresSink({ ...options, hold: () => 'event', scores: [] });
      const lane = 'lane' as LaneId;
      const rows = await rowsOf(databases[0]?.url ?? '');
      const many = Array.from({ length: 30 }, (_, i) => rows.map((row) => insert(row, i * 100))).flat();
      const source: Source = {
        name: 'shop',
        async *read(resume) {
          const { checkpoint } = await resume(lane);
          let place = Number(checkpoint?.position ?? 1000);
          for (const events of [many, ...rows.map((row) => [insert(row, 10_000)])])
            yield new Batch(events, { lane, position: String(++place) as Position });
        },
        acknowledge: async () => {},
        [Symbol.asyncDispose]: async () => {},
      };
      await runPipeline({ source, stages: [], sink }, { drain: never, abort: never });
      expect((await sink.quarantine.find({ limit: 1 })).map(({ findings }) => findings)).toEqual(held);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([source.close(), target.close()]);
      await Promise.all(databases.map((database) => database[Symbol.asyncDispose]()));
    },
  };
}

/** The rows of `t`, as a snapshot encodes them. */
async function rowsOf(url: string): Promise<PgRow[]> {
  await using sql = await PgConnection.connect({ url, settings: SESSION });
  const present = await readTable(sql, 'public.t', null);
  if (present === null) throw new Error('no table');
  const relation = await new Datasets('shop').relationOf(sql, 'public.t', present.message, present);
  const chunks: Buffer[] = [];
  const cells = relation.dataset.columns.map(({ name }) => quoteIdent(name)).join(', ');
  for await (const chunk of sql.copyOut(`copy (select ${cells} from public.t order by id) to stdout (format binary)`)) chunks.push(chunk);
  return tuples(Buffer.concat(chunks), relation);
}

/** COPY BINARY: a header of 19 bytes, then a count of cells and each with its length, then -1. */
function tuples(bytes: Buffer, relation: PgRelation): PgRow[] {
  const rows: PgRow[] = [];
  for (let at = 19; bytes.readInt16BE(at) >= 0;) {
    const cells: number[] = [];
    const count = bytes.readInt16BE(at);
    at += 2;
    for (let i = 0; i < count; i++) {
      const length = bytes.readInt32BE(at);
      cells.push(at + 4, length);
      at += 4 + Math.max(0, length);
    }
    rows.push(new PgRow(relation, bytes, Int32Array.from(cells), 0));
  }
  return rows;
}

/** The row under another id; its first column is an integer. */
function insert(row: PgRow, add: number): ChangeEvent {
  const id = Number(row.value(0)) + add;
  const { dataset } = row.relation;
  const at = row.cells[0] ?? 0;
  const bytes = Buffer.concat([row.bytes, Buffer.alloc(4)]);
  bytes.writeInt32BE(id, row.bytes.length);
  const cells = Int32Array.from(row.cells);
  cells[0] = at === 0 ? 0 : row.bytes.length;
  const version = '0000000000000001' as Version;
  const after = new PgRow(row.relation, bytes, cells, 0);
  return { op: 'insert', before: null, after, dataset, key: String(id), movedFrom: null, version, ordinal: 0, committedAtMs: 0 };
}

const columnsOf = async (sql: PgConnection): Promise<Record<string, string>> =>
  Object.fromEntries(
    (
      await sql.query(
        `select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'public.t'::regclass and attnum > 1 and not attisdropped order by attnum`,
      )
    ).rows.map(([name, type]) => [name ?? '', type ?? '']),
  );

/** Whatever the ids: the rows that are there, as texts, and that there are as many of each. */
async function expectRows(sql: PgConnection, rows: readonly (readonly (string | null)[])[]): Promise<void> {
  const names = Object.keys(await columnsOf(sql)).map((name) => `format('%s', ${quoteIdent(name)})`);
  const found = await sql.query(
    `select ${names.join(', ')}, count(*) from t group by ${names.map((_, i) => i + 1).join(', ')} order by min(id)`,
  );
  expect(found.rows).toEqual(rows.map((row) => [...row, '31']));
}

test('enums and domains that the target lacks arrive as texts and base types, alone and in arrays and composites', async () => {
  await using both = await sides(
    `create type mood as enum ('sad', 'so so'); create domain positive as integer check (value > 0); create domain moods as mood[];
     create domain word as text; create type pair as (a positive, m mood);
     create table t (id integer primary key, m mood, ms mood[], p positive, ps positive[], d moods, w word, ws word[], c pair, cs pair[]);
     insert into t values (1, 'sad', '{sad,NULL,"so so"}', 7, '{1,NULL,2}', '{sad}', 'x', '{a,"b c"}', '(1,sad)', '{"(2,\\"so so\\")",NULL}'); insert into t values (2)`,
    'create type pair as (a integer, m text)',
  );
  await both.send();
  expect(await columnsOf(both.target)).toEqual({
    m: 'text',
    ms: 'text[]',
    p: 'integer',
    ps: 'integer[]',
    d: 'text[]',
    w: 'text',
    ws: 'text[]',
    c: 'pair',
    cs: 'pair[]',
  });
  await expectRows(both.target, [
    ['sad', '{sad,NULL,"so so"}', '7', '{1,NULL,2}', '{sad}', 'x', '{a,"b c"}', '(1,sad)', '{"(2,\\"so so\\")",NULL}'],
    ['', '', '', '', '', '', '', '', ''],
  ]);
});

test('a table of a type that nothing can stand for waits for it, and is told its name', async () => {
  await using both = await sides('create type pair as (a integer); create table t (id integer primary key, c pair[])', '');
  await both.source.script("insert into t values (1, '{(1)}')");
  const problem = 'the target has no type public.pair: create it there as the source has it (or the extension that brings it)';
  await both.send([[expect.objectContaining({ rule: 'schema.held', message: problem })]]);
  expect((await both.target.query('select status, problem from tidegate.schema_changes')).rows).toEqual([['held', problem]]);
});

test('types of extensions are found in whatever schema the target has them', async () => {
  await using both = await sides(
    `create extension hstore; create extension citext; create table t (id integer primary key, h hstore, hs hstore[], c citext);
     insert into t values (1, 'a=>1, b=>NULL', '{"x=>y"}', 'AbC')`,
    'create schema extensions; create extension hstore schema extensions; create extension citext schema pg_catalog',
  );
  await both.send();
  expect(await columnsOf(both.target)).toEqual({ h: 'extensions.hstore', hs: 'extensions.hstore[]', c: 'citext' });
  await expectRows(both.target, [['"a"=>"1", "b"=>NULL', '{"\\"x\\"=>\\"y\\""}', 'AbC']]);
});

test('an extension in pg_catalog has OIDs of its own on each server as well', async () => {
  await using both = await sides(
    `create extension citext schema pg_catalog; create table t (id integer primary key, c citext, cs citext[]); insert into t values (1, 'AbC', '{x,NULL}')`,
    'create extension citext schema pg_catalog',
  );
  await both.send();
  await expectRows(both.target, [['AbC', '{x,NULL}']]);
});

test('columns of another type take the values as that type reads them', async () => {
  await using both = await sides(
    `create type mood as enum ('sad'); create table t (id integer primary key, i integer, n numeric, u uuid, m mood, v varchar(5), ts timestamptz, j json, b bit(3), f real);
     insert into t values (1, 5, 12.50, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'sad', 'abc', '2026-11-24 12:00+02', '{"a": 1}', '101', 0.1); insert into t values (2)`,
    `create table t (id bigint primary key, i numeric(10,2), n double precision, u text, m varchar(3), v char(8), ts text, j jsonb, b text, f double precision)`,
  );
  await both.send();
  await expectRows(both.target, [
    ['5.00', '12.5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'sad', 'abc     ', '2026-11-24 10:00:00+00', '{"a": 1}', '101', '0.1'],
    ['', '', '', '', '', '', '', '', ''],
  ]);
});

test('objects arrive as numbers, and not in a column that would take them for its own', async () => {
  await using both = await sides(
    "create table t (id integer primary key, c regclass, cs regtype[]); insert into t values (1, 't', '{int4,text}')",
    '',
  );
  await both.send();
  expect(await columnsOf(both.target)).toEqual({ c: 'oid', cs: 'oid[]' });
  const own = (await both.source.query("select 't'::regclass::oid")).rows[0]?.[0] ?? '';
  await expectRows(both.target, [[own, '{23,25}']]);
  await both.target.script('drop table t; create table t (id integer primary key, c regclass, cs oid[])');
  await expect(both.send()).rejects.toMatchObject({ code: 'TARGET_SCHEMA', message: expect.stringContaining('make it oid') as string });
});

test('money is the same amount on both sides', async () => {
  await using both = await sides("create table t (id integer primary key, m money); insert into t values (1, '12.50')", '');
  await both.send();
  expect((await both.target.query('select m::numeric from t where id = 1')).rows).toEqual([['12.50']]);
});
