/** tidegate.yaml: what is said of a wrong one, what is never said, and what a right one becomes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from '../support/fast-check.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { type ConfigResult, type Environment, type LoadedConfig, loadConfig, parseConfig } from '../../app/config.ts';
import { type PostgresSourceConfig, type PostgresTargetConfig, publishedConfigSchema } from '../../app/config-schema.ts';
import { generatedFiles } from '../../app/generate.ts';
import { withoutSecrets } from '../../app/secret.ts';
import { formatDuration, parseDuration, parseSize } from '../../app/units.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-config-'));
afterAll(() => rmSync(folder, { recursive: true }));
const FILE = join(folder, 'tidegate.yaml');

/** The smallest config there is. */
const small = `
version: 1
sources:
  shop: {kind: postgres, url: "\${SHOP_URL}", slot: tidegate_shop, publication: tidegate_shop, tables: [public.orders]}
targets:
  lake: {kind: postgres, url: "\${LAKE_URL}", schema: shop}
pipelines:
  main: {source: shop, target: lake}
`;
const env: Environment = { SHOP_URL: 'postgres://reader:hunter1@shop/db', LAKE_URL: 'postgres://writer:hunter2@lake/db' };

/** The small config with some of it replaced, by paths such as 'sources.shop.slot'. */
function changed(changes: Readonly<Record<string, unknown>>): string {
  const config = parse(small) as Record<string, unknown>;
  for (const [path, value] of Object.entries(changes)) {
    const parts = path.split('.');
    let at = config;
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>;
    at[parts.at(-1) ?? ''] = value;
  }
  return stringify(config);
}

const lines = (result: ConfigResult) =>
  (result.kind === 'invalid' ? result.problems : result.warnings).map(
    ({ severity, path, message, fix }) => `${severity === 'error' ? '' : 'warning '}${path} ${message} → ${fix}`,
  );
const problemsOf = (changes: Readonly<Record<string, unknown>>, environment: Environment = env) =>
  lines(parseConfig(changed(changes), FILE, environment)).map((line) => line.replace(/tidegate\.yaml:\d+: /, ''));

function loaded(text: string, environment: Environment = env) {
  const result = parseConfig(text, FILE, environment);
  if (result.kind === 'invalid') throw new Error(lines(result).join('\n'));
  return result.loaded;
}

