import { expect, inject, test } from 'vitest';
import { probeConnectors } from '../../cdc/kafka/connector-check.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { stack, startConnector } from './support.ts';

test('a connector that runs is read over the API of Connect, and one that is not there is missed', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'connectors');
  await using sql = await PgConnection.connect({ url: source.url });
  await sql.script('create table orders (id bigint primary key); insert into orders values (1)');
  await using connector = await startConnector(source.url, ['public.orders'], 'json', {
    'value.converter.replace.null.with.default': 'true',
  });
  const shop = {
    name: 'shop',
    envelope: 'debezium',
    unavailable: '__debezium_unavailable_value',
    tables: [{ table: 'public.orders', topic: `${connector.prefix}.public.orders`, columns: null }],
  } as const;
  expect(await probeConnectors(shop, `${stack.connectUrl}/`, connector.prefix)).toEqual([
    {
      severity: 'warning',
      path: 'sources.shop.connect',
      message: `the connector ${connector.prefix}: an explicit null in a column that has a default arrives as the default`,
      fix: 'Set value.converter.replace.null.with.default=false, and key.converter.replace.null.with.default=false.',
    },
  ]);
  expect((await probeConnectors(shop, stack.connectUrl, 'nobody')).map(({ message }) => message)).toEqual([
    'no connector of Debezium’s there has topic.prefix=nobody',
  ]);
  const [away] = await probeConnectors(shop, `http://user:hunter2@127.0.0.1:${await freePort()}`, connector.prefix);
  expect(away?.message).toBe('Kafka Connect cannot be asked: ECONNREFUSED');
});
