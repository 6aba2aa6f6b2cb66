/** Rows alone, as Debezium's ExtractNewRecordState leaves them: from the real connector into a table. */
import kafkajs from 'kafkajs';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { stack, startConnector } from './support.ts';

const { Kafka, logLevel } = kafkajs;
const UNWRAP = { transforms: 'unwrap', 'transforms.unwrap.type': 'io.debezium.transforms.ExtractNewRecordState' };

test.each(['json', 'avro'] as const)('in %s, a delete arrives also where its tombstone is all that the topic has left', async (format) => {
  await using database = await createDatabase(inject('sourceServer'), 'unwrapped');
  await using target = await createDatabase(inject('targetServer'), 'unwrapped');
  await using sql = await PgConnection.connect({ url: database.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`create table t (id bigint primary key, note text, at timestamptz, price numeric(8,2), tags text[]);
    insert into t values (9007199254740993, 'first', now(), 1.25, '{a}'), (2, 'second', null, null, null), (3, 'third', now(), 7, '{}')`);
  await using connector = await startConnector(database.url, ['public.t'], format, UNWRAP);
  const topic = `${connector.prefix}.public.t`;
  const registry = format === 'avro' ? { registry: { url: stack.ccompatUrl } } : {};
  const source = { kind: 'kafka', brokers: [stack.broker], group: `g-${connector.prefix}`, prefix: connector.prefix, tables: ['public.t'] };
  using config = configFolder({
    sources: { shop: { ...source, envelope: 'unwrapped', ...registry } },
    targets: { lake: { kind: 'postgres', url: target.url, schema: 'lake' } },
  });
  const same = async (): Promise<boolean> => {
    const [here, there] = await Promise.all([
      sql.query('select * from t order by id'),
      lake.query('select * from lake.t order by id').catch(() => ({ rows: [] })),
    ]);
    return JSON.stringify(here.rows) === JSON.stringify(there.rows);
  };
  await using kafka = await adminOf();
  const end = async (): Promise<number> => Number((await kafka.fetchTopicOffsets(topic))[0]?.high);
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await eventually(same, 'the rows are there', 30_000);
  }
  const before = await end();
  await sql.script('delete from t where id = 9007199254740993');
  await eventually(async () => (await end()) > before, 'the tombstone is there', 30_000);
  // What retention does in time: nothing else tells of the table any more.
  await kafka.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(before) }] });
  await using again = await startService(config);
  await untilReady(again.url);
  await eventually(same, 'the row is gone', 30_000);
  await sql.script("update t set id = 20, note = 'moved' where id = 2; insert into t (id) values (4)");
  await eventually(same, 'a key move and a new row follow', 30_000);
  expect((await lake.query('select key, findings from tidegate.quarantine')).rows).toEqual([]);
});

async function adminOf() {
  const admin = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  return Object.assign(admin, { [Symbol.asyncDispose]: () => admin.disconnect() });
}
