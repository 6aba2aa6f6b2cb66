/**
 * The same changes by three roads into three schemas: the replication slot, and Debezium's topics in JSON and in Avro. The tables must be the same, cell by
 * cell, but for what is on the list: each entry says what Debezium makes of it.
 */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { COLUMNS, rowsOf } from './kinds.ts';
import { stack, startConnector } from './support.ts';

const ROADS = ['direct', 'json', 'avro'] as const;
type Kafka = 'json' | 'avro';
const SEED = 20261126;

/** By column: on which roads it differs from the slot's, and why. */
const BOTH = ['json', 'avro'] as const;
const DIFFERENCES: Readonly<Record<string, { readonly on: readonly Kafka[]; readonly why: string }>> = {
  'kinds.nnan': { on: BOTH, why: 'NaN has no Decimal, and is written as null' },
  'kinds.ch': { on: BOTH, why: 'char(n) is a string with its padding; as text the padding stays, as char(n) it is not shown' },
  'kinds.dold': { on: BOTH, why: 'a snapshot reads dates as java.sql.Date, which forgets BC' },
  'kinds.ttz': { on: BOTH, why: 'a timetz is moved to UTC' },
  'kinds.iv': { on: BOTH, why: 'an interval is a number of microseconds: a month has 30.4375 days' },
  'kinds.j': { on: BOTH, why: 'json and jsonb are one logical type, so json is kept as jsonb' },
  'kinds.b1': { on: BOTH, why: 'bit(1) is a boolean' },
  'kinds.vb': { on: BOTH, why: 'how long a bit varying is is not written' },
  'kinds.ip': { on: BOTH, why: 'inet is a string, and kept as text' },
  'kinds.mny': { on: BOTH, why: 'money is a decimal' },
  'kinds.def': {
    on: ['avro'],
    why: "an explicit null in a column that has a default is written as the default; JsonConverter can be told otherwise, Apicurio's Avro converter cannot",
  },
};

test('the slot and Debezium bring the same rows, but for what Debezium loses', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'roads');
  await using target = await createDatabase(inject('targetServer'), 'roads');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await lake.script("create type mood as enum ('sad', 'happy')");
  const columns = Object.entries(COLUMNS).map(([name, [type]]) => `${name} ${type}`);
  await sql.script(`
    create type mood as enum ('sad', 'happy');
    create table kinds (id bigint primary key, ${columns.join(', ')}, def integer default 7);
    create table busy (id bigint primary key, part int, note text, big text, key2 text unique);
    alter table busy alter column big set storage external;
    insert into busy select n, n % 5, 'snapshot', repeat(md5(n::text), 100), 'k' || n from generate_series(1, 100) n;
  `);
  const insertKinds = async (from: number): Promise<void> => {
    for (const [i, cells] of rowsOf(COLUMNS).entries()) {
      await sql.script(
        `insert into kinds (id, ${cells.map(([name]) => name).join(', ')}, def) values (${from + i}, ${cells.map(([, value]) => value).join(', ')}, ${i % 2 === 0 ? 'null' : '3'})`,
      );
    }
  };
  await insertKinds(1);
  const tables = ['public.kinds', 'public.busy'];
  await using json = await startConnector(source.url, tables, 'json');
  await using avro = await startConnector(source.url, tables, 'avro');
  const kafka = (prefix: string, format: Kafka) => ({
    kind: 'kafka',
    brokers: [stack.broker],
    group: `g-${prefix}`,
    prefix,
    tables,
    ...(format === 'avro' ? { registry: { url: stack.ccompatUrl } } : {}),
  });
  using config = configFolder(
    {
      sources: {
        direct: { kind: 'postgres', url: source.url, slot: source.name, publication: 'direct', tables },
        json: kafka(json.prefix, 'json'),
        avro: kafka(avro.prefix, 'avro'),
      },
      targets: Object.fromEntries(ROADS.map((road) => [road, { kind: 'postgres', url: target.url, schema: road }])),
      pipelines: Object.fromEntries(ROADS.map((road) => [road, { source: road, target: road, datasets: './*.rules.yaml' }])),
    },
    {},
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url, 60_000);

  const dice = new Random(SEED);
  await insertKinds(101);
  await sql.script(
    'update kinds set def = null, t = null where id % 3 = 0; update kinds set id = id + 1000 where id % 4 = 0; delete from kinds where id % 7 = 0',
  );
  for (let round = 0; round < 150; round++) {
    const id = dice.below(120);
    const statements = [
      `insert into busy values (${id}, ${round}, 'insert', repeat(md5('${round}'), 100), 'r${round}') on conflict do nothing`,
      `update busy set note = 'round ${round}' where id = ${id}`,
      `update busy set id = id + 500, note = 'moved' where id = ${id}`,
      `delete from busy where id = ${id}`,
      `begin; delete from busy where id = ${id}; insert into busy values (${id}, 1, 'again', 'short', 'a${round}') on conflict do nothing; commit`,
    ];
    await sql.script(statements[dice.below(statements.length)] ?? '');
    if (round === 50) await sql.script('alter table busy add column extra integer');
    if (round === 60) await sql.script('update busy set extra = id where part = 2');
    if (round === 100) await sql.script('alter table busy alter column part type bigint; update busy set part = 5000000000 where part = 3');
  }
  await sql.script("insert into busy (id, note) values (-1, 'the end'); insert into kinds (id, t) values (-1, 'the end')");
  for (const road of ROADS) {
    for (const table of ['busy', 'kinds'])
      await eventually(
        async () => (await lake.query(`select 1 from ${road}.${table} where id = -1`)).rows.length === 1,
        `${road}.${table} has all`,
        60_000,
      );
  }
  expect((await lake.query('select id, findings from tidegate.quarantine')).rows).toEqual([]);

  const found: Record<string, Kafka[]> = {};
  const samples: string[] = [];
  for (const road of ['json', 'avro'] as const) {
    for (const [table, names] of [
      ['busy', ['part', 'note', 'big', 'key2', 'extra']],
      ['kinds', [...Object.keys(COLUMNS), 'def']],
    ] as const) {
      expect(await keys(lake, `${road}.${table}`)).toEqual(await keys(lake, `direct.${table}`));
      for (const name of names) {
        const { rows } = await lake.query(
          `select a.id, a.${name}::text, b.${name}::text from direct.${table} a join ${road}.${table} b using (id) where a.${name}::text is distinct from b.${name}::text order by id`,
        );
        if (rows.length === 0) continue;
        (found[`${table}.${name}`] ??= []).push(road);
        samples.push(
          `${road} ${table}.${name}: ${rows
            .slice(0, 3)
            .map(([, a, b]) => `${a?.slice(0, 60)} is ${b?.slice(0, 60)}`)
            .join('; ')}`,
        );
      }
    }
  }
  const expected = Object.fromEntries(Object.entries(DIFFERENCES).map(([name, { on }]) => [name, on]));
  expect(found, `seed ${SEED}\n${samples.join('\n')}`).toEqual(expected);
  // And the road they are held against is the source itself.
  const [here, there] = await Promise.all([
    sql.query('select id, note, big, extra, part from busy order by id'),
    lake.query('select id, note, big, extra, part from direct.busy order by id'),
  ]);
  expect(there.rows).toEqual(here.rows);
});

const keys = async (lake: PgConnection, table: string) => (await lake.query(`select id from ${table} order by id`)).rows.map(([id]) => id);
