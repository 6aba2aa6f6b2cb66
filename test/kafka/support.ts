/** Debezium on the shared stack: connectors of a test's own, which leave with it. */
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { type Format, mariadbConnector, mustRun, postgresConnector, putConnector, removeConnector } from '../../examples/stack/debezium.ts';
import { type KafkaClient, kafkaClient } from '../../wire/kafka/client.ts';
import { PipelineError } from '../../core/errors.ts';
import { eventually } from '../support/eventually.ts';

export const stack = inject('stack');

export type { Format } from '../../examples/stack/debezium.ts';

export interface Connector extends AsyncDisposable {
  /** Its topics begin with this. */
  readonly prefix: string;
  restart(config: Readonly<Record<string, string>>): Promise<void>;
}

/** Has Debezium follow tables of the database at `url` and waits until there is a topic for each, so each needs a row to begin with. `mysql://` is a MariaDB's. */
export async function startConnector(
  url: string,
  tables: readonly string[],
  format: Format,
  more: Readonly<Record<string, string>> = {},
): Promise<Connector> {
  const prefix = `t${randomBytes(4).toString('hex')}`;
  const connector = url.startsWith('mysql:') ? mariadbConnector : postgresConnector;
  const config = { ...connector(stack, { url, prefix, tables, format }), ...more };
  const put = (now: Readonly<Record<string, string>>): Promise<void> => putConnector(stack.connectUrl, prefix, now);
  await put(config);
  await using client = brokers();
  await eventually(
    async () => {
      await mustRun(stack.connectUrl, prefix);
      for (const table of tables) if (!(await isThere(client, `${prefix}.${table}`))) return false;
      return true;
    },
    `Debezium has made the topics of ${tables.join(', ')}`,
    60_000,
  );
  return {
    prefix,
    restart: (changed) => put({ ...config, ...changed }),
    [Symbol.asyncDispose]: () => removeConnector(stack.connectUrl, prefix),
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

export const brokers = (): KafkaClient => kafkaClient({ brokers: [stack.broker] });
