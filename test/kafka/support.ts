/** Debezium on the shared stack: connectors of a test's own, which leave with it. */
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { type KafkaClient, kafkaClient } from '../../wire/kafka/client.ts';
import { PipelineError } from '../../core/errors.ts';
import { eventually } from '../support/eventually.ts';

export const stack = inject('stack');

export type Format = 'json' | 'flat' | 'avro';

export interface Connector extends AsyncDisposable {
  /** Its topics begin with this. */
  readonly prefix: string;
  restart(config: Readonly<Record<string, string>>): Promise<void>;
}

const REGISTRY_SETTINGS: Readonly<Record<string, string>> = {
  'auto-register': 'true',
  'find-latest': 'false',
  'as-confluent': 'true',
  'use-id': 'contentId',
  'headers.enabled': 'false',
};

function converter(format: Format, replaceNull: boolean): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const side of ['key.converter', 'value.converter']) {
    settings[side] =
      format === 'avro' ? 'io.apicurio.registry.utils.converter.AvroConverter' : 'org.apache.kafka.connect.json.JsonConverter';
    if (format === 'avro') {
      settings[`${side}.apicurio.registry.url`] = stack.registryUrl;
      for (const [name, value] of Object.entries(REGISTRY_SETTINGS)) settings[`${side}.apicurio.registry.${name}`] = value;
    } else {
      settings[`${side}.schemas.enable`] = String(format === 'json');
      settings[`${side}.replace.null.with.default`] = String(replaceNull);
    }
  }
  return format === 'avro' ? { ...settings, 'schema.name.adjustment.mode': 'avro', 'field.name.adjustment.mode': 'avro' } : settings;
}

/** Has Debezium follow tables of the database at `url` and waits until there is a topic for each, so each needs a row to begin with. */
export async function startConnector(
  url: string,
  tables: readonly string[],
  format: Format,
  more: Readonly<Record<string, string>> = {},
): Promise<Connector> {
  const prefix = `t${randomBytes(4).toString('hex')}`;
  const { hostname, port, pathname } = new URL(url);
  const config: Record<string, string> = {
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': hostname,
    'database.port': port,
    'database.user': 'postgres',
    'database.password': 'none',
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
    ...converter(format, false),
    ...more,
  };
  const at = `${stack.connectUrl}/connectors/${prefix}`;
  const put = async (now: Readonly<Record<string, string>>): Promise<void> => {
    const response = await fetch(`${at}/config`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(now),
    });
    if (!response.ok) throw new Error(`Connect answered ${response.status}: ${await response.text()}`);
  };
  await put(config);
  await using client = brokers();
  await eventually(
    async () => {
      await mustRun(at);
      for (const table of tables) if (!(await isThere(client, `${prefix}.${table}`))) return false;
      return true;
    },
    `Debezium has made the topics of ${tables.join(', ')}`,
    60_000,
  );
  return {
    prefix,
    restart: (changed) => put({ ...config, ...changed }),
    async [Symbol.asyncDispose]() {
      await fetch(at, { method: 'DELETE' });
      await eventually(async () => (await fetch(`${at}/status`)).status === 404, `the connector ${prefix} is gone`, 30_000);
    },
  };
}

/** A topic that is being made has partitions without leaders for a moment. */
async function isThere(client: KafkaClient, topic: string): Promise<boolean> {
  try {
    return (await client.watermarks(topic)) !== null;
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'SOURCE_UNREACHABLE') return false;
    throw error;
  }
}

async function mustRun(at: string): Promise<void> {
  const response = await fetch(`${at}/status`);
  if (response.status === 404) return; // Not begun yet.
  const { tasks } = (await response.json()) as { tasks: readonly { state: string; trace?: string }[] };
  for (const { state, trace } of tasks) if (state === 'FAILED') throw new Error(`the connector failed: ${trace}`);
}

export const brokers = (): KafkaClient => kafkaClient({ brokers: [stack.broker] });
