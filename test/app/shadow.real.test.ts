/** A draft of rules beside those in force: what it would change is counted and shown, and nothing of it is done. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { DraftView, RulesView, Status } from '../../app/http/shapes.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

let from: TestDatabase;
let to: TestDatabase;
let source: PgConnection;
let target: PgConnection;
let config: TestConfig;

const live = ruleFile('orders', 'event', 'amount: [{id: few, between: {max: 90}}]');
const draft = (least: number) =>
  `mode: shadow\n${ruleFile('orders', 'event', 'amount: [{id: few, between: {max: 95}}]', `id: [{id: late, between: {min: ${least}}, on_fail: halt}]`, 'note: [{id: said, not_in_set: [secret], on_fail: tag}]')}`;
const write = (text: string) => writeFileSync(join(config.folder, 'draft.rules.yaml'), text);

beforeAll(async () => {
  from = await createDatabase(inject('sourceServer'), 'shadow');
  to = await createDatabase(inject('targetServer'), 'shadow');
  source = await PgConnection.connect({ url: from.url });
  target = await PgConnection.connect({ url: to.url });
  await source.script(
    'create table orders (id bigint primary key, amount int, note text); insert into orders select n, n, $$secret$$ from generate_series(1, 100) n',
  );
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'shadow', tables: ['public.orders'] } },
      http: { port: await freePort() },
    },
    { 'orders.rules.yaml': live, 'draft.rules.yaml': draft(4) },
    { source: from.url, target: to.url },
  );
});

afterAll(async () => {
  config?.[Symbol.dispose]();
  await Promise.all([source?.close(), target?.close()]);
  await Promise.all([from?.[Symbol.asyncDispose](), to?.[Symbol.asyncDispose]()]);
});

test('a draft tells what it would change, by rule and with examples, and changes nothing', async () => {
  expect((await cli('check', config.file)).code).toBe(0);
  await using running = await startService(config);
  await untilReady(running.url);
  const rulesNow = async (): Promise<RulesView> => {
    const [pipeline] = ((await ask(running.url, '/api/status')).json as Status).pipelines;
    if (pipeline === undefined) throw new Error('no pipeline');
    return pipeline.rules;
  };
  const only = async (): Promise<DraftView> => {
    const [first] = (await rulesNow()).drafts;
    if (first === undefined) throw new Error('no draft');
    return first;
  };
  const found = await only();
  expect(found).toMatchObject({
    dataset: 'shop.public.orders',
    file: 'draft.rules.yaml',
    events: 100,
    freed: 5,
    taken: 3,
    out: 5,
    failures: 0,
  });
  expect(found.rules).toEqual([
    { rule: 'few', failed: 5, taken: 0 },
    { rule: 'late', failed: 3, taken: 3 },
    { rule: 'said', failed: 100, taken: 0 },
  ]);
  expect(found.examples.map(({ key, to: side }) => `${key} ${side}`).sort()).toEqual(
    ['1 out', '2 out', '3 out', '91 through', '92 through', '93 through', '94 through', '95 through'].sort(),
  );
  expect(JSON.stringify(found)).not.toContain('secret');
  // What is done goes by the rules in force alone; and the draft's `halt` halts nothing.
  expect((await target.query('select count(*), min(revision) from tidegate.quarantine')).rows).toEqual([
    ['10', (await rulesNow()).datasets[0]?.revision],
  ]);
  expect((await target.query('select count(*) from shop.orders')).rows).toEqual([['90']]);
  const metrics = (await ask(running.url, '/metrics')).text;
  expect(metrics).toContain('tidegate_draft_events_total{pipeline="main",dataset="shop.public.orders",side="taken"} 3');
  const words = await cli('rules', config.file);
  expect([words.code, words.stdout]).toEqual([0, expect.stringContaining('read of 3 would be out: late (id is less than 4)')]);

  // Another draft begins to count anew; the rules in force are the same.
  write(`${draft(200)}checks: [{ compound_unique: [amount, note] }]\n`);
  expect((await cli('reload', config.file)).stdout).toContain('shop.public.orders (draft)  1@');
  await source.script("insert into orders values (150, 1, 'b')");
  await eventually(async () => (await only()).events === 1, 'the draft judges what comes');
  expect(await only()).toMatchObject({ taken: 1, examples: [{ key: '150', op: 'insert', to: 'out', why: [{ rule: 'late' }] }] });
  expect((await only()).notAsked).toEqual([]);
  // One that is wrong is refused, one that is gone is no more, and one in its place is in force.
  write(draft(4).replace('between', 'betwixt'));
  expect((await cli('reload', config.file)).code).toBe(2);
  write(draft(4).replace('mode: shadow\n', ''));
  rmSync(join(config.folder, 'orders.rules.yaml'));
  expect((await cli('reload', config.file)).code).toBe(0);
  expect(await rulesNow()).toMatchObject({ drafts: [], refused: null, datasets: [{ file: 'draft.rules.yaml', mode: 'enforce' }] });
});

test('a draft asks the target as it would in force, beside the rows that are there, and leaves nothing there', async () => {
  const goods = (...more: readonly string[]) => ruleFile('goods', 'event', ...more);
  const draftOf = (...more: readonly string[]) => `mode: shadow\n${goods(...more)}`;
  await source.script(`create table kinds (id bigint primary key); create table goods (id bigint primary key, code int, name text, kind bigint);
    alter table goods replica identity full; insert into goods values (100, 50, 'x', null), (101, 50, 'y', null)`);
  const slot = `${from.name}_2`;
  using own = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: from.url, slot, publication: 'shadow_goods', tables: ['public.goods', 'public.kinds'] } },
      targets: { lake: { kind: 'postgres', url: to.url, schema: 'goods' } },
      http: { port: await freePort() },
    },
    {
      'goods.rules.yaml': goods('name: [unique]'),
      'draft.rules.yaml': draftOf('code: [unique]', 'kind: [{ references: { dataset: shop.public.kinds, column: id } }]'),
    },
    { source: from.url, target: to.url },
  );
  await using running = await startService(own);
  await untilReady(running.url);
  await source.script('insert into kinds values (1)');
  for (const row of ["1, 10, 'a', 1", "2, 10, 'b', 1", "3, 11, 'a', 1", "4, 10, 'a', 1", "5, 12, 'c', 9"])
    await source.script(`insert into goods values (${row})`);
  const only = async (): Promise<DraftView | undefined> => {
    const [pipeline] = ((await ask(running.url, '/api/status')).json as Status).pipelines;
    return pipeline?.rules.drafts[0];
  };
  await eventually(async () => (await only())?.events === 7, 'the draft has judged all');
  const found = await only();
  expect(found).toMatchObject({ freed: 1, taken: 3, out: 1, failures: 0, notAsked: [] });
  expect(found?.rules).toEqual([
    { rule: 'code.unique', failed: 3, taken: 2 },
    { rule: 'kind.references', failed: 1, taken: 1 },
  ]);
  expect(found?.examples.map(({ key, to: side, why }) => [key, side, why[0]?.rule]).sort()).toEqual([
    ['101', 'out', 'code.unique'],
    ['2', 'out', 'code.unique'],
    ['3', 'through', 'name.unique'],
    ['5', 'out', 'kind.references'],
  ]);
  expect((await target.query('select id from goods.goods order by id')).rows.flat()).toEqual(['1', '2', '5', '100', '101']);
  expect((await target.query("select array_agg(indexdef) from pg_indexes where schemaname = 'goods' and indexdef ~ 'code'")).rows).toEqual([
    [null],
  ]);
  // A question that the target has no index for is not asked of a large table.
  await target.script("insert into goods.goods select n, n, 'n' || n from generate_series(1000, 60000) n");
  await source.script("insert into goods values (6, 10, 'd', 1)");
  await eventually(async () => (await only())?.events === 8, 'the draft has judged one more');
  expect(await only()).toMatchObject({ taken: 3, notAsked: ['code.unique'] });
  expect((await cli('rules', own.file)).stdout).toMatch(/^! Left out by draft\.rules\.yaml, .*: code\.unique\. Make one at the target\.$/m);
});
