/** What is wrong with what a config says of brokers, registries and topics, as far as it shows itself. */
import { createSecureContext } from 'node:tls';
import { declaredColumn } from '../cdc/kafka/declared.ts';
import type { DatasetName } from '../core/event.ts';
import type { Problem } from '../core/problems.ts';
import { topicName } from '../sync/kafka/topic-name.ts';
import { isPostgresUrl } from '../wire/postgres/ident.ts';
import { nearest } from './config-read.ts';
import type { Config, KafkaSourceConfig, KafkaTargetConfig, PipelineConfig, SourceConfig } from './config-schema.ts';
import { revealed } from './kafka-connect.ts';
import { Secret } from './secret.ts';

/** Where a person finds an option of the block that is looked at. */
type Place = (...path: string[]) => string;
type Complain = (path: string, message: string, fix: string) => void;

export function kafkaSourceProblems(source: KafkaSourceConfig, at: Place): Problem[] {
  const problems: Problem[] = [];
  const error: Complain = (path, message, fix) => problems.push({ severity: 'error', path, message, fix });
  for (const part of ['topics', 'columns'] as const) {
    for (const table of Object.keys(source[part])) {
      if (source.tables.includes(table)) continue;
      const near = nearest(table, source.tables);
      const choice = source.tables.length === 0 ? 'Name it under tables too.' : `Name one of: ${source.tables.join(', ')}.`;
      const fix = near === null ? choice : `Did you mean ${near}?`;
      error(at(part, table), `${table} is none of the tables`, fix);
    }
  }
  for (const [table, columns] of Object.entries(source.columns)) {
    for (const [column, type] of Object.entries(columns)) {
      if (declaredColumn(type) !== null) continue;
      error(
        at('columns', table, column),
        `it is not known how the type ${type} looks in a record without a schema`,
        'Have the connector write schemas (schemas.enable=true, or Avro), or leave the column out.',
      );
    }
  }
  if (source.tables.length === 0 && source.topicPattern === null)
    error(at('tables'), 'no table is read', 'Name the tables, or a topicPattern that finds their topics.');
  if (source.topicPattern !== null && !isPattern(source.topicPattern))
    error(at('topicPattern'), 'is no regular expression', 'Write one as shop\\.public\\..*, with a backslash before dots.');
  const connect = source.connect?.reveal() ?? null;
  if (connect !== null && !(URL.canParse(connect) && /^https?:\/\/./.test(connect)))
    error(at('connect'), 'is no http url', 'Write http://connect:8083.');
  problems.push(...connectionProblems(source, at), ...registryProblems(source.registry, at));
  return problems;
}

function isPattern(text: string): boolean {
  try {
    return typeof new RegExp(text, 'u').source === 'string';
  } catch {
    return false;
  }
}

/** The same for brokers that are read from and brokers that are written to. */
export function connectionProblems({ brokers, sasl, tls }: Pick<KafkaSourceConfig, 'brokers' | 'sasl' | 'tls'>, at: Place): Problem[] {
  const problems: Problem[] = [];
  const error: Complain = (path, message, fix) => problems.push({ severity: 'error', path, message, fix });
  if (sasl !== null) saslProblems(sasl, (...path) => at('sasl', ...path), error);
  if (tls !== null) certificateProblems(tls, (...path) => at('tls', ...path), error);
  const isReadable = sasl?.mechanism === 'plain' || sasl?.mechanism === 'oauthbearer';
  if (isReadable && tls === null && !brokers.every((broker) => /^(?:127\.[\d.]+|localhost):/.test(broker))) {
    problems.push({
      severity: 'warning',
      path: at('sasl', 'mechanism'),
      message: `${sasl.mechanism} without tls sends the secret in the clear`,
      fix: 'Add tls (tls: {} where the brokers’ certificate is signed by an authority that Node knows).',
    });
  }
  return problems;
}

export function quarantineTopicsProblems(topics: PipelineConfig['quarantineTopics'], source: SourceConfig, at: Place): Problem[] {
  if (topics === null) return [];
  const { brokers, sasl, tls } = topics;
  if (brokers !== null) return connectionProblems({ brokers, sasl, tls }, at);
  const problem = (message: string, fix: string): Problem[] => [{ severity: 'error', path: at(), message, fix }];
  if (source.kind !== 'kafka') return problem('names no brokers', 'Add brokers: the source of this pipeline has none.');
  if (sasl === null && tls === null) return [];
  return problem('says how to reach brokers that it does not name', 'Add brokers, or leave sasl and tls to those of the source.');
}

