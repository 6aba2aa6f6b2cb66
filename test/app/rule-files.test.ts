/** Rule files: found by the config's patterns, and held against the tables that the pipeline has. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type LoadedConfig, parseConfig } from '../../app/config.ts';
import { loadRuleFiles } from '../../app/rule-files.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const rules = (dataset: string, rest = 'columns: {id: [not_null]}') =>
  `apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${dataset}\nversion: 1\n${rest}\n`;

/** A config of two pipelines over `files`, with `patterns` for the first one. */
function load(
  files: Readonly<Record<string, string>>,
  patterns: unknown = './datasets/*.yaml',
  shop: object | null = null,
  models: readonly object[] = [],
) {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-rules-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const source = (slot: string, tables: readonly string[]) => ({
    kind: 'postgres',
    url: 'postgres://a@b/c',
    slot,
    publication: slot,
    tables,
  });
  const target = (schema: string) => ({ kind: 'postgres', url: 'postgres://a@d/e', schema });
  const config = {
    version: 1,
    sources: { shop: shop ?? source('one', ['public.orders', 'public.items']), crm: source('two', ['public.people']) },
    targets: { lake: target('shop'), pond: target('crm') },
    pipelines: {
      main: { source: 'shop', target: 'lake', datasets: patterns, models },
      second: { source: 'crm', target: 'pond', datasets: patterns },
    },
  };
  const result = parseConfig(JSON.stringify(config), join(folder, 'tidegate.yaml'), {});
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
  return { folder, of: (pipeline: string) => rulesOf(result.loaded, pipeline) };
}

function rulesOf(loaded: LoadedConfig, name: string) {
  const pipeline = loaded.config.pipelines[name];
  if (pipeline === undefined) throw new Error(`no pipeline ${name}`);
  const { files, problems } = loadRuleFiles(loaded, name, pipeline);
  return {
    files: Object.fromEntries([...files].map(([dataset, { file }]) => [dataset, file])),
    problems: problems.map(
      ({ severity, path, message, fix }) => `${severity} ${path.replace(/^.*tidegate-rules-\w+\//, '')} ${message} → ${fix}`,
    ),
  };
}

test('each table gets its file, and one folder may serve several pipelines', () => {
  const shop = load({
    'datasets/a.yaml': rules('shop.public.orders'),
    'datasets/b.yaml': rules('shop.public.items'),
    'datasets/c.yaml': rules('crm.public.people'),
    'datasets/notes.txt': 'no rules',
  });
  expect(shop.of('main')).toEqual({
    files: { 'shop.public.orders': 'datasets/a.yaml', 'shop.public.items': 'datasets/b.yaml' },
    problems: [],
  });
  expect(shop.of('second')).toEqual({ files: { 'crm.public.people': 'datasets/c.yaml' }, problems: [] });
});

test('patterns and paths may be listed, and a file that fits twice is read once', () => {
  const { files, problems } = load({ 'x/a.yaml': rules('shop.public.orders'), 'x/y/b.yaml': rules('shop.public.items') }, [
    'x/**/*.yaml',
    './x/a.yaml',
  ]).of('main');
  expect([Object.values(files).sort(), problems]).toEqual([['x/a.yaml', 'x/y/b.yaml'], []]);
});

test('a table without a file passes unjudged, and that is said', () => {
  expect(load({ 'datasets/a.yaml': rules('shop.public.orders') }).of('main').problems).toEqual([
    expect.stringMatching(
      /^warning tidegate\.yaml:\d+: pipelines\.main\.datasets shop\.public\.items has no rule file: its rows pass unjudged →/,
    ),
  ]);
  expect(load({}).of('main').problems[0]).toMatch(/^warning .* nothing matches \.\/datasets\/\*\.yaml → Check the pattern/);
});

test('a file that is named and not there keeps the pipeline from starting, for all rows would pass', () => {
  const { problems } = load({ 'datasets/a.yaml': rules('shop.public.orders') }, ['./datasets/a.yaml', './datasets/ordres.yaml']).of('main');
  expect(problems[0]).toMatch(
    /^error tidegate\.yaml:\d+: pipelines\.main\.datasets there is no file \.\/datasets\/ordres\.yaml, and its rows would pass unjudged → Check the path/,
  );
});

