/** Rules that databases are asked by, in the service between two real databases. */
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { TIMERS } from '../../quality/timers/registry.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { type Told, webhookReceiver } from '../support/receiver.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

const HEAD = 'apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.orders\n';

interface Said {
  readonly rule: string;
  readonly verdict: string;
  readonly observed: unknown;
  readonly reason: string | null;
}

async function world(rules: string, alerts: Readonly<Record<string, unknown>> = {}) {
  const source = await createDatabase(inject('sourceServer'), 'timers');
  const target = await createDatabase(inject('targetServer'), 'timers');
  const sql = await PgConnection.connect({ url: source.url });
  const lake = await PgConnection.connect({ url: target.url });
  await sql.script(`create table orders (id bigint primary key, total numeric(12,2)); create table copies (like orders including all);
    insert into orders values (1, 4), (2, 6)`);
  const config = configFolder(
    {
      sources: {
        shop: {
          kind: 'postgres',
          url: source.url,
          slot: source.name,
          publication: 'tidegate_timers',
          tables: ['public.orders', 'public.copies'],
        },
      },
      alerts,
    },
    { 'orders.rules.yaml': HEAD + rules },
    { source: source.url, target: target.url },
  );
  return {
    sql,
    lake,
    config,
    slot: source.name,
    write: (text: string) => writeFileSync(join(config.folder, 'orders.rules.yaml'), HEAD + text),
    /** All results, newest first. */
    async results(rule?: string): Promise<readonly Said[]> {
      const { json } = await cli('windows', 'list', config.file, '--json', ...(rule === undefined ? [] : ['--rule', rule]));
      return (json as { windows: readonly Said[] }).windows;
    },
    async [Symbol.asyncDispose]() {
      config[Symbol.dispose]();
      await Promise.all([sql.close(), lake.close()]);
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
    },
  };
}

const RULES = `checks:
  - { id: none-below, sql: { query: "select id from {batch} where total < 0", every: 1s }, severity: warning }
  - { id: shown, sql: { query: "select id, total from {batch} where total < 0;", every: 1s }, allow_values: true }
  - { id: sum, sql: { query: "select sum(total) from {batch}", on: source, every: 1s, between: [9.99, 10] } }
  - { id: same, sql: { query: "select count(*) filter (where total is null) = 0 from {batch}", returns: boolean, every: 1s } }
  - { id: gx, expect: unexpected_rows_expectation, kwargs: { unexpected_rows_query: "select * from {batch} where total > 1000" } }
  - { id: broken, sql: { query: "select 10 / (select min(total) from {batch})", min: 0, every: 1s } }
  - { id: slow, sql: { query: "select 1 from {batch}, pg_sleep(20)", every: 1s, timeout: 50ms } }
`;