describe('a wrong config', () => {
  test('every mistake is told at once, in the order of the file, each with its line, its path and a fix', async () => {
    const text = await readFile(new URL('broken.tidegate.yaml', import.meta.url), 'utf8');
    const result = parseConfig(text, '/etc/broken.tidegate.yaml', { SHOP_SECRET: 'hunter3' });
    expect(result.kind).toBe('invalid');
    expect(lines(result)).toMatchSnapshot();
  });

  test('what is no YAML is told with its line', () => {
    expect(lines(parseConfig('version: 1\nsources: {a: [}\n', FILE, {}))[0]).toMatch(/^tidegate\.yaml:2 is no valid YAML: /);
    expect(lines(parseConfig('version: 1\nversion: 1\n', FILE, {}))[0]).toMatch(
      /^tidegate\.yaml:2 is no valid YAML: Map keys must be unique/,
    );
  });

  test('a star without quotes is told with its line, and so are aliases that blow up', () => {
    expect(lines(parseConfig('version: 1\nalerts:\n  a: {events: [*]}\n', FILE, {}))[0]).toMatch(/^tidegate\.yaml:3 /);
    expect(lines(parseConfig('version: 1\nstate: *nowhere\n', FILE, {}))).toEqual([
      expect.stringMatching(/^tidegate\.yaml:2 .* → Put it in quotes/),
    ]);
    const laughs = Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array.from({ length: 9 }, () => `*a${n}`).join(', ')}]`);
    expect(parseConfig('version: 1\nstate: &x [*x]\nsources: &y {a: *y}\n', FILE, {}).kind).toBe('invalid');
    expect(parseConfig(`a0: &a0 [x]\n${laughs.join('\n')}\n`, FILE, {}).kind).toBe('invalid');
  });

  test.each(['', '# nothing yet\n', '[]', 'hello', '7'])('%j is told what it lacks', (text) => {
    const result = parseConfig(text, FILE, {});
    expect(result.kind).toBe('invalid');
    expect(lines(result).length).toBeGreaterThan(0);
  });

  test('a file that is not there is told of, with how to make one', () => {
    expect(lines(loadConfig(join(folder, 'nowhere.yaml'), {}))).toEqual([
      `${join(folder, 'nowhere.yaml')} the config file cannot be read (ENOENT) → Check the path, or write a first one with \`tidegate init\`.`,
    ]);
  });

  test('parts that do not fit each other are told of', () => {
    const second = { kind: 'postgres', url: '${SHOP_URL}', slot: 'tidegate_shop', publication: 'p', tables: ['public.orders'] };
    expect(problemsOf({ 'sources.copy': second })[0]).toMatch(
      /^sources\.copy\.slot the slot tidegate_shop is also that of the source shop →/,
    );
    expect(problemsOf({ 'pipelines.twice': { source: 'shop', target: 'lake' } })[0]).toMatch(
      /^pipelines\.twice\.source the slot of shop is already read by the pipeline main →/,
    );
    expect(problemsOf({ 'sources.copy': { ...second, slot: 's2' }, 'pipelines.copy': { source: 'copy', target: 'lake' } })[0]).toMatch(
      /^pipelines\.copy\.target shop\.orders would be written from two tables/,
    );
    const twice = { 'sources.copy': { ...second, slot: 's2' }, 'pipelines.copy': { source: 'copy', target: 'lake' } };
    expect(problemsOf({ ...twice, 'targets.lake.rowVersions': {} }).join('\n')).not.toMatch(/two tables/);
    expect(problemsOf({ 'targets.lake.schema': 'public', 'targets.lake.url': '${SHOP_URL}' })[0]).toMatch(
      /source and target are the same tables/,
    );
    expect(problemsOf({ 'targets.lake.schema': 'tidegate' })[0]).toMatch(/^targets\.lake\.schema tidegate is the schema of lanes/);
    expect(problemsOf({ 'sources.shop.url': 'mysql://x/y' })[0]).toMatch(/^sources\.shop\.url is no postgres url →/);
    expect(problemsOf({ 'http.host': '0.0.0.0' })[0]).toMatch(/^http\.host 0\.0\.0\.0 is beyond loopback.* → Set http\.tokens/);
    expect(problemsOf({ 'http.tokens': [{ name: 'ci', token: 'short' }] })[0]).toMatch(/^http\.tokens\[0\]\.token is shorter than 16/);
    expect(problemsOf({ lease: '0ms' })[0]).toMatch(/^lease is shorter than a second → Write 1s or more/);
    const use = { model: 'risk', dataset: 'shop.public.order' };
    expect(problemsOf({ 'pipelines.main.models': [use] })[0]).toMatch(
      /shop\.public\.order is no dataset.* → Did you mean shop\.public\.orders\?/,
    );
    const layout = { dataset: 'shop.public.orders' };
    const layoutProblem = (...layouts: readonly object[]) => problemsOf({ 'targets.lake.layouts': layouts })[0];
    expect(layoutProblem({ dataset: 'shop.public.order' })).toMatch(
      /^targets\.lake\.layouts\[0\]\.dataset shop\.public\.order is no dataset that comes .* → Did you mean shop\.public\.orders\?/,
    );
    expect(layoutProblem(layout, { ...layout, table: 'x' })).toMatch(/^targets\.lake\.layouts\[1\]\.dataset .* described twice/);
    expect(layoutProblem({ ...layout, schema: 'tidegate' })).toMatch(/^targets\.lake\.layouts\[0\]\.schema tidegate is not yours/);
    expect(layoutProblem({ ...layout, columns: ['id'], rename: { n: 'm' } })).toMatch(
      /^targets\.lake\.layouts\[0\]\.rename\.n is not among the columns .* → Add it to columns/,
    );
    expect(layoutProblem({ ...layout, rename: { n: 'gone' }, softDelete: { at: 'gone' } })).toMatch(
      /^targets\.lake\.layouts\[0\] two things would go to the column gone →/,
    );
    expect(layoutProblem({ ...layout, history: { from: 'since' } })).toMatch(
      /^targets\.lake\.layouts\[0\]\.history names only one of its two columns → Name both/,
    );
    expect(layoutProblem({ ...layout, history: { from: 'since', to: 'until' }, softDelete: { flag: 'gone' } })).toMatch(
      /^targets\.lake\.layouts\[0\]\.softDelete is of no use beside a history/,
    );
    expect(
      problemsOf({
        'targets.lake.layouts': [{ ...layout, write: { verdict: 'risk' } }],
        'pipelines.main.models': [{ model: 'risk', dataset: 'shop.public.orders', write: { score: 'risk' } }],
      })[0],
    ).toMatch(/^pipelines\.main\.models\[0\]\.write\.score the column risk is written twice/);
    const two = { 'sources.shop.tables': ['public.orders', 'other.items'] };
    expect(problemsOf({ ...two, 'targets.lake.layouts': [{ dataset: 'shop.other.items', table: 'orders' }] })[0]).toMatch(
      /shop\.orders would be written from two tables/,
    );
    expect(
      problemsOf({
        ...two,
        'sources.shop.tables': ['public.orders', 'other.orders'],
        'targets.lake.layouts': [{ dataset: 'shop.other.orders', schema: 'other' }],
      }),
    ).toEqual([expect.stringMatching(/^warning alerts/)]);
    const write = { dataset: 'shop.public.orders', write: { score: 'risk', model: 'risk' } };
    expect(problemsOf({ 'pipelines.main.models': [{ model: 'risk', ...write }] })[0]).toMatch(/the column risk is written twice/);
    const alert = { kind: 'webhook', url: 'http://10.0.0.1/x', secret: 'whsec_abc' };
    expect(problemsOf({ 'alerts.oncall': alert }).map((line) => line.split(' ')[0])).toEqual(
      expect.arrayContaining(['alerts.oncall.url', 'alerts.oncall.secret']),
    );
  });

  test('patterns of tables', () => {
    const found = (more: Readonly<Record<string, unknown>>) =>
      problemsOf({
        'sources.shop.tables': [],
        ...Object.fromEntries(Object.entries(more).map(([key, value]) => [`sources.shop.${key}`, value])),
      });
    expect(found({})[0]).toMatch(/^sources.shop.tables no table is read/);
    expect(found({ patterns: ['public.*'] })).toEqual([expect.stringMatching(/^warning alerts/)]);
    expect(found({ tables: ['public.*'] })[0]).toMatch(/^warning sources.shop.tables\[0\] public.\* is taken for the name of one table/);
    expect(found({ tables: ['public.a'], except: ['public.b'] })[0]).toMatch(/sources.shop.except there are no patterns/);
    expect(found({ patterns: ['public'] })[0]).toMatch(/sources.shop.patterns\[0\]/);
    for (const newTables of ['ignore', 'hold', 'quarantine'])
      expect(found({ patterns: ['public.*'], newTables, snapshot: { mode: 'never' } })[0]).toMatch(
        /sources.shop.newTables a lane that copies/,
      );
    const same = { url: 'postgres://u:p@there/app' };
    const here = (more: Readonly<Record<string, unknown>>) =>
      problemsOf({
        'sources.shop': { kind: 'postgres', ...same, slot: 's', publication: 'p', ...more },
        'targets.lake': { kind: 'postgres', ...same, schema: 'copy' },
      });
    expect(here({ patterns: ['*.*'] })[0]).toMatch(/sources.shop.patterns they find what is written to the schema copy/);
    expect(here({ patterns: ['*.*'], except: ['copy.*'] })).toEqual([expect.stringMatching(/^warning alerts/)]);
    expect(here({ patterns: ['co*.a'], except: ['copy.b*'] })[0]).toMatch(/sources.shop.patterns/);
  });

  test('no text at all makes the loader throw, and an invalid one always has an error', () => {
    const words = [
      'version',
      'sources',
      'shop',
      'url',
      'tables',
      'http',
      'port',
      'pipelines',
      'source',
      'models',
      'alerts',
      'batch',
      'age',
    ];
    const leaf = fc.oneof(fc.constantFrom('1', 'shop', 'postgres', '${X}', '~', '[]', '{}', '"', '5s'), fc.string({ maxLength: 8 }));
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, leaf, fc.integer(), fc.dictionary(fc.constantFrom(...words), tie('value'), { maxKeys: 4 })),
    })).value;
    fc.assert(
      fc.property(
        fc.oneof(
          value.map((one) => stringify(one)),
          fc.string(),
        ),
        (text) => {
          const result = parseConfig(text, FILE, {});
          const problems = result.kind === 'invalid' ? result.problems : result.warnings;
          expect(problems.some(({ severity }) => severity === 'error')).toBe(result.kind === 'invalid');
          for (const { path, message, fix } of problems) expect([path, message, fix].every((part) => part.length > 0)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('secrets', () => {
  test('are printed by nothing that prints a config', () => {
    writeFileSync(join(folder, 'token'), 'hunter4hunter4hunter4\n');
    const { config } = loaded(changed({ 'http.tokens': [{ name: 'ci', token: { file: './token' } }] }));
    const printed = [
      JSON.stringify(config),
      inspect(config, { depth: 9, showHidden: true }),
      String(shopOf(config).url),
      stringify(config),
    ];
    expect(printed.join('\n')).not.toMatch(/hunter/);
    expect(shopOf(config).url.reveal()).toBe(env['SHOP_URL']);
    expect(config.http.tokens[0]?.token.reveal()).toBe('hunter4hunter4hunter4'); // Without the file's last line break.
  });

  test.each([
    ['a url where a block belongs', { 'targets.lake': 'postgres://me:hunter5@lake/db' }],
    ['a url where a name belongs', { 'pipelines.main.source': 'postgres://me:hunter5@lake/db' }],
    ['a variable where a name belongs', { 'sources.shop.slot': '${SHOP_URL}' }],
    ['a variable where a table belongs', { 'sources.shop.tables': ['${SHOP_URL}'] }],
    ['a variable where a number belongs', { 'http.port': '${PIN}' }],
    ['a variable where a duration belongs', { drainTimeout: '${SHOP_URL}' }],
    ['a variable where a choice belongs', { 'logs.level': '${SHOP_URL}' }],
    ['a misspelled option', { 'http.tokens': [{ name: 'ci', tokn: 'hunter5hunter5hunter5' }] }],
    ['a url of another kind', { 'sources.shop.url': 'postgress://me:hunter5@lake/db' }],
    ['a wrong signing key', { 'alerts.oncall': { kind: 'webhook', url: 'https://x.example/hunter5', secret: 'hunter5' } }],
  ])('%s is refused without saying it', (_what, changes) => {
    const problems = problemsOf(changes, { ...env, PIN: '12345678' });
    expect(problems).not.toEqual([]);
    expect(problems.join('\n')).not.toMatch(/hunter|12345678/);
  });

  test('are taken out of other people’s messages', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z@:/!]{4,12}$/), (password) => {
        expect(withoutSecrets(`cannot reach postgres://me:${password}Q@host:1/db: no route`)).toBe(
          'cannot reach postgres://[secret]@host:1/db: no route',
        );
      }),
    );
    expect(withoutSecrets('the key whsec_abcDEF123== is wrong')).toBe('the key [secret] is wrong');
    expect(withoutSecrets('see https://tidegate.dev/errors for more')).toBe('see https://tidegate.dev/errors for more');
  });
});

