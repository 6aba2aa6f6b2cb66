/**
 * A real MariaDB by Debezium's connector for it, in JSON and in Avro, into two schemas. The tables must be the source's, cell by cell, but for what is on the list: each entry says
 * what Debezium makes of it.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Mariadb, startMariadb } from '../../examples/stack/mariadb.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { KINDS, rowsOfKinds } from './mariadb-kinds.ts';
import { stack, startConnector } from './support.ts';
import { readTopic } from './topics.ts';

const ROADS = ['json', 'avro'] as const;
type Road = (typeof ROADS)[number];
const SEED = 20261127;
const TABLES = ['shop.kinds', 'shop.busy', 'shop.cut'];

/** By column: on which roads it differs from the source's, and why. */
const BOTH = ['json', 'avro'] as const;
const DIFFERENCES: Readonly<Record<string, { readonly on: readonly Road[]; readonly why: string }>> = {
  b1: { on: BOTH, why: 'bit(1) is a boolean' },
  u0: { on: BOTH, why: 'a uuid that ends in bytes of zero has them in front' },
  df: {
    on: ['avro'],
    why: "an explicit null in a column that has a default is written as the default; JsonConverter can be told otherwise, Apicurio's Avro converter cannot",
  },
};

let shop: Mariadb;
beforeAll(async () => {
  shop = await startMariadb(mkdtempSync(join(tmpdir(), 'tidegate-mariadb-')));
});
afterAll(() => shop.stop());

test('what follows a MariaDB has its rows, but for what Debezium loses', async () => {
  await using target = await createDatabase(inject('targetServer'), 'maria');
  await using lake = await PgConnection.connect({ url: target.url });
  // Without PostGIS.
  await lake.script("set timezone = 'UTC'; create domain geometry as text");
  const columns = Object.entries(KINDS).map(([name, { type }]) => `${name} ${type}`);
  await shop.sql(`
    create database shop;
    use shop;
    create table kinds (id bigint unsigned primary key, ${columns.join(', ')});
    create table busy (region varchar(10), id int, part int, note text, primary key (region, id));
    insert into busy select concat('r', seq % 3), seq, seq % 5, 'snapshot' from seq_1_to_100;
    create table cut (id int primary key, v int);
    insert into cut values (1, 1), (2, 2);
    ${rowsOfKinds('1')}
  `);
  await using json = await startConnector(shop.url, TABLES, 'json');
  await using avro = await startConnector(shop.url, TABLES, 'avro');
  const source = (prefix: string) => ({ kind: 'kafka', brokers: [stack.broker], group: `g-${prefix}`, prefix, tables: TABLES });
  using config = configFolder({
    sources: { json: source(json.prefix), avro: { ...source(avro.prefix), registry: { url: stack.ccompatUrl } } },
    targets: Object.fromEntries(ROADS.map((road) => [road, { kind: 'postgres', url: target.url, schema: road }])),
    pipelines: Object.fromEntries(ROADS.map((road) => [road, { source: road, target: road, datasets: './*.rules.yaml' }])),
  });
  await using running = await startService(config);
  await untilReady(running.url, 60_000);

  await shop.sql(`${rowsOfKinds('18446744073709550000')} ${CHANGED_KINDS} ${changes().join(';\n')}; ${THE_END}`, 'shop');
  for (const road of ROADS)
    for (const [table, id] of [
      ['busy', -1],
      ['cut', -1],
      ['kinds', 5_000_000],
    ] as const)
      await eventually(
        async () => (await lake.query(`select 1 from ${road}.${table} where id = ${id}`).catch(() => ({ rows: [] }))).rows.length === 1,
        `${road}.${table} has all`,
        30_000,
      );

  // A text of PostgreSQL has no NUL.
  const held = await lake.query(
    "select pipeline, key, op, findings -> 0 ->> 'rule', row_json ->> 'note' from tidegate.quarantine order by 1",
  );
  expect(held.rows).toEqual([...ROADS].sort().map((road) => [road, '["nul","1"]', 'insert', 'target.22021', 'a\uFFFDb']));

  const found: Record<string, Road[]> = {};
  const samples: string[] = [];
  for (const road of ROADS) {
    for (const [table, list] of [
      ['busy', 'region, id, part, extra, note'],
      ['cut', 'id, v'],
    ]) {
      const there = await shop.sql(`select ${list} from ${table} where ${table === 'busy' ? "region <> 'nul'" : 'true'}`, 'shop');
      const { rows } = await lake.query(`select ${list} from ${road}.${table}`);
      expect(rows.map((row) => row.map((cell) => cell ?? 'NULL').join('|')).sort()).toEqual(there.map((row) => row.join('|')).sort());
    }
    for (const [name, differing] of Object.entries(await differences(lake, `${road}.kinds`))) {
      (found[name] ??= []).push(road);
      samples.push(`${road} ${name}: ${differing.slice(0, 3).join('; ')}`);
    }
  }
  const expected = Object.fromEntries(Object.entries(DIFFERENCES).map(([name, { on }]) => [name, on]));
  expect(found, `seed ${SEED}\n${samples.join('\n')}`).toEqual(expected);
});

/** Everything that the connector writes, into one topic. */
const ONE_TOPIC = {
  'provide.transaction.metadata': 'true',
  'heartbeat.interval.ms': '100',
  transforms: 'one',
  'transforms.one.type': 'org.apache.kafka.connect.transforms.RegexRouter',
  'transforms.one.regex': '(?:__debezium-heartbeat\\.)?([^.]+).*',
  'transforms.one.replacement': '$1.beside.one',
};
const UNWRAP = { transforms: 'one,unwrap', 'transforms.unwrap.type': 'io.debezium.transforms.ExtractNewRecordState' };

