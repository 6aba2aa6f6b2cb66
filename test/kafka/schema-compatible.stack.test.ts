/** Versions of a schema that the real Debezium registers as its table changes, at the real registry, held against each other. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ask, configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { stack, startConnector } from './support.ts';

const RULES = `apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
checks:
  - { id: reads, schema_compatible: { every: 1s } }
  - { id: gone, schema_compatible: { subject: nobody-value, every: 1s } }
`;

interface Said {
  readonly verdict: string;
  readonly reason: string | null;
}

test('a column without a default that comes is told of, and one with is not', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'versions');
  await using target = await createDatabase(inject('targetServer'), 'versions');
  await using sql = await PgConnection.connect({ url: source.url });
  await sql.script('create table orders (id bigint primary key); insert into orders values (1)');
  await using connector = await startConnector(source.url, ['public.orders'], 'avro');
  const { prefix } = connector;
  const topics = {
    kind: 'kafka',
    brokers: [stack.broker],
    group: `g-${prefix}`,
    prefix,
    tables: ['public.orders'],
    registry: { url: stack.ccompatUrl },
  };
  using config = configFolder({ sources: { shop: topics } }, { 'orders.rules.yaml': RULES }, { source: source.url, target: target.url });
  await using running = await startService(config);
  await untilReady(running.url);
  const says = async (rule: string, expected: Readonly<Record<string, unknown>>): Promise<void> => {
    await expect
      .poll(
        async () => ((await ask(running.url, `/api/windows?pipeline=main&rule=${rule}`)).json as { windows: readonly Said[] }).windows[0],
        {
          timeout: 60_000,
        },
      )
      .toMatchObject(expected);
  };
  await says('reads', { verdict: 'pass' });
  await says('gone', { verdict: 'indeterminate', reason: 'the registry has no subject nobody-value' });

  // In one transaction: Debezium asks the catalog when it meets the change, and so finds the column as it is in the end, never in between.
  await sql.script(
    "begin; alter table orders add note text; update orders set note = ''; alter table orders alter note set not null; insert into orders values (2, 'x'); commit",
  );
  const topic = `${prefix}.public.orders-value`.replaceAll('.', '\\.');
  const reason = expect.stringMatching(
    new RegExp(`^version \\d+ of ${topic} is not BACKWARD: #[^#]* against version \\d+: [^#]*note[^#]*$`),
  ) as unknown;
  await says('reads', { verdict: 'fail', reason });

  await sql.script('alter table orders alter note drop not null; insert into orders values (3)');
  await says('reads', { verdict: 'pass' });
}, 120_000);