describe('a right config', () => {
  test('what is left out has its default, with durations in ms and sizes in bytes', () => {
    const { config } = loaded(small);
    expect({ ...config, state: '' }).toMatchSnapshot();
    expect(config.state).toBe(join(folder, 'tidegate.db'));
  });

  test('without a receiver of alerts it warns that nobody is told', () => {
    expect(lines(parseConfig(small, FILE, env))).toEqual([
      expect.stringMatching(/^warning tidegate\.yaml:\d+: alerts nobody is told when a lane halts →/),
    ]);
  });

  test('variables are put in: with a default, escaped, in numbers and in names of files', () => {
    const text = changed({
      'targets.lake.schema': '${SCHEMA:-from_default}',
      'sources.shop.publication': '${PUBLICATION}',
      'http.port': '${PORT}',
      'http.allowedHosts': ['a$${b}'],
      state: '${DIR:-.}/state.db',
      drainTimeout: '${DRAIN:-90s}',
    });
    const { config } = loaded(text, { ...env, PUBLICATION: 'pub', PORT: '0', SCHEMA: '' });
    expect([lakeOf(config).schema, shopOf(config).publication, config.http.port]).toEqual(['from_default', 'pub', 0]);
    expect([config.http.allowedHosts, config.state, config.drainTimeout]).toEqual([['a${b}'], join(folder, 'state.db'), 90_000]);
    expect(problemsOf({ 'sources.shop.publication': '${NOBODY}' })).toEqual([
      'sources.shop.publication the environment variable NOBODY is not set → Set NOBODY before you start Tidegate.',
    ]);
  });

  test('a value of null is the same as none', () => {
    expect(loaded(changed({ http: null, logs: null, alerts: null, 'targets.lake.hold': null })).config).toEqual(loaded(small).config);
  });

  test('the shop of the examples loads', () => {
    const result = loadConfig('examples/shop/tidegate.yaml', {
      ...env,
      WAREHOUSE_URL: 'postgres://writer@lake/db',
      WEBHOOK_URL: 'http://127.0.0.1:9/hook',
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
    });
    expect([result.kind, lines(result)]).toEqual(['loaded', []]);
  });

  test('the schema for editors takes what the loader takes, and is the one in the repository', async () => {
    const ajv = new Ajv2020({ strict: false });
    const validate = ajv.compile(publishedConfigSchema());
    expect([validate(parse(small)), validate.errors]).toEqual([true, null]);
    expect(validate(parse(changed({ 'sources.shop.tabels': [] })))).toBe(false);
    for (const [path, text] of generatedFiles()) expect([path, await readFile(path, 'utf8')]).toEqual([path, text]);
  });
});