test('each query is asked at its times, and what it comes to is a result like others, told once of each change', async () => {
  const told: Told[] = [];
  const receiver = webhookReceiver(told);
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  await using at = await world(RULES, {
    someone: {
      kind: 'webhook',
      url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
      secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
      events: ['window.*'],
      allowNetworks: ['127.0.0.1/32'],
    },
  });
  await using running = await startService(at.config);
  await untilReady(running.url);
  const newest = async (rule: string): Promise<Partial<Said>> => (await at.results(rule))[0] ?? {};
  const says = (rule: string, verdict: string) =>
    eventually(async () => (await newest(rule)).verdict === verdict, `${rule} says ${verdict}`, 30_000);
  for (const rule of ['none-below', 'shown', 'sum', 'same', 'gx', 'broken']) await says(rule, 'pass');
  await says('slow', 'indeterminate');
  expect(await newest('slow')).toMatchObject({ observed: null, reason: 'the target took longer than 0.05 s' });
  expect(await newest('sum')).toMatchObject({ observed: 10 });
  await at.sql.script('insert into orders values (3, -5), (4, 0.01), (5, null); update orders set total = 0 where id = 1');
  for (const rule of ['none-below', 'shown', 'sum', 'same']) await says(rule, 'fail');
  await says('broken', 'fail');
  await at.sql.script('update orders set total = 0 where total < 0');
  await says('broken', 'indeterminate');
  await says('none-below', 'pass');
  expect(await newest('broken')).toMatchObject({ observed: null, reason: 'the target refused the query (22012)' });
  expect(await newest('same')).toMatchObject({ observed: false, reason: 'the query returned false' });
  const [shown] = (await at.results('shown')).filter(({ verdict }) => verdict === 'fail');
  expect(shown).toMatchObject({
    observed: 1,
    reason: 'the query returned 1 rows, such as {"id": 3, "total": -5.00}, and there should be none',
  });
  // No value of a row where they are not allowed.
  const [failed] = (await at.results('none-below')).filter(({ verdict }) => verdict === 'fail');
  expect(failed).toMatchObject({ observed: 1, severity: 'warning', reason: 'the query returned 1 rows, and there should be none' });
  await eventually(
    async () => (await at.lake.query('select from tidegate.window_results where not told')).rows.length === 0,
    'people have been told of all that is news',
  );
  const ofRule = () => told.filter(({ data }) => data['rule'] === 'none-below').map(({ type }) => type);
  await eventually(async () => ofRule().length > 1, 'both have been delivered');
  expect(ofRule()).toEqual(['window.failed', 'window.passed']);
  const metrics = await ask(running.url, '/metrics');
  expect(metrics.text).toMatch(/tidegate_window_failing\{[^}]*rule="same"[^}]*\} 1/);
  expect(metrics.text).toMatch(/tidegate_windows_total\{[^}]*rule="slow",verdict="indeterminate"\}/);
  const ready = await ask(running.url, '/readyz');
  expect(ready.text).toContain('the rule slow of shop.public.orders could not be judged: the target took longer than 0.05 s');
  receiver.close();
}, 120_000);

test('rules that take longer than their time keep no other waiting', async () => {
  const slow = (id: number) => `{ id: slow-${id}, sql: { query: "select 1 from pg_sleep(2)", min: 1, every: 1s } }`;
  await using at = await world(`checks: [${[1, 2, 3, 4].map(slow).join(', ')}, { id: last, sql: { query: select 1, min: 1, every: 1s } }]`);
  await using running = await startService(at.config);
  await untilReady(running.url);
  await eventually(async () => (await at.results('last')).length > 0, 'the last one is asked', 30_000);
}, 60_000);

test('a time is judged once, however often the service is killed, and another query is asked at once', async () => {
  const rule = (query: string) => `checks: [{ id: one, sql: { query: "${query}", every: 1d, min: 0 } }]`;
  await using at = await world(rule('select count(*) from {batch}'));
  for (let start = 0; start < 3; start++) {
    const service = new ServiceProcess(at.config.file);
    try {
      await eventually(
        async () => {
          const known = await at.lake.query("select to_regclass('tidegate.window_results')");
          return known.rows[0]?.[0] !== null && (await at.results('one')).length > 0;
        },
        'it is judged',
        30_000,
      );
      await service.kill();
      // As after a long night: nobody has asked for its times in a while.
      await at.lake.script("update tidegate.window_sets set asked_at = asked_at - interval '1 hour'");
    } finally {
      await service[Symbol.asyncDispose]();
    }
  }
  expect(await at.results('one')).toMatchObject([{ verdict: 'pass', observed: 2, revision: 1 }]);
  at.write(rule('select 7'));
  await using running = await startService(at.config);
  await untilReady(running.url);
  await eventually(async () => (await at.results('one'))[0]?.observed === 7, 'the other query is asked', 30_000);
}, 120_000);

test('what was asked by a clock that ran ahead is asked anew once that is set, and until its time comes nobody takes it for the newest', async () => {
  const DAY_MS = 86_400_000;
  await using at = await world('checks: [{ id: one, sql: { query: "select count(*) from {batch}", every: 1s, min: 0 } }]');
  const service = new ServiceProcess(at.config.file);
  await using _ = service;
  const ahead = async (): Promise<number> => {
    const known = await at.lake.query("select to_regclass('tidegate.window_results')");
    if (known.rows[0]?.[0] === null) return NaN;
    const { rows } = await at.lake.query(
      'select starts - extract(epoch from clock_timestamp()) * 1000 from tidegate.window_results order by id desc limit 1',
    );
    return Number(rows[0]?.[0] ?? NaN);
  };
  await eventually(async () => Math.abs(await ahead()) < 60_000, 'it is asked', 30_000);
  await service.setClock(DAY_MS);
  await eventually(async () => (await ahead()) > DAY_MS / 2, 'it is asked by a clock that is ahead', 30_000);
  await service.setClock(0);
  await eventually(async () => Math.abs(await ahead()) < 60_000, 'it is asked again', 30_000);
  const { json } = await cli('windows', 'list', at.config.file, '--newest', '--json');
  const [newest, ...others] = (json as { windows: readonly { startMs: number }[] }).windows;
  expect(others).toEqual([]);
  expect(newest?.startMs).toBeLessThan(Date.now() + 60_000);
}, 120_000);

