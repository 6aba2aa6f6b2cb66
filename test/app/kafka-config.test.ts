/** What a config may say of brokers and registries, and what it says of one that cannot work. */
import { expect, test } from 'vitest';
import { parseConfig } from '../../app/config.ts';
import { makeAuthority } from '../support/certificate.ts';

const authority = makeAuthority('an authority');
const one = authority.issue(['tidegate']);
const another = authority.issue(['somebody else']);
const PASSWORD = 'hunter2-hunter2';

/** What is said of a Kafka source with these options, by the option that it is said of. */
function said(options: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const source = { kind: 'kafka', brokers: ['kafka:9092'], group: 'g', prefix: 'p', tables: ['public.t'], ...options };
  const text = JSON.stringify({
    version: 1,
    sources: { shop: source },
    targets: { lake: { kind: 'postgres', url: 'postgres://u:p@h/d', schema: 'shop' } },
    pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml' } },
    alerts: { ops: { kind: 'webhook', url: 'https://example.com', secret: `whsec_${'a'.repeat(32)}` } },
  });
  const result = parseConfig(text, '/etc/tidegate.yaml', { PASSWORD });
  const problems = result.kind === 'loaded' ? result.warnings : result.problems;
  expect(JSON.stringify(problems)).not.toContain(PASSWORD);
  return Object.fromEntries(
    problems.map(({ path, message, severity }) => [path.replace(/.*sources\.shop\.?/, ''), `${severity}: ${message}`]),
  );
}

const login = { username: 'tidegate', password: '${PASSWORD}' };
const oauth = { tokenUrl: 'https://login.example.com/token', clientId: 'tidegate', clientSecret: '${PASSWORD}' };

test('a worker that may hardly be silent would lose its partitions all the time', () => {
  expect(said({ tls: {}, session: '1s' })).toEqual({ session: 'error: is shorter than 3 s' });
  expect(said({ tls: {}, session: '6s' })).toEqual({});
});

test('every way to show brokers who you are is taken', () => {
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) expect(said({ tls: {}, sasl: { mechanism, ...login } })).toEqual({});
  expect(said({ tls: {}, sasl: { mechanism: 'oauthbearer', oauth, extensions: { logicalCluster: 'lkc-1' } } })).toEqual({});
  expect(said({ tls: {}, sasl: { mechanism: 'oauthbearer', tokenFile: './token' } })).toEqual({});
  const tls = { ca: authority.certificate, cert: one.certificate, key: one.privateKey, serverName: 'kafka' };
  expect(
    said({ tls, registry: { url: 'https://registry', username: 'u', password: '${PASSWORD}', tls: { ca: authority.certificate } } }),
  ).toEqual({});
  expect(said({ registry: { url: 'http://u:${PASSWORD}@registry:8081', token: null } })).toEqual({});
  expect(said({ brokers: ['127.0.0.1:9092'], sasl: { mechanism: 'plain', ...login } })).toEqual({});
});