test('durations and sizes are read with their unit or not at all, and durations are written so that they are read again', () => {
  expect(['1.5s', '200ms', '2h', '1d', '5', 's', '-1s', '1 s', '1S'].map(parseDuration)).toEqual([
    1500,
    200,
    7_200_000,
    86_400_000,
    null,
    null,
    null,
    null,
    null,
  ]);
  expect(['16MiB', '1kB', '1.5KiB', '7B', '1mb', '16'].map(parseSize)).toEqual([16 * 1024 ** 2, 1000, 1536, 7, null, null]);
  fc.assert(
    fc.property(fc.nat(10 ** 9), (ms) => {
      const again = parseDuration(formatDuration(ms));
      expect(Math.abs((again ?? Number.NaN) - ms)).toBeLessThanOrEqual(ms * 0.06);
    }),
  );
});

test('two databases may follow each other as docs/two-way.md has it, and no other way', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/two-way.md'), 'utf8');
  const example = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
  const env = { EAST_URL: 'postgres://east/shop', WEST_URL: 'postgres://west/shop' };
  const read = (text: string) => parseConfig(`version: 1\n${text}`, '/etc/tidegate.yaml', env);
  const errors = (text: string) => {
    const result = read(text);
    return result.kind === 'invalid'
      ? result.problems.filter(({ severity }) => severity === 'error').map(({ path, message }) => `${path} ${message}`)
      : [];
  };
  expect(errors(example)).toEqual([]);
  expect(errors(example.replace('changes: own', 'changes: all'))).toEqual([
    "tidegate.yaml:3: sources.east.changes what this source's pipeline writes comes back by the source west, for ever",
  ]);
  expect(errors(example.replaceAll(', changes: own', ''))).toHaveLength(2);
});