test.each(['json', 'avro', 'rows alone'] as const)(
  'in %s, heartbeats, transactions and schema changes among the changes are nothing: the lane goes on behind them, and rows tell of the table',
  async (form) => {
    const isFlat = form === 'rows alone';
    const format = form === 'avro' ? 'avro' : 'json';
    await using target = await createDatabase(inject('targetServer'), 'beside');
    await using lake = await PgConnection.connect({ url: target.url });
    await shop.sql(
      'drop database if exists beside; create database beside; create table beside.one (id int primary key, v int); insert into beside.one values (1, 1)',
    );
    await using connector = await startConnector(shop.url, ['beside.one'], format, { ...ONE_TOPIC, ...(isFlat ? UNWRAP : {}) });
    const { prefix } = connector;
    await using topic = await readTopic(stack.broker, `${prefix}.beside.one`);
    const envelope = isFlat ? { envelope: 'unwrapped' } : format === 'avro' ? { registry: { url: stack.ccompatUrl } } : {};
    using config = configFolder({
      sources: { shop: { kind: 'kafka', brokers: [stack.broker], group: `g-${prefix}`, prefix, tables: ['beside.one'], ...envelope } },
      targets: { lake: { kind: 'postgres', url: target.url, schema: 'lake' } },
    });
    await using running = await startService(config);
    await untilReady(running.url, 60_000);
    await shop.sql(
      'insert into one values (2, 2); alter table one add column w bigint; update one set w = 7 where id = 1; create table two (id int primary key)',
      'beside',
    );
    await shop.sql('delete from one where id = 2; drop table two; insert into one values (3, 3, 3)', 'beside');
    const rows = async (): Promise<unknown> =>
      (await lake.query('select id, v, w from lake.one order by id').catch(() => ({ rows: [] }))).rows;
    await eventually(async () => JSON.stringify(await rows()) === '[["1","1","7"],["3","3","3"]]', 'the rows are there', 30_000);
    const kinds = ['ServerNameKey', 'SchemaChangeKey', 'TransactionMetadataKey'];
    if (format === 'json')
      await eventually(
        () => Promise.resolve(kinds.every((kind) => topic.records.some(({ key }) => key?.includes(kind)))),
        'they are in the topic',
        30_000,
      );
    expect((await lake.query('select key, findings from tidegate.quarantine')).rows).toEqual([]);
    expect((await lake.query('select dataset from tidegate.schemas')).rows).toEqual([['shop.beside.one']]);
  },
);

const CHANGED_KINDS = `
  update kinds set tx = null, d = '2000-02-29' where id % 3 = 0;
  update kinds set id = id + 1000 where id % 4 = 0;
  delete from kinds where id % 5 = 0;
`;
const THE_END =
  "insert into busy (region, id, note) values ('end', -1, 'the end'); insert into kinds (id) values (5000000); insert into cut values (-1, 9)";

/** Of every sort, with changes of the table between them. */
function changes(): readonly string[] {
  const dice = new Random(SEED);
  const statements: string[] = [];
  for (let round = 0; round < 150; round++) {
    const [region, id] = [`r${dice.below(3)}`, dice.below(120)];
    const one = [
      `insert ignore into busy (region, id, part, note) values ('${region}', ${id}, ${round}, 'insert')`,
      `update busy set note = 'round ${round}' where id = ${id}`,
      // The same key to MariaDB where only the case changes, and another to PostgreSQL.
      `update ignore busy set region = upper(region), note = 'moved' where id = ${id}`,
      `update ignore busy set id = id + 500 where id = ${id}`,
      `delete from busy where id = ${id}`,
      `begin; delete from busy where id = ${id}; insert into busy (region, id, note) values ('x', ${id}, 'again ${round}'); commit`,
      `replace into busy (region, id, part, note) values ('${region}', ${id}, ${round}, 'replaced')`,
    ];
    statements.push(one[dice.below(one.length)] ?? '');
    if (round === 30) statements.push('truncate cut; insert into cut values (3, 3)');
    if (round === 50) statements.push('alter table busy add column extra int unsigned after part');
    if (round === 60) statements.push('update busy set extra = 4294967295 where part = 2');
    if (round === 90)
      statements.push('alter table busy modify part bigint, add gone int; update busy set part = 5000000000 where part = 3');
    if (round === 110) statements.push('alter table busy drop column gone');
  }
  return [...statements, String.raw`insert into busy (region, id, note) values ('nul', 1, 'a\0b')`];
}

const NULL = '<null>';

/** By column: what differs in `table` from the source. */
async function differences(lake: PgConnection, table: string): Promise<Readonly<Record<string, readonly string[]>>> {
  const kinds = Object.entries(KINDS);
  const asked = kinds.map(([name, { there }]) => `ifnull(${there?.(name) ?? `cast(${name} as char)`}, '${NULL}')`);
  const source = await shop.sql(`select id, ${asked.join(', ')} from kinds order by id`, 'shop');
  const { rows } = await lake.query(
    `select id, ${kinds.map(([name, { here }]) => here?.(name) ?? `${name}::text`).join(', ')} from ${table} order by id`,
  );
  expect(rows.map(([id]) => id)).toEqual(source.map(([id]) => id));
  const found: Record<string, string[]> = {};
  for (const [k, [name, { same = (shown: string) => shown }]] of kinds.entries())
    for (const [i, row] of source.entries()) {
      const [there, here] = [row[k + 1] ?? '', rows[i]?.[k + 1] ?? NULL].map((cell) => (cell === NULL ? cell : same(cell)));
      if (there !== here) (found[name] ??= []).push(`${there?.slice(0, 60)} is ${here?.slice(0, 60)}`);
    }
  return found;
}