export function kafkaTargetProblems(config: Config, name: string, target: KafkaTargetConfig, at: Place): Problem[] {
  const problems = [...connectionProblems(target, at), ...registryProblems(target.registry, at)];
  const error: Complain = (path, message, fix) => problems.push({ severity: 'error', path, message, fix });
  if (target.format === 'avro' && target.registry === null)
    error(at('registry'), 'is missing: the schemas of Avro are kept there', 'Write registry: {url: https://host:port}, or format: json.');
  if (target.format === 'json' && target.registry !== null)
    error(at('registry'), 'is of no use with JSON', 'Write format: avro, or remove it.');
  if (target.store === null && !(config.state instanceof Secret)) {
    error(
      at('store'),
      'is missing: a topic cannot hold where its lanes stand, and what is in quarantine',
      'Write store: postgres://user:password@host:port/database, or have `state` in a PostgreSQL database.',
    );
  } else if (target.store !== null && !isPostgresUrl(target.store.reveal())) {
    error(at('store'), 'is no postgres url', 'Write postgres://user:password@host:port/database.');
  }
  for (const [pipeline, { source: from, target: to }] of Object.entries(config.pipelines)) {
    const source = config.sources[from];
    if (to !== name || source?.kind !== 'kafka' || !source.brokers.some((broker) => target.brokers.includes(broker))) continue;
    const tables = source.tables.filter(
      (table) =>
        topicName(target.topic, pipeline, `${from}.${table}` as DatasetName) === (source.topics[table] ?? `${source.prefix}.${table}`),
    );
    if (tables.length > 0)
      error(at('topic'), `the pipeline ${pipeline} would read what it writes (${tables.join(', ')})`, 'Name the topics otherwise.');
  }
  return problems;
}

type Sasl = NonNullable<KafkaSourceConfig['sasl']>;

function saslProblems(sasl: Sasl, at: Place, error: Complain): void {
  const { mechanism, username, password, oauth, tokenFile, extensions } = sasl;
  const isToken = mechanism === 'oauthbearer';
  const has = { username, password, oauth, tokenFile, extensions: Object.keys(extensions).length > 0 ? extensions : null };
  const strange = isToken ? (['username', 'password'] as const) : (['oauth', 'tokenFile', 'extensions'] as const);
  for (const name of strange)
    if (has[name] !== null) error(at(name), `is of no use with ${mechanism}`, 'Remove it, or choose another mechanism.');
  if (!isToken) {
    for (const name of ['username', 'password'] as const)
      if (has[name] === null) error(at(name), 'is missing', `Add it: ${mechanism} shows who you are by it.`);
  } else if (oauth === null && tokenFile === null) {
    error(at('oauth'), 'is missing', 'Say where tokens come from: oauth: {tokenUrl, clientId, clientSecret}, or tokenFile.');
  } else if (oauth !== null && tokenFile !== null) {
    error(at('tokenFile'), 'tokens would come from two places', 'Remove oauth or tokenFile.');
  }
}

export function registryProblems(registry: KafkaSourceConfig['registry'], at: Place): Problem[] {
  const problems: Problem[] = [];
  const error: Complain = (path, message, fix) => problems.push({ severity: 'error', path, message, fix });
  if (registry === null) return problems;
  const { url, username, password, token, tls } = registry;
  const place: Place = (...path) => at('registry', ...path);
  if (!/^https?:\/\/./.test(url.reveal()) || !URL.canParse(url.reveal())) error(place('url'), 'is no http url', 'Write https://host:port.');
  if (username === null && password !== null) error(place('username'), 'is missing', 'Name the user whose password this is.');
  if (token !== null && username !== null)
    error(place('token'), 'you would be asked who you are twice', 'Remove the token, or user and password.');
  if (tls !== null) {
    if (!url.reveal().startsWith('https:')) error(place('tls'), 'the url of the registry is not https', 'Write https://, or remove tls.');
    certificateProblems(tls, (...path) => place('tls', ...path), error);
  }
  return problems;
}

type Certificates = Pick<NonNullable<KafkaSourceConfig['tls']>, 'ca' | 'cert' | 'key' | 'passphrase'>;

function certificateProblems({ ca, cert, key, passphrase }: Certificates, at: Place, error: Complain): void {
  if (cert !== null && key === null) error(at('key'), 'is missing', 'Add the key of your certificate.');
  if (key !== null && cert === null) error(at('cert'), 'is missing', 'Add the certificate whose key this is.');
  for (const [name, text] of Object.entries({ ca, cert, key })) {
    if (text === null || text.reveal().includes('-----BEGIN ')) continue;
    error(at(name), 'is no PEM', 'Write {file: path} of a file that begins with -----BEGIN.');
    return;
  }
  try {
    createSecureContext(revealed({ ca, cert, key, passphrase }));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'error'; // OpenSSL's own, which holds nothing of the key.
    error(
      at(cert === null ? 'ca' : 'key'),
      `cannot be used (${code})`,
      'Check that it is whole, that key and certificate belong together, and the passphrase.',
    );
  }
}