test('topics of the quarantine need brokers, in the config or of the source', () => {
  const read = (topics: string, source = 'kind: postgres, url: postgres://a/b, slot: s, publication: p') => {
    const text = `version: 1\nsources: {shop: {${source}, tables: [public.t]}}\ntargets: {lake: {kind: postgres, url: 'postgres://c/d', schema: s}}\npipelines: {main: {source: shop, target: lake, quarantineTopics: ${topics}}}`;
    const result = parseConfig(text, '/etc/tidegate.yaml', {});
    return result.kind === 'invalid' ? result.problems.flatMap(({ severity, message }) => (severity === 'error' ? [message] : [])) : [];
  };
  const kafka = "kind: kafka, brokers: ['k:9092'], group: g, prefix: p";
  expect(read("{brokers: ['k:9092'], topic: '{pipeline}-dlq'}")).toEqual([]);
  expect(read('{}', kafka)).toEqual([]);
  expect(read('{}')).toEqual(['names no brokers']);
  expect(read('{tls: {}}', kafka)).toEqual(['says how to reach brokers that it does not name']);
  expect(read("{brokers: ['k:9092'], sasl: {mechanism: plain}}")).toEqual(['is missing', 'is missing']);
  expect(read("{brokers: ['k:9092'], topic: '{table}'}")).toHaveLength(1);
});