test('what a database says of a query, and what would write, is refused when rules are loaded', async () => {
  await using at = await world('');
  const refused = async (parameters: string) => {
    at.write(`checks: [{ sql: ${parameters} }]`);
    const { code, json } = await cli('check', at.config.file, '--json');
    const { problems } = json as { problems: readonly { severity: string; path: string; message: string }[] };
    const own = problems.filter(({ path }) => path.includes('checks[0]'));
    return [code, ...own.map(({ severity, message }) => `${severity} ${message}`)];
  };
  const source = 'on: source';
  expect(await refused(`{ query: "selec 1", ${source} }`)).toEqual([
    2,
    expect.stringContaining('error sql: the source refuses the query: syntax error at or near'),
  ]);
  for (const [query, message] of [
    ['select nothing from {batch}', 'column "nothing" does not exist'],
    ['select 1 from nowhere', 'relation "nowhere" does not exist'],
    ['delete from {batch} returning id', 'syntax error'],
    ['with gone as (delete from {batch} returning id) select * from gone', 'WITH clause containing a data-modifying statement'],
    ['select 1; select 2', 'syntax error'],
    ['select 1) x; drop table orders; --', ''],
  ])
    expect((await refused(`{ query: "${query}", ${source} }`))[1]).toContain(`error sql: the source refuses the query: ${message}`);
  expect((await refused(`{ query: "select id, total from {batch}", ${source}, min: 1 }`))[1]).toBe(
    'error sql: the query returns 2 columns, and one number is needed',
  );
  expect((await refused(`{ query: "select 'x'::text", ${source}, returns: boolean }`))[1]).toBe('error sql: the query returns no boolean');
  // The table of the target is made with the first row.
  expect((await refused('{ query: "select 1 from {batch} where false" }'))[1]).toMatch(
    /^warning sql: the target refuses the query: relation/,
  );
  expect(await refused(`{ query: "select 1 from {batch} where false -- nothing", ${source} }`)).toHaveLength(1);
}, 60_000);

const RECONCILED = `checks:
  - { id: proof, reconcile: { with: source, every: 1s } }
  - { id: copies, reconcile: { with: shop.public.copies, sums: { total: total }, checksum: [id, total], every: 1s } }
  - { id: values, reconcile: { with: shop.public.copies, rows: false, checksum: [total, id], every: 1s }, allow_values: true }
  - { id: near, reconcile: { with: shop.public.copies, rows: false, sums: [total], tolerance: 0.5, every: 1s } }
`;

test('the target is held against its source, and against another table, while both go on', async () => {
  await using at = await world(RECONCILED);
  await using running = await startService(at.config);
  await untilReady(running.url);
  const newest = async (rule: string): Promise<Partial<Said>> => (await at.results(rule))[0] ?? {};
  const says = (rule: string, verdict: string) =>
    eventually(async () => (await newest(rule)).verdict === verdict, `${rule} says ${verdict}`, 30_000);
  await says('proof', 'pass');
  expect(await newest('proof')).toMatchObject({ observed: 0, rows: 2 });
  expect((await newest('proof')).reason).toMatch(/^through .*, of 2 rows none differs$/);
  await says('copies', 'fail');
  expect((await newest('copies')).reason).toContain('rows: 2, and there 0; sum of total: 10.00, and there 0');
  await at.sql.script('insert into copies values (1, 4), (2, 6)');
  await says('copies', 'pass');
  // The same number of rows, and the same sum, and other rows.
  await at.sql.script('update copies set total = 10 - total');
  for (const rule of ['copies', 'values']) await says(rule, 'fail');
  expect(await newest('copies')).toMatchObject({
    reason: expect.stringMatching(
      /^it differs from shop.public.copies: other values, such as only here \{"id": "[12]"\}, \{"id": "[12]"\}, and only in shop.public.copies \{"id": "[12]"\}, \{"id": "[12]"\}$/,
    ) as unknown,
  });
  expect((await newest('values')).reason).toMatch(/such as only here \{"id": "[12]", "total": "[46]\.00"\}/);
  await says('near', 'pass');
  // Somebody else writes the target.
  await at.lake.script('update shop.orders set total = 5 where id = 1; insert into shop.orders values (7, 7)');
  await says('proof', 'fail');
  expect(await newest('proof')).toMatchObject({ observed: 2 });
  expect((await newest('proof')).reason).toMatch(/of 2 rows 1 lost, 1 surplus: 1 lost \(total\); 7 surplus$/);
  await at.sql.script('update orders set total = total + 1; insert into orders values (7, 7)');
  await says('proof', 'pass');
}, 120_000);

