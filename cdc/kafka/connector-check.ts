/** What a connector of Debezium's will lose or change by its own settings, and what does not fit ours: read from Kafka Connect's REST API by `check`. */
import { AddedFields } from './added-fields.ts';
import type { Problem } from '../../core/problems.ts';
import type { KafkaSourceOptions } from './source.ts';

export type ConnectorConfig = Readonly<Record<string, string>>;
export type CheckedSource = Pick<KafkaSourceOptions, 'name' | 'envelope' | 'unavailable' | 'tables' | 'added'>;

interface Connector {
  readonly name: string;
  readonly config: ConnectorConfig;
  /** Of the connector and its tasks. */
  readonly states: readonly string[];
}

type Say = (severity: Problem['severity'], message: string, fix: string) => void;

const TIMEOUT_MS = 10_000;

/** Those of `prefix`; a Connect that cannot be asked is a warning as well. */
export async function probeConnectors(source: CheckedSource, connect: string, prefix: string): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const path = `sources.${source.name}.connect`;
  const warn = (message: string, fix: string) => problems.push({ severity: 'warning', path, message, fix });
  let connectors: readonly Connector[];
  try {
    connectors = await connectorsAt(connect);
  } catch (error) {
    warn(`Kafka Connect cannot be asked: ${reasonOf(error)}`, 'Check the url, its user and password, and that Connect is up.');
    return problems;
  }
  const own = connectors.filter(
    ({ config }) => config['topic.prefix'] === prefix && config['connector.class']?.startsWith('io.debezium.') === true,
  );
  if (own.length === 0)
    warn(`no connector of Debezium’s there has topic.prefix=${prefix}`, 'Correct prefix, or name the Connect that has it.');
  for (const { name, config, states } of own) {
    if (states.includes('FAILED')) warn(`the connector ${name} has failed`, 'Look at its status at Connect, and restart it.');
    problems.push(...connectorProblems(name, config, source).map((problem) => ({ ...problem, path })));
  }
  return problems;
}

async function connectorsAt(connect: string): Promise<readonly Connector[]> {
  const url = new URL(`${connect.replace(/\/$/, '')}/connectors?expand=info&expand=status`);
  const login = url.username === '' ? null : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  const headers: Record<string, string> = login === null ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`it answered ${response.status}`);
  const all = (await response.json()) as Readonly<Record<string, ConnectAnswer>>; // As Connect documents it.
  return Object.entries(all).map(([name, { info, status }]) => ({
    name,
    config: info?.config ?? {},
    states: [status?.connector?.state ?? '', ...(status?.tasks ?? []).map(({ state }) => state)],
  }));
}

interface ConnectAnswer {
  readonly info?: { readonly config?: ConnectorConfig };
  readonly status?: { readonly connector?: { readonly state: string }; readonly tasks?: readonly { readonly state: string }[] };
}

/** Never the text of an error of the network's, which may hold the url. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && error.message.startsWith('it answered')) return error.message;
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code ?? (error instanceof Error ? error.name : 'error');
}

export function connectorProblems(name: string, config: ConnectorConfig, source: CheckedSource): readonly Omit<Problem, 'path'>[] {
  const problems: Omit<Problem, 'path'>[] = [];
  const say: Say = (severity, message, fix) => problems.push({ severity, message: `the connector ${name}: ${message}`, fix });
  sayOfForm(config, source, say);
  sayOfNulls(config, say);
  sayOfLosses(config, say);
  sayOfTables(config, source, say);
  return problems;
}

/** What would be read as something else than it is. */
function sayOfForm(config: ConnectorConfig, { envelope, unavailable, tables, added }: CheckedSource, say: Say): void {
  const unwrapping = transformsOf(config).find(({ type }) => type.endsWith('.ExtractNewRecordState'));
  if (unwrapping !== undefined && envelope === 'debezium')
    say('error', `it writes rows alone (${unwrapping.name})`, 'Set envelope: unwrapped, or remove the transform, which keeps more.');
  if (unwrapping === undefined && envelope === 'unwrapped') say('error', 'it writes Debezium’s envelope', 'Set envelope: debezium.');
  if (unwrapping !== undefined && config[`transforms.${unwrapping.name}.delete.tombstone.handling.mode`] === 'drop')
    say('error', 'deletes are dropped', `Set transforms.${unwrapping.name}.delete.tombstone.handling.mode=tombstone.`);
  if (unwrapping !== undefined && envelope === 'unwrapped') sayOfAdded(config, unwrapping.name, new AddedFields(added), say);
  const placeholder = config['unavailable.value.placeholder'] ?? '__debezium_unavailable_value';
  if (placeholder !== unavailable)
    say(
      'error',
      'its unavailable.value.placeholder is not what `unavailable` says: large values that did not change would be overwritten by it',
      `Set unavailable: ${JSON.stringify(placeholder)}.`,
    );
  const isPlain = isJson(config) && config['value.converter.schemas.enable'] === 'false';
  const untyped = tables.filter(({ columns }) => columns === null);
  if (isPlain && untyped.length > 0)
    say(
      'error',
      `its records bring no schema, and no types are named for ${untyped.map(({ table }) => table).join(', ')}`,
      'Set value.converter.schemas.enable=true (and key.converter.…), or name them under columns.',
    );
}