test('topics as a target need a store, and none of what a pipeline reads', () => {
  const read = (target: string, more = '', source = 'kind: postgres, url: postgres://a/b, slot: s, publication: p') => {
    const text = `version: 1\n${more}\nsources: {shop: {${source}, tables: [public.t]}}\ntargets: {bus: {kind: kafka, brokers: ['k:9092']${target}}}\npipelines: {main: {source: shop, target: bus}}`;
    const result = parseConfig(text, '/etc/tidegate.yaml', {});
    return result.kind === 'invalid'
      ? result.problems.flatMap(({ severity, path, message }) => (severity === 'error' ? [`${path} ${message}`] : []))
      : [];
  };
  expect(read(', store: postgres://c/d')).toEqual([]);
  expect(read('', 'state: postgres://c/d')).toEqual([]);
  expect(read('')).toEqual([
    'tidegate.yaml:4: targets.bus.store is missing: a topic cannot hold where its lanes stand, and what is in quarantine',
  ]);
  expect(read(', store: http://c')).toEqual(['tidegate.yaml:4: targets.bus.store is no postgres url']);
  expect(read(", store: postgres://c/d, topic: '{nobody}'")).toHaveLength(1);
  expect(read(', store: postgres://c/d', '', "kind: kafka, brokers: ['k:9092'], group: g, prefix: shop")).toEqual([
    'tidegate.yaml:4: targets.bus.topic the pipeline main would read what it writes (public.t)',
  ]);
  expect(read(', store: postgres://c/d, topic: one')).toEqual([]);
  expect(read(', store: postgres://c/d, format: avro')).toEqual([
    'tidegate.yaml:4: targets.bus.registry is missing: the schemas of Avro are kept there',
  ]);
  expect(read(", store: postgres://c/d, format: avro, registry: {url: 'https://r'}")).toEqual([]);
});

function shopOf({ sources }: LoadedConfig['config']): PostgresSourceConfig {
  const { shop } = sources;
  if (shop?.kind !== 'postgres') throw new Error('the source shop is no database');
  return shop;
}

function lakeOf({ targets }: LoadedConfig['config']): PostgresTargetConfig {
  const { lake } = targets;
  if (lake?.kind !== 'postgres') throw new Error('the target lake is no database');
  return lake;
}