test('a table is held against another one once both are copied', async () => {
  await using at = await world(`checks:
  - { id: both, reconcile: { with: shop.public.copies, sums: [total] } }
  - { id: one, sql: { query: "select count(*) from {batch}", min: 2 } }
`);
  // While somebody has it, it is not copied. A slot would not be made either.
  await at.sql.script('insert into copies select * from orders; create publication tidegate_timers for table orders, copies');
  await at.sql.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [at.slot]);
  await at.sql.script('begin; lock table copies');
  await using running = await startService(at.config);
  // Both are due at the same time.
  await eventually(async () => (await at.results('one'))[0]?.verdict === 'pass', 'what asks for one of them is asked');
  await at.sql.script('commit');
  await untilReady(running.url);
  await eventually(async () => (await at.results('both'))[0]?.verdict === 'pass', 'they are the same');
}, 120_000);

test('a dataset that is none of the pipeline’s, or columns that a table has not got, are refused when rules are loaded', async () => {
  await using at = await world('');
  const said = async (parameters: string, word = 'reconcile') => {
    at.write(`checks: [{ ${word}: ${parameters} }]`);
    const { json } = await cli('check', at.config.file, '--json');
    const { problems } = json as { problems: readonly { severity: string; path: string; message: string }[] };
    return problems.filter(({ path }) => path.includes('checks[0]')).map(({ severity, message }) => `${severity} ${message}`);
  };
  expect(await said('{ with: shop.public.copis }')).toEqual([
    'error reconcile: shop.public.copis is none of the tables of the pipeline main',
  ]);
  expect(await said('{ with: shop.public.orders }')).toEqual(['error reconcile: it is the dataset itself: there is nothing to differ']);
  expect(await said('{}', 'schema_compatible')).toEqual([
    'error schema_compatible: neither the source nor the target has a schema registry',
  ]);
  expect(await said('{ with: source }')).toEqual([]);
  await at.lake.script('create schema shop; create table shop.orders (id bigint); create table shop.copies (id bigint, note text)');
  expect(await said('{ with: shop.public.copies, checksum: [total] }')).toEqual([
    'error reconcile: the target refuses the query: column "total" does not exist',
  ]);
  expect(await said('{ with: shop.public.copies, sums: { id: note } }')).toEqual([]);
}, 60_000);

// What asks a registry has its example in test/quality/timers.test.ts.
const asked = [...TIMERS.values()].filter(({ example }) => example.areVersions !== true);
test.each(asked.map(({ name, example }) => [name, example] as const))(
  'the example of %s',
  async (_, { rule, passes, fails, beside }) => {
    for (const [rows, verdict] of [
      [passes, 'pass'],
      [fails, 'fail'],
    ] as const) {
      await using at = await world(`checks:\n  ${rule}`);
      await at.sql.script('truncate orders');
      for (const [table, all] of [
        ['orders', rows],
        ['copies', beside?.rows ?? []],
      ] as const)
        for (const [index, row] of all.entries())
          await at.sql.query(`insert into ${table} values (($1::jsonb ->> 'id')::bigint, ($1::jsonb ->> 'total')::numeric)`, [
            JSON.stringify({ id: index, ...row }),
          ]);
      await using running = await startService(at.config);
      await untilReady(running.url);
      await eventually(async () => (await at.results())[0]?.verdict === verdict, `it says ${verdict}`, 30_000);
    }
  },
  60_000,
);
