/** Debezium's connectors as the examples and the tests run them: what they are told, and telling Connect of it. */
import { createHash } from 'node:crypto';
import type { StackAddress } from './stack.ts';

/** JSON with its schemas, JSON alone, or Avro by the schema registry. */
export type Format = 'json' | 'flat' | 'avro';

export type ConnectorConfig = Readonly<Record<string, string>>;

export interface ConnectorOptions {
  /** Of the database that it follows. */
  readonly url: string;
  /** Its topics begin with this; its slot and its publication are named for it. */
  readonly prefix: string;
  readonly tables: readonly string[];
  readonly format: Format;
}

const REGISTRY_SETTINGS: ConnectorConfig = {
  'auto-register': 'true',
  'find-latest': 'false',
  'as-confluent': 'true',
  'use-id': 'contentId',
  'headers.enabled': 'false',
};

export function postgresConnector(
  stack: Pick<StackAddress, 'registryUrl'>,
  { url, prefix, tables, format }: ConnectorOptions,
): ConnectorConfig {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': hostname,
    'database.port': port,
    'database.user': username || 'postgres',
    'database.password': password || 'none',
    'database.dbname': pathname.slice(1),
    'topic.prefix': prefix,
    'plugin.name': 'pgoutput',
    'slot.name': `dbz_${prefix}`,
    'publication.name': `dbz_${prefix}`,
    'publication.autocreate.mode': 'filtered',
    'table.include.list': tables.join(','),
    'decimal.handling.mode': 'precise',
    'skipped.operations': 'none',
    'poll.interval.ms': '20',
    'slot.drop.on.stop': 'true',
    'topic.creation.default.replication.factor': '1',
    'topic.creation.default.partitions': '1',
    ...converters(stack.registryUrl, format),
  };
}

/** Of a MariaDB: `tables` are `<database>.<table>`. Its id as a follower is told by the prefix, for no two may have the same. */
export function mariadbConnector(
  stack: Pick<StackAddress, 'broker' | 'registryUrl'>,
  { url, prefix, tables, format }: ConnectorOptions,
): ConnectorConfig {
  const { hostname, port, username, password } = new URL(url);
  return {
    'connector.class': 'io.debezium.connector.mariadb.MariaDbConnector',
    'tasks.max': '1',
    'database.hostname': hostname,
    'database.port': port,
    'database.user': username,
    'database.password': password,
    'database.server.id': String(1000 + (createHash('sha256').update(prefix).digest().readUInt32BE() % 1_000_000_000)),
    'database.ssl.mode': 'disable',
    'topic.prefix': prefix,
    'table.include.list': tables.join(','),
    'schema.history.internal.kafka.bootstrap.servers': stack.broker,
    'schema.history.internal.kafka.topic': `${prefix}.history`,
    'schema.history.internal.store.only.captured.tables.ddl': 'true',
    'decimal.handling.mode': 'precise',
    'bigint.unsigned.handling.mode': 'precise',
    'skipped.operations': 'none',
    'poll.interval.ms': '20',
    'topic.creation.default.replication.factor': '1',
    'topic.creation.default.partitions': '1',
    ...converters(stack.registryUrl, format),
  };
}

function converters(registryUrl: string, format: Format): ConnectorConfig {
  const settings: Record<string, string> = {};
  for (const side of ['key.converter', 'value.converter']) {
    settings[side] =
      format === 'avro' ? 'io.apicurio.registry.utils.converter.AvroConverter' : 'org.apache.kafka.connect.json.JsonConverter';
    if (format === 'avro') {
      settings[`${side}.apicurio.registry.url`] = registryUrl;
      for (const [name, value] of Object.entries(REGISTRY_SETTINGS)) settings[`${side}.apicurio.registry.${name}`] = value;
    } else {
      settings[`${side}.schemas.enable`] = String(format === 'json');
      // Else an explicit null in a column with a default arrives as the default.
      settings[`${side}.replace.null.with.default`] = 'false';
    }
  }
  return format === 'avro' ? { ...settings, 'schema.name.adjustment.mode': 'avro', 'field.name.adjustment.mode': 'avro' } : settings;
}

/** Makes the connector, or changes its config. */
export async function putConnector(connectUrl: string, name: string, config: ConnectorConfig): Promise<void> {
  const response = await fetch(`${connectUrl}/connectors/${name}/config`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(config),
  });
  if (!response.ok) throw new Error(`Connect answered ${response.status}: ${await response.text()}`);
}

/** Throws where a task of it has failed. One that is not begun yet is no failure. */
export async function mustRun(connectUrl: string, name: string): Promise<void> {
  const response = await fetch(`${connectUrl}/connectors/${name}/status`);
  if (!response.ok) return;
  const { tasks } = (await response.json()) as { tasks: readonly { state: string; trace?: string }[] };
  for (const { state, trace } of tasks) if (state === 'FAILED') throw new Error(`the connector ${name} failed: ${trace}`);
}

const GONE_MS = 30_000;

/** Resolves once it is gone. */
export async function removeConnector(connectUrl: string, name: string): Promise<void> {
  const at = `${connectUrl}/connectors/${name}`;
  await fetch(at, { method: 'DELETE' });
  const deadline = performance.now() + GONE_MS;
  while ((await fetch(`${at}/status`)).status !== 404) {
    if (performance.now() > deadline) throw new Error(`the connector ${name} is still there after ${GONE_MS} ms`);
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
}