test('what cannot work is said of the option that is wrong, without the secret', () => {
  expect(said({ tls: {}, sasl: { mechanism: 'scram-sha-512', username: 'tidegate' } })).toEqual({ 'sasl.password': 'error: is missing' });
  expect(said({ tls: {}, sasl: { mechanism: 'plain', ...login, oauth } })).toEqual({ 'sasl.oauth': 'error: is of no use with plain' });
  expect(said({ tls: {}, sasl: { mechanism: 'oauthbearer', ...login } })).toEqual({
    'sasl.username': 'error: is of no use with oauthbearer',
    'sasl.password': 'error: is of no use with oauthbearer',
    'sasl.oauth': 'error: is missing',
  });
  expect(said({ tls: {}, sasl: { mechanism: 'oauthbearer', oauth, tokenFile: 'token' } })).toEqual({
    'sasl.tokenFile': 'error: tokens would come from two places',
  });
  expect(said({ sasl: { mechanism: 'plain', ...login } })).toEqual({
    'sasl.mechanism': 'warning: plain without tls sends the secret in the clear',
  });
  expect(said({ tls: { cert: one.certificate } })).toMatchObject({ 'tls.key': 'error: is missing' });
  expect(said({ tls: { cert: one.certificate, key: another.privateKey } })['tls.key']).toMatch(/^error: cannot be used \(ERR_/);
  expect(said({ tls: { ca: '${PASSWORD}' } })).toEqual({ 'tls.ca': 'error: is no PEM' });
  expect(said({ registry: { url: 'registry:8081' } })).toEqual({ 'registry.url': 'error: is no http url' });
  expect(said({ registry: { url: 'https://registry', username: 'u', token: '${PASSWORD}' } })).toEqual({
    'registry.token': 'error: you would be asked who you are twice',
  });
  expect(said({ registry: { url: 'http://registry', tls: {} } })).toEqual({
    'registry.tls': 'error: the url of the registry is not https',
  });
});

test('two sources of one group at the same brokers are refused: each would get partitions of the other', () => {
  const source = (brokers: readonly string[], group: string, table: string) => ({
    kind: 'kafka',
    brokers,
    group,
    prefix: 'p',
    tables: [table],
  });
  const problems = (a: object, b: object): readonly string[] => {
    const pipelines = {
      one: { source: 'a', target: 'lake', datasets: './*.yaml' },
      two: { source: 'b', target: 'lake', datasets: './*.yaml' },
    };
    const targets = { lake: { kind: 'postgres', url: 'postgres://u:p@h/d', schema: 'shop' } };
    const result = parseConfig(JSON.stringify({ version: 1, sources: { a, b }, targets, pipelines }), '/etc/tidegate.yaml', {});
    return result.kind === 'loaded'
      ? []
      : result.problems
          .filter(({ severity }) => severity === 'error')
          .map(({ path, message }) => `${path.replace(/^\S+ /, '')}: ${message}`);
  };
  const one = source(['k1:9092', 'k2:9092'], 'g', 'public.a');
  expect(problems(one, source(['k2:9092', 'k3:9092'], 'g', 'public.b'))).toEqual([
    'sources.b.group: the group g is also that of the source a, and would be given its partitions',
  ]);
  expect(problems(one, source(['k2:9092'], 'h', 'public.b'))).toEqual([]);
  expect(problems(one, source(['elsewhere:9092'], 'g', 'public.b'))).toEqual([]);
});

test('topics are verified while the service runs where the database behind them is named', () => {
  const errors = (database: object | null, verify: object): readonly string[] => {
    const shop = { kind: 'kafka', brokers: ['k:9092'], group: 'g', prefix: 'p', tables: ['public.t'], database };
    const targets = { lake: { kind: 'postgres', url: 'postgres://u:p@h/d', schema: 'shop' } };
    const pipelines = { one: { source: 'shop', target: 'lake', datasets: './*.yaml', verify } };
    const result = parseConfig(JSON.stringify({ version: 1, sources: { shop }, targets, pipelines }), '/etc/tidegate.yaml', {});
    const all = result.kind === 'loaded' ? [] : result.problems.filter(({ severity }) => severity === 'error');
    return all.map(({ path, message, fix }) => `${path.replace(/^\S+ /, '')}: ${message}. ${fix}`);
  };
  expect(errors({ url: 'postgres://u:p@h/shop' }, { every: '1h' })).toEqual([]);
  expect(errors(null, { every: '1h' })).toEqual([
    'pipelines.one.verify.every: topics do not say what rows there are. Name the database behind them under sources.shop.database, or leave it out.',
  ]);
  expect(errors({ url: 'mysql://h/shop' }, { every: '1h', repair: true })).toEqual([
    expect.stringMatching(/^sources\.shop\.database\.url: is no postgres url\. Write postgres:/) as unknown,
  ]);
});