function sayOfNulls(config: ConnectorConfig, say: Say): void {
  const converter = config['value.converter'] ?? '';
  const message = 'an explicit null in a column that has a default arrives as the default';
  if (isJson(config) && config['value.converter.replace.null.with.default'] !== 'false')
    say('warning', message, 'Set value.converter.replace.null.with.default=false, and key.converter.replace.null.with.default=false.');
  if (converter === 'io.confluent.connect.avro.AvroConverter' && config['value.converter.ignore.default.for.nullables'] !== 'true')
    say('warning', message, 'Set value.converter.ignore.default.for.nullables=true.');
  if (converter.startsWith('io.apicurio.') && converter.endsWith('.AvroConverter'))
    say('warning', `${message}: Apicurio’s Avro converter cannot be told otherwise`, 'Use another converter where such columns matter.');
}

function sayOfLosses(config: ConnectorConfig, say: Say): void {
  const isBinlog = /\.(?:mysql|mariadb)\./i.test(config['connector.class'] ?? '');
  const lossy: readonly (readonly [option: string, value: string | undefined, message: string, fix: string])[] = [
    ['decimal.handling.mode', 'double', 'decimals are rounded to floats', 'precise'],
    ['decimal.handling.mode', 'string', 'decimals are texts', 'precise'],
    ['time.precision.mode', 'connect', 'times lose what is below a millisecond', 'adaptive_time_microseconds'],
    ['binary.handling.mode', 'base64', 'bytes are texts', 'bytes'],
    ['binary.handling.mode', 'hex', 'bytes are texts', 'bytes'],
    ['event.processing.failure.handling.mode', 'skip', 'changes that it cannot read are left out, and nobody is told', 'fail'],
    ['event.processing.failure.handling.mode', 'warn', 'changes that it cannot read are left out', 'fail'],
    ['errors.tolerance', 'all', 'records that cannot be converted are left out', 'none'],
    ['snapshot.mode', 'no_data', 'rows that were there before it are not in the topics', 'initial'],
    ['snapshot.mode', 'never', 'rows that were there before it are not in the topics', 'initial'],
  ];
  for (const [option, value, message, fix] of lossy) if (config[option] === value) say('warning', message, `Set ${option}=${fix}.`);
  if (config['skipped.operations']?.split(',').some((one) => one.trim() === 'd') === true)
    say('warning', 'deletes are left out (skipped.operations), so rows stay at the target', 'Set skipped.operations=none.');
  if (/(?:^|,)\s*t\s*(?:,|$)/.test(config['skipped.operations'] ?? 't'))
    say('warning', 'truncates are left out (skipped.operations), so rows stay at the target', 'Set skipped.operations=none.');
  if (isBinlog && (config['bigint.unsigned.handling.mode'] ?? 'long') === 'long')
    say('warning', 'unsigned numbers of 64 bits from 2^63 on arrive below zero', 'Set bigint.unsigned.handling.mode=precise.');
}

/** Fields that the transform adds, which would be taken for columns. */
function sayOfAdded(config: ConnectorConfig, transform: string, added: AddedFields, say: Say): void {
  const setting = (name: string): string | undefined => config[`transforms.${transform}.add.fields${name}`];
  const prefix = setting('.prefix') ?? '__';
  // `source.ts_ms`, or with a name of its own: `op:operation`.
  const names = (setting('') ?? '').split(',').map((one) => one.trim().split(':').at(-1)?.replaceAll('.', '_') ?? '');
  const columns = names.filter((name) => name !== '' && !added.has(`${prefix}${name}`)).map((name) => `${prefix}${name}`);
  if (columns.length === 0) return;
  const fix =
    prefix === '' ? `Set added.prefix: "" and added.names: [${columns.join(', ')}].` : `Set added.prefix: ${JSON.stringify(prefix)}.`;
  say('error', `it adds ${columns.join(', ')} to its rows, which would be taken for columns`, fix);
}

function sayOfTables(config: ConnectorConfig, { tables }: CheckedSource, say: Say): void {
  const included = config['table.include.list'];
  const excluded = config['table.exclude.list'];
  const left = tables.filter(
    ({ table }) => (included !== undefined && !fits(table, included)) || (excluded !== undefined && fits(table, excluded)),
  );
  if (left.length > 0)
    say(
      'warning',
      `it does not follow ${left.map(({ table }) => table).join(', ')}`,
      'Correct table.include.list or table.exclude.list, or tables.',
    );
}

/** Debezium's lists are regular expressions for whole names, in any case of letters. */
function fits(table: string, list: string): boolean {
  return list.split(',').some((pattern) => {
    try {
      return new RegExp(`^(?:${pattern.trim()})$`, 'i').test(table);
    } catch {
      return true; // One of Java's that is none here: nothing is said of it.
    }
  });
}

function transformsOf(config: ConnectorConfig): readonly { readonly name: string; readonly type: string }[] {
  const names = (config['transforms'] ?? '').split(',').map((name) => name.trim());
  return names.filter((name) => name !== '').map((name) => ({ name, type: config[`transforms.${name}.type`] ?? '' }));
}

const isJson = (config: ConnectorConfig): boolean => config['value.converter'] === 'org.apache.kafka.connect.json.JsonConverter';
