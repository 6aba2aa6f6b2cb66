/** Databases and roles that have settings, or lack rights, of their own: values stay what they are, and what is missing is told by its name. */
import { randomBytes } from 'node:crypto';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

/** Each changes what a statement means, or how a value is written, for who does not say it himself. */
const SETTINGS = `timezone = 'Asia/Kolkata'; datestyle = 'SQL, DMY'; intervalstyle = 'sql_standard'; extra_float_digits = -4; bytea_output = 'escape';
  xmloption = 'document'; array_nulls = off; search_path = 'nowhere'; default_transaction_isolation = 'serializable'; default_transaction_deferrable = on;
  standard_conforming_strings = off; quote_all_identifiers = on; transform_null_equals = on; row_security = off; client_min_messages = 'debug1';
  lock_timeout = '10ms'; statement_timeout = '2s'; idle_in_transaction_session_timeout = '1s'; client_encoding = 'LATIN1'`;

test('whatever the databases have set for themselves, values arrive as they are', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'own');
  await using target = await createDatabase(inject('targetServer'), 'own');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table t (id int primary key, at timestamptz, day date, span interval, f float8, r real, b bytea, x xml, a text[], v text);
    insert into t values
      (1, '2026-01-02 03:04:05.123456+05', '0044-03-15 BC', '1 year -2 mons +3 days -04:05:06.7', 0.1::float8 + 0.2, 0.1, '\\x00ff5c', 'a<b/>', '{null,"null",a}', 'é🐘\\'),
      (2, 'infinity', '-infinity', '-1 day', 'NaN', '-0', '', null, '{}', '');`);
  for (const [connection, { name }] of [
    [sql, source],
    [lake, target],
  ] as const)
    for (const setting of [...SETTINGS.split(';'), ...(connection.majorVersion < 17 ? [] : [`transaction_timeout = '100ms'`])])
      await connection.script(`alter database "${name}" set ${setting}`);
  using config = configFolder(
    { sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'own', tables: ['public.t'] } } },
    {
      't.rules.yaml':
        'apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.t\nversion: 1\ncolumns: {id: [{between: {max: 9}}]}\n',
    },
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  await sql.script(
    `insert into t select id + 2, at, day, span, f, r, b, x, a, v from t; update t set f = 1e-300 where id = 2; insert into t (id) values (10)`,
  );
  const rows = async (connection: PgConnection, table: string) =>
    (await connection.query(`select t::text from ${table} t where id < 10 order by id`)).rows;
  const expected = await rows(sql, 'public.t');
  await eventually(
    async () =>
      (await lake.query(`select from shop.t where id = 4 or f = 1e-300`)).rows.length === 2 &&
      (await lake.query('select from tidegate.quarantine')).rows.length === 1,
    'the changes are in, and one is held',
  );
  expect(await rows(lake, 'shop.t')).toEqual(expected);
  const { code, stdout } = await cli('verify', config.file, '--wait', '5s');
  expect([code, stdout]).toEqual([0, expect.stringMatching(/public\.t +5 +1 +equal/)]);
});

test.each([
  ['LATIN1', 'äöü', 'äöüß'],
  ['EUC_JP', '日本語', '日本語語'],
])('texts of a source in %s are what they say, to rules too', async (encoding, short, long) => {
  await using source = await createDatabase(inject('sourceServer'), 'own', `encoding '${encoding}' locale 'C'`);
  await using target = await createDatabase(inject('targetServer'), 'own');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`create table t (id int primary key, v text); insert into t values (1, '${short}'), (2, '${long}')`);
  using config = configFolder(
    { sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'own', tables: ['public.t'] } } },
    { 't.rules.yaml': ruleFile('t', 'event', 'v: [{length: {max: 3}}]') },
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  await sql.script(`insert into t values (3, '${long}'), (4, '${short}')`);
  await eventually(async () => (await lake.query('select from shop.t')).rows.length === 2, 'the short ones are in');
  expect((await lake.query('select id, v from shop.t order by id')).rows).toEqual([
    ['1', short],
    ['4', short],
  ]);
  expect((await cli('verify', config.file, '--wait', '5s')).stdout).toMatch(/public\.t +4 +2 +equal/);
});

test.each([
  ['LATIN1', 'é ÿ'],
  ['EUC_JP', '日本'],
])(
  'a target in %s: rows with texts that it lacks are held, all others go on, and a key that it lacks halts with the reason',
  async (encoding, has) => {
    await using source = await createDatabase(inject('sourceServer'), 'own');
    await using target = await createDatabase(inject('targetServer'), 'own', `encoding '${encoding}' locale 'C'`);
    await using sql = await PgConnection.connect({ url: source.url });
    await using lake = await PgConnection.connect({ url: target.url });
    await sql.script(`create table t (id int primary key, v text, n bigint); insert into t values (1, '${has}'), (2, '🐘');
    create table named (v text primary key); insert into named values ('${has}')`);
    await lake.script('create schema shop; create table shop.t (id int primary key, v text, n int)');
    using config = configFolder(
      {
        sources: {
          shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'own', tables: ['public.t', 'public.named'] },
        },
      },
      { 't.rules.yaml': ruleFile('t', 'key', 'v: [{length: {max: 9}}]') },
      { source: source.url, target: target.url },
    );
    expect((await cli('check', config.file)).stdout).toMatch(new RegExp(`the target is in ${encoding}`));
    await using running = await startService(config);
    await untilReady(running.url);
    await sql.script(`insert into t values (3, '🐘 and ${has}', 1), (4, '${has}', 1), (5, '🐘 is held for its length', 1), (6, '${has}', 7777777777);
    update t set v = '${has}' where id = 2; insert into named values ('a')`);
    const held = async () => (await lake.query('select key, rules::text, status from tidegate.quarantine order by key, version')).rows;
    await eventually(async () => (await lake.query('select from shop.named')).rows.length === 2, 'other tables go on');
    expect(await held()).toEqual([
      ['2', '{target.22P05}', 'held'],
      ['2', '{hold.key}', 'waiting'],
      ['3', '{target.22P05}', 'held'],
      ['5', '{v.length}', 'held'],
      ['6', '{target.22003}', 'held'],
    ]);
    expect((await lake.query('select id, v from shop.t order by id')).rows).toEqual([
      ['1', has],
      ['4', has],
    ]);
    await sql.script(`insert into named values ('🐘')`);
    await eventually(
      async () => /halted: .*encoding lacks characters of a key/.test((await ask(running.url, '/readyz')).text),
      'the lane halts, and says why',
    );
  },
);

test('a source in SQL_ASCII: check warns of it, and a text that is not UTF-8 halts the lane with the reason', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'own', `encoding 'SQL_ASCII' locale 'C'`);
  await using target = await createDatabase(inject('targetServer'), 'own');
  await using sql = await PgConnection.connect({ url: source.url });
  await sql.script(`create table t (id int primary key, v text); insert into t values (1, 'é')`);
  using config = configFolder(
    { sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'own', tables: ['public.t'] } } },
    {},
    { source: source.url, target: target.url },
  );
  expect((await cli('check', config.file)).stdout).toMatch(/takes texts in any encoding/);
  await using running = await startService(config);
  await untilReady(running.url);
  await sql.script('insert into t select 2, chr(255)');
  await eventually(
    async () => /halted: .*a text has what its encoding lacks/.test((await ask(running.url, '/readyz')).text),
    'the lane halts, and says why',
  );
});

test('verify by a role that may not read the rows says whose right is missing, on either side', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'own');
  await using target = await createDatabase(inject('targetServer'), 'own');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  const role = `own_${randomBytes(5).toString('hex')}`;
  const as = (url: string): string => Object.assign(new URL(url), { username: role, password: 'secret' }).href;
  await sql.script(`create table t (id int primary key); insert into t values (1), (2)`);
  const sources = (url: string) => ({ shop: { kind: 'postgres', url, slot: source.name, publication: 'own', tables: ['public.t'] } });
  using config = configFolder({ sources: sources(source.url) }, {}, { source: source.url, target: target.url });
  await using running = await startService(config);
  await untilReady(running.url);
  for (const connection of [sql, lake]) await connection.script(`create role ${role} login password 'secret'`);
  try {
    await lake.script(`grant usage on schema tidegate, shop to ${role}; grant select on all tables in schema tidegate to ${role}`);
    using noSource = configFolder({ sources: sources(as(source.url)) }, {}, { source: source.url, target: target.url });
    expect(await cli('verify', noSource.file)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/SOURCE_PRIVILEGE: .*table t/) as unknown,
    });
    using noTarget = configFolder({ sources: sources(source.url) }, {}, { source: source.url, target: as(target.url) });
    expect(await cli('verify', noTarget.file)).toMatchObject({ code: 1, stderr: expect.stringMatching(/TARGET_PRIVILEGE: /) as unknown });
  } finally {
    for (const connection of [sql, lake]) await connection.script(`drop owned by ${role}; drop role ${role}`);
  }
});