test('every error of every file is told at once, with the file, the path in it and a fix', () => {
  const { problems } = load({
    'datasets/a.yaml': rules('shop.public.order'),
    'datasets/b.yaml': rules('shop.public.items', 'columns: {id: [not_nul]}\nchecks: [{id: x}]'),
    'datasets/c.yaml': rules('shop.public.orders'),
    'datasets/d.yaml': rules('shop.public.orders'),
    'datasets/e.yaml': 'dataset: [',
    'datasets/f.yaml': rules('nobody.public.orders'),
  }).of('main');
  expect(problems).toEqual(
    expect.arrayContaining([
      'error datasets/a.yaml: dataset shop.public.order is none of the tables of the pipeline main → Did you mean shop.public.orders?',
      expect.stringMatching(/^error datasets\/b\.yaml:.*columns\.id/),
      expect.stringMatching(/^error datasets\/b\.yaml:.*checks/),
      'error datasets/d.yaml: dataset shop.public.orders has a rule file already: datasets/c.yaml → Put all its rules into one file. A second one may be a draft beside it, with `mode: shadow`.',
      expect.stringMatching(/^error datasets\/e\.yaml/),
      expect.stringMatching(/^error datasets\/f\.yaml: dataset nobody\.public\.orders is none of the tables/),
    ]),
  );
  expect(problems.filter((line) => !line.startsWith('error datasets/'))).toEqual([]);
});

test('a window is held against those of another dataset only where both are counted here, by the same time', () => {
  const equal = (other: string) => `checks: [{ row_count_equals: ${other} }]`;
  const said = (orders: string, files: Readonly<Record<string, string>> = {}) =>
    load({ 'datasets/a.yaml': rules('shop.public.orders', orders), ...files })
      .of('main')
      .problems.filter((line) => line.startsWith('error'));
  const items = { 'datasets/b.yaml': rules('shop.public.items') };
  expect(said(equal('shop.public.items'), items)).toEqual([]);
  const at = 'error datasets/a.yaml:5:10: checks[0] row_count_equals:';
  expect(said(equal('crm.public.people'), items)).toEqual([
    `${at} crm.public.people is none of the tables of the pipeline main, and what others write is counted elsewhere → Name one of shop.public.orders, shop.public.items, or add its table to the source.`,
  ]);
  expect(said(equal('shop.public.item'), items)).toEqual([
    `${at} shop.public.item is none of the tables of the pipeline main, and what others write is counted elsewhere → Did you mean shop.public.items?`,
  ]);
  expect(said(equal('shop.public.items'))).toEqual([
    `${at} shop.public.items has no rule file, and nothing says when its rows happened → Write one, be it without a check: apiVersion: quality/v1, kind: DatasetRules, dataset: shop.public.items.`,
  ]);
  expect(said(`source: { event_time: after.at }\n${equal('shop.public.items')}`, items)).toEqual([
    `${at.replace('5:10', '6:10')} rows of this dataset are in windows by the time in a column of theirs, and those of shop.public.items by when they were committed: one window would not have the same rows → Write the same source: { event_time: … } into both files, or leave it out of both.`,
  ]);
});

test('folders and links that lead nowhere are no rule files', () => {
  const shop = load({
    'datasets/a.yaml': rules('shop.public.orders'),
    'datasets/b.yaml': rules('shop.public.items'),
    'datasets/sub.yaml/x': '',
  });
  symlinkSync('nowhere', join(shop.folder, 'datasets/c.yaml'));
  expect(shop.of('main').problems).toEqual([]);
});

test('a draft may have checks that need the target’s rows', () => {
  const asking = 'columns: {id: [unique]}';
  const shop = load({
    'datasets/orders.yaml': rules('shop.public.orders', asking),
    'datasets/items.yaml': rules('shop.public.items'),
    'datasets/draft.yaml': rules('shop.public.orders', `mode: shadow\n${asking}`),
  }).of('main');
  expect(shop.problems).toEqual([]);
});

