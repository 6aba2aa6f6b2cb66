import { expect, inject, test } from 'vitest';
import { runningServers } from '../../examples/stack/stack.ts';

const stack = inject('stack');

test('the stack has what the Kafka road is tested with', async () => {
  expect(runningServers(stack)).toEqual(['broker', 'connect', 'registry']);
  const plugins = await json(`${stack.connectUrl}/connector-plugins?connectorsOnly=false`);
  const classes = (plugins as { class: string }[]).map((plugin) => plugin.class);
  expect(classes).toEqual(
    expect.arrayContaining([
      'io.debezium.connector.postgresql.PostgresConnector',
      'io.debezium.connector.mariadb.MariaDbConnector',
      'org.apache.kafka.connect.json.JsonConverter',
      'io.apicurio.registry.utils.converter.AvroConverter',
    ]),
  );
  expect(await json(`${stack.ccompatUrl}/subjects`)).toEqual(expect.any(Array));
});

async function json(url: string): Promise<unknown> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  return response.json();
}
