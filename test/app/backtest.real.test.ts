/** `tidegate backtest`: what it says of a changed rule file is what happens when that is taken up. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { Backtested } from '../../app/backtest/backtest.ts';
import type { ReleaseView } from '../../app/http/shapes.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { configFolder, startService, type TestConfig, untilReady } from './services.ts';

let from: TestDatabase;
let to: TestDatabase;
let source: PgConnection;
let target: PgConnection;
let config: TestConfig;

const rules = (max: number, ...more: readonly string[]) =>
  ruleFile('orders', 'event', `amount: [{id: few, between: {max: ${max}}}]`, ...more);
const write = (name: string, text: string): string => {
  const path = join(config.folder, name);
  writeFileSync(path, text);
  return path;
};
const count = async (sql: string) => Number((await target.query(sql)).rows[0]?.[0]);

beforeAll(async () => {
  from = await createDatabase(inject('sourceServer'), 'backtest');
  to = await createDatabase(inject('targetServer'), 'backtest');
  source = await PgConnection.connect({ url: from.url });
  target = await PgConnection.connect({ url: to.url });
  await source.script(
    'create table orders (id bigint primary key, amount int, note text); insert into orders select n, n, $$secret$$ from generate_series(1, 100) n',
  );
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'backtest', tables: ['public.orders'] } },
      targets: {
        lake: {
          kind: 'postgres',
          url: to.url,
          schema: 'shop',
          layouts: [{ dataset: 'shop.public.orders', rename: { amount: 'number' }, history: { from: 'valid_from', to: 'valid_to' } }],
        },
      },
    },
    { 'orders.rules.yaml': rules(90) },
    { source: from.url, target: to.url },
  );
});

afterAll(async () => {
  config?.[Symbol.dispose]();
  await Promise.all([source?.close(), target?.close()]);
  await Promise.all([from?.[Symbol.asyncDispose](), to?.[Symbol.asyncDispose]()]);
});

test('what would change sides is what does, and nothing is changed by asking', async () => {
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await source.script('update orders set amount = 50 where id <= 5');
    await eventually(
      async () => (await count('select count(*) from shop.orders where valid_to is not null')) === 5,
      'five versions are retained',
    );
    expect(await count('select count(*) from tidegate.quarantine')).toBe(10);
  }
  const same = await cli('backtest', config.file, '--rules', join(config.folder, 'orders.rules.yaml'), '--json');
  expect([same.code, same.json]).toMatchObject([
    0,
    { quarantine: { rows: 10, freed: 0, out: 10 }, target: { rows: 90, taken: 0 }, history: { rows: 5, taken: 0 } },
  ]);

  const changed = write(
    'new.yaml',
    rules(95, 'id: [{id: late, between: {min: 4}}]', 'note: [{id: said, not_in_set: [secret], on_fail: tag}]'),
  );
  const asked = await cli('backtest', config.file, '--rules', changed, '--json', '--examples', '2');
  expect(asked.code).toBe(1);
  const found = asked.json as Backtested;
  expect(found).toMatchObject({
    dataset: 'shop.public.orders',
    pipeline: 'main',
    quarantine: { rows: 10, freed: 5, taken: 0, out: 5, others: 0 },
    target: { rows: 90, sampled: false, freed: 0, taken: 3, out: 0 },
    history: { rows: 5, taken: 3 },
    unusable: [],
  });
  expect(found.rules).toEqual([
    { rule: 'few', column: 'amount', onFail: 'quarantine', failed: { quarantine: 5, target: 0, history: 0 }, taken: 0 },
    { rule: 'late', column: 'id', onFail: 'quarantine', failed: { quarantine: 0, target: 3, history: 3 }, taken: 6 },
    { rule: 'said', column: 'note', onFail: 'tag', failed: { quarantine: 10, target: 90, history: 5 }, taken: 0 },
  ]);
  expect(found.examples.map(({ place, to: side }) => `${place} ${side}`)).toEqual([
    'quarantine through',
    'quarantine through',
    'target out',
    'target out',
    'history out',
    'history out',
  ]);
  // Values of rows stay where they are.
  expect(asked.stdout).not.toContain('secret');
  const words = await cli('backtest', config.file, '--rules', changed);
  expect(words.stdout).toContain('quarantine  10    5                 0             5');
  expect(words.stdout).toMatch(/target [123] would be out: late \(id is less than 4\)/);

  // Taken up, the same items would pass; and rows that come again are held as it said.
  write('orders.rules.yaml', rules(95, 'id: [{id: late, between: {min: 4}}]'));
  const released = await cli('quarantine', 'release', config.file, '--all', '--dry-run', '--json');
  const outcomes = (released.json as ReleaseView).results.map(({ outcome }) => outcome);
  expect(outcomes.filter((outcome) => outcome === 'would-pass').length).toBe(found.quarantine.freed);
  expect(outcomes.filter((outcome) => outcome === 'still-fails').length).toBe(found.quarantine.out);
  expect((released.json as ReleaseView).notAsked).toEqual([]);
});

test('of rules that the target is asked for, a backtest leaves out what it cannot count, and says so; a dry run asks', async () => {
  const asking = rules(95, 'note: [unique]', 'id: [sequence_gap]').concat('checks: [{ before_matches: true }]\n');
  const args = ['backtest', config.file, '--rules', write('asking.yaml', asking)];
  expect((await cli(...args, '--json')).json).toMatchObject({
    asked: [
      { rule: 'note.unique', failed: await count('select count(note) - count(distinct note) from shop.orders where valid_to is null') },
    ],
    notAsked: ['id.sequence_gap', 'before_matches'],
    unusable: [],
    target: { taken: 0 },
  });
  expect((await cli(...args)).stdout).toMatch(
    /^note\.unique: [1-9]\d+ rows of the target break it beside the others; they stay\n! Left out, .*: id\.sequence_gap, before_matches$/m,
  );

  write('orders.rules.yaml', asking);
  const dryRun = ['quarantine', 'release', config.file, '--all', '--dry-run'];
  const said = (await cli(...dryRun, '--json')).json as ReleaseView;
  // Before anything is released, the target is asked what it would be asked then.
  expect(said.notAsked).toEqual([]);
  const taken = said.results.filter(({ findings }) => findings.some(({ rule }) => rule === 'note.unique'));
  // Of those that pass the rules of rows.
  const there = `select count(*) from tidegate.quarantine q where status = 'held' and (row_json ->> 'amount')::int <= 95
    and exists (select from shop.orders o where o.valid_to is null and o.note = q.row_json ->> 'note' and o.id::text <> q.key)`;
  expect(taken.length).toBe(await count(there));
  expect(taken.length).toBeGreaterThan(0);
});

test('windows that would change sides are named, with what was observed', async () => {
  const text = `${rules(95, 'id: [{id: mean, mean: {max: 1}, window: {every: 1s}}]')}checks: [{id: scored, abstain_rate: {model: m, max: 0.5}}]\n`;
  const path = write('windows.yaml', text);
  // A window is judged once it has ended, and all changes may lie in the one of just now.
  const now = async () => count('select extract(epoch from clock_timestamp())');
  const changedAt = await now();
  await eventually(async () => (await now()) > changedAt + 1, 'the window of the last change has ended');
  const { code, json } = await cli('backtest', config.file, '--rules', path, '--json');
  const { windows } = json as Backtested;
  const [mean] = windows.rules;
  expect(code).toBe(1);
  expect(mean).toMatchObject({ rule: 'mean', failedBefore: 0 });
  expect(mean?.failed).toBeGreaterThan(0);
  expect(mean?.changed).toBe(mean?.failed);
  expect(windows.examples[0]).toMatchObject({ rule: 'mean', before: null, after: { verdict: 'fail' } });
  expect(Number(windows.examples[0]?.after?.observed)).toBeGreaterThan(1);
  const words = (await cli('backtest', config.file, '--rules', path)).stdout;
  expect(words).toMatch(/^mean +\d+ +0 +\d+ +\d+$/m);
  expect(words).toMatch(/^ {2}mean \S.* \(\d+ rows\): no such window -> fail at [\d.]+$/m);
  expect(words).toMatch(/^! windows of scored are left out: the target does not keep what models were asked$/m);
});

test('what cannot be tried is told', async () => {
  const unknown = write('other.yaml', rules(1).replace('orders', 'order'));
  for (const [args, words] of [
    [[], '--rules is missing'],
    [['--rules', unknown], 'Did you mean shop.public.orders?'],
    [['--rules', write('bad.yaml', rules(1).replace('between', 'betwixt'))], 'betwixt'],
    [['--rules', write('fine.yaml', rules(1)), '--rows', '0'], '--rows 0'],
  ] as const) {
    const { code, stderr } = await cli('backtest', config.file, ...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(words)]);
  }
  const { json } = await cli(
    'backtest',
    config.file,
    '--rules',
    write('gone.yaml', rules(90, 'gone: [not_null, {mean: {max: 1}}]')),
    '--json',
  );
  expect(json).toMatchObject({ unusable: [{ rule: 'gone.not_null' }], target: { rows: 90, taken: 0 } });
});

test('what only waits for an item of its key goes where that one goes', async () => {
  const keyed = (max: number) => ruleFile('orders', 'key', `amount: [{id: few, between: {max: ${max}}}]`);
  const now = write('orders.rules.yaml', keyed(90));
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await source.script('insert into orders values (201, 999); update orders set amount = 1 where id = 201');
    await eventually(async () => (await count(`select count(*) from tidegate.quarantine where status = 'waiting'`)) === 1, 'one waits');
  }
  const quarantine = async (file: string) =>
    ((await cli('backtest', config.file, '--rules', file, '--json')).json as Backtested).quarantine;
  const { rows } = await quarantine(now);
  expect(await quarantine(now)).toMatchObject({ freed: 0, out: rows });
  expect(await quarantine(write('more.yaml', keyed(1000)))).toMatchObject({ freed: rows, out: 0 });
});