const TOPICS = { kind: 'kafka', brokers: ['k:9092'], group: 'g', prefix: 'p', tables: ['public.orders'] };

test('over topics whose deletes bring keys alone, the windows that have to know old rows are named', () => {
  const text = rules(
    'shop.public.orders',
    'columns:\n  total: [{ mean: { min: 0 } }, { mean: { min: 0 }, id: changed, window: { of: changes } }]\nchecks: [{ row_count: { min: 1 } }]',
  );
  const warned = (more: object) => load({ 'a.yaml': text }, 'a.yaml', { ...TOPICS, ...more }).of('main').problems;
  expect(warned({})).toEqual([
    'warning a.yaml:6:11: columns.total[0] total.mean: of a row that is deleted shop brings the key of shop.public.orders alone, and a window that may have lost one is indeterminate → Say oldRows: full under sources.shop where its tables have replica identity full, or are of MySQL or MariaDB; or write window: { of: changes }.',
  ]);
  expect(warned({ oldRows: 'full' })).toEqual([]);
});

test('rules that a database is asked by need one on that side', () => {
  const text = rules(
    'shop.public.orders',
    'checks: [{ sql: { query: select 1, on: source } }, { reconcile: { with: source } }, { id: t, sql: select 1 }]',
  );
  const problems = (more: object) => load({ 'a.yaml': text }, 'a.yaml', { ...TOPICS, ...more }).of('main').problems;
  const missing = 'the source shop reads topics, and no database behind them is known → Write sources.shop.database.';
  expect(problems({})).toEqual([
    `error a.yaml:5:12: checks[0].sql sql: ${missing}`,
    `error a.yaml:5:54: checks[1].reconcile reconcile: ${missing}`,
  ]);
  expect(problems({ database: { url: 'postgres://a@b/c' } })).toEqual([]);
});

test('over topics gaps in numbers are told only where a group comes by one partition', () => {
  const problems = (parameters: string) =>
    load({ 'a.yaml': rules('shop.public.orders', `columns: {number: [{sequence_gap: ${parameters}}]}`) }, 'a.yaml', {
      kind: 'kafka',
      brokers: ['k:9092'],
      group: 'g',
      prefix: 'p',
      tables: ['public.orders'],
    }).of('main').problems;
  const refused: unknown = expect.stringMatching(
    /^error a\.yaml:5:\d+: columns\.number\[0\] number\.sequence_gap: shop reads topics, .* → Write one_partition: true/,
  );
  expect(problems('true')).toEqual([refused]);
  expect(problems('{group_by: region, one_partition: false}')).toEqual([refused]);
  expect(problems('{group_by: region, one_partition: true}')).toEqual([]);
});

test('a rule about scores names a model that scores its dataset', () => {
  const use = (model: string, dataset: string) => ({ model, dataset, write: { score: 'risk' } });
  const scored = (model: string) => `checks: [{ abstain_rate: { model: ${model}, max: 0.1 } }]`;
  const models = [use('order-risk@3', 'shop.public.orders')];
  const problems = (orders: string, items: string) =>
    load(
      { 'datasets/a.yaml': rules('shop.public.orders', orders), 'datasets/b.yaml': rules('shop.public.items', items) },
      undefined,
      null,
      models,
    ).of('main').problems;
  expect(problems(scored('order-risk'), 'columns: {id: [not_null]}')).toEqual([]);
  expect(problems(scored('orders-risk'), scored('order-risk'))).toEqual([
    'error datasets/a.yaml:5:28: checks[0].abstain_rate.model no model orders-risk of the pipeline main scores shop.public.orders → Did you mean order-risk?',
    'error datasets/b.yaml:5:28: checks[0].abstain_rate.model no model order-risk of the pipeline main scores shop.public.items → Add it under pipelines.main.models, with this dataset.',
  ]);
});
