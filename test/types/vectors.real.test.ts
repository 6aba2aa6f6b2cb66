/**
 * The types of pgvector on a server that has it: by the snapshot and by the stream, through rules, the quarantine and back. Where
 * no such server is there (`npm run test:matrix` fetches one), nothing of this is run; their bytes are looked at in test/wire/extension-types.test.ts all the same.
 */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { itemDetail } from '../../app/items.ts';
import type { DatasetName, LaneId } from '../../core/event.ts';
import type { EmbeddedServer } from '../../examples/embedded-postgres.ts';
import { parseContract } from '../../quality/contract.ts';
import { qualityStage } from '../../quality/stage.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { hasPgvector, startWithPgvector } from '../support/pgvector.ts';
import { sync } from './sync.ts';
import { replayReleased } from '../support/replay.ts';

/** Each column's values as SQL; the row behind them is null. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  v: ['[1,2.5,-3]', '[0.1,1e-05,1e+06]', '[-0,3.4028235e+38,1e-38]', '[0,0,0]'],
  h: ['[1,2.5,-3]', '[0.099975586,65504,-65504]', '[6.0021877e-05,-0,0]', '[5.9604645e-08,1,2]'],
  s: ['{1:1.5,3:-2}/5', '{}/5', '{5:0.1}/5', '{1:-1e-38,2:3.4028235e+38}/5'],
  a: ['{"[1,2]","[3,4]"}', '{}', '{NULL,"[0.5,-0.5]"}', '[2:2]={"[1,1]"}'],
  w: ['[1]', '[1,2,3,4,5,6,7]', `[${Array.from({ length: 100 }, (_, i) => i / 8).join(',')}]`, '[7]'],
};
const COLUMNS = Object.keys(VALUES);
const TABLE =
  'create table t (id integer primary key, v extensions.vector(3), h extensions.halfvec(3), s extensions.sparsevec(5), a extensions.vector[], w extensions.vector)';
const EXTENSION = 'create schema extensions; create extension vector schema extensions';
const ROWS = `select id, ${COLUMNS.map((name) => `${name}::text`).join(', ')} from t order by id`;

/** Rows `from` to `from + 4`: the last has nothing. */
function insert(from: number): string {
  return [0, 1, 2, 3, 4]
    .map(
      (n) =>
        `insert into t values (${from + n}, ${COLUMNS.map((name) => (VALUES[name]?.[n] === undefined ? 'null' : `'${VALUES[name][n]}'`)).join(', ')})`,
    )
    .join('; ');
}

/** Only what the first row has passes, or nothing at all. */
const rules = parseContract(
  `apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.t\ncolumns: { v: [{ in_set: ['[1,2.5,-3]'], id: known }] }\nchecks: [{ expr: "after.s == null || after.s != '{5:0.1}/5'", id: sparse }]`,
  'vectors.yaml',
);

describe.runIf(hasPgvector())('pgvector', () => {
  let server: EmbeddedServer;
  beforeAll(async () => {
    server = await startWithPgvector();
  });
  afterAll(() => server.stop());

  const road = async (target: TestDatabase, hasExtension: boolean) => {
    const from = await createDatabase(server.url(), 'from');
    const [source, to] = await Promise.all([PgConnection.connect({ url: from.url }), PgConnection.connect({ url: target.url })]);
    await source.script(`${EXTENSION}; ${TABLE}; create table marks (k integer primary key, v text)`);
    // Other types come first, so that none has one OID on both.
    await to.script(`create type other as enum ('x')${hasExtension ? `; ${EXTENSION}` : ''}`);
    return { from, source, target: to, ends: { from, to: target, tables: ['public.t', 'public.marks'] } };
  };

  test('a target without the extension says what it lacks', async () => {
    await using database = await createDatabase(inject('targetServer'), 'to');
    const { from, source, target, ends } = await road(database, false);
    await source.script(insert(1));
    await sync(source, target, { ...ends, mark: 1 });
    const { rows } = await target.query('select dataset, problem from tidegate.schema_changes');
    expect(rows).toEqual([['shop.public.t', expect.stringContaining('has no type extensions.vector: create it there')]]);
    await Promise.all([source.close(), target.close()]);
    await from[Symbol.asyncDispose]();
  });

  test('every value arrives, copied and followed, and is found by its neighbours', async () => {
    await using database = await createDatabase(server.url(), 'to');
    const { from, source, target, ends } = await road(database, true);
    await source.script(insert(1));
    await sync(source, target, { ...ends, mark: 1 });
    expect((await target.query(ROWS)).rows).toEqual((await source.query(ROWS)).rows);
    await source.script(
      `begin; ${insert(11)}; commit; update t set v = '[9,9,9]' where id = 3; update t set s = null where id = 1; delete from t where id = 2`,
    );
    await sync(source, target, { ...ends, mark: 2 });
    expect((await target.query(ROWS)).rows).toEqual((await source.query(ROWS)).rows);
    const { rows: types } = await target.query(
      "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 't'::regclass and attname = 'v'",
    );
    expect(types).toEqual([['extensions.vector(3)']]);
    const nearest = "select id from t where v is not null order by v operator(extensions.<->) '[1,2,-3]', id limit 1";
    expect((await target.query(nearest)).rows).toEqual((await source.query(nearest)).rows);
    await Promise.all([source.close(), target.close()]);
    await from[Symbol.asyncDispose]();
  });

  test('rules read them as texts; what is held is shown as it is, as JSON too, and arrives once it is released', async () => {
    if ('problems' in rules) throw new Error(JSON.stringify(rules.problems));
    await using database = await createDatabase(server.url(), 'to');
    const { from, source, target, ends } = await road(database, true);
    await source.script(insert(1));
    const stages = [qualityStage(new Map([['shop.public.t' as DatasetName, rules.contract]]))];
    await sync(source, target, { ...ends, mark: 1, stages });
    expect((await target.query('select id from t order by id')).rows).toEqual([['1'], ['5']]);

    const options = { name: 'target', url: database.url, schema: 'public', tables: { create: true, widen: false }, pipeline: 'keys' };
    await using sink = await postgresSink({ ...options, hold: () => 'event', scores: [] });
    const items = (await sink.quarantine.find({ limit: 10 })).toSorted((a, b) => Number(a.event.key) - Number(b.event.key));
    expect(items.map(({ event, findings }) => [event.key, findings.map(({ rule }) => rule)])).toEqual([
      ['2', ['known']],
      ['3', ['known', 'sparse']],
      ['4', ['known']],
    ]);
    const texts = new Map((await source.query(ROWS)).rows.map((row) => [row[0], row]));
    const { rows: json } = await target.query('select key, row_json from tidegate.quarantine');
    const kept = new Map(json.map(([key, row]) => [key, JSON.parse(row ?? '{}') as Record<string, string>]));
    for (const item of items) {
      const { columns } = JSON.parse(JSON.stringify(itemDetail('keys', item))) as ReturnType<typeof itemDetail>;
      expect(columns.map(({ after }) => after)).toEqual(texts.get(item.event.key));
      expect(COLUMNS.map((name) => kept.get(item.event.key)?.[name])).toEqual(texts.get(item.event.key)?.slice(1));
    }
    await sink.quarantine.release(
      items.map(({ id }) => id),
      'test',
    );
    await replayReleased(sink, { lane: 'replay:keys' as LaneId, stages: [], batchRows: 25 });
    expect((await target.query(ROWS)).rows).toEqual((await source.query(ROWS)).rows);
    await Promise.all([source.close(), target.close()]);
    await from[Symbol.asyncDispose]();
  });
});
