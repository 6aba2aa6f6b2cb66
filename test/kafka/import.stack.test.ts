/** Dead letter queues that others filled, taken into the quarantine beside a service that goes on. */
import { randomBytes } from 'node:crypto';
import kafkajs, { type Message } from 'kafkajs';
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { configFolder, startService } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { stack } from './support.ts';
import { makeTopics } from './topics.ts';

const { Kafka, logLevel } = kafkajs;

const change = (id: number, v: string, lsn: number): Message => ({
  key: `{"id":${id}}`,
  value: `{"before":null,"after":{"id":${id},"v":"${v}"},"source":{"lsn":${lsn},"ts_ms":1},"op":"u"}`,
});
const connect = (topic: string, offset: number): NonNullable<Message['headers']> => ({
  '__connect.errors.topic': topic,
  '__connect.errors.partition': '0',
  '__connect.errors.offset': String(offset),
  '__connect.errors.exception.class.name': 'org.apache.kafka.connect.errors.DataException',
  '__connect.errors.exception.message': 'no such column',
});
const spring = (topic: string, offset: bigint): NonNullable<Message['headers']> => {
  const place = Buffer.alloc(8);
  place.writeBigInt64BE(offset);
  return {
    'kafka_dlt-original-topic': topic,
    'kafka_dlt-original-partition': Buffer.from([0, 0, 0, 2]),
    'kafka_dlt-original-offset': place,
    'kafka_dlt-exception-fqcn': 'org.springframework.kafka.listener.ListenerExecutionFailedException',
    'kafka_dlt-exception-cause-fqcn': 'java.lang.IllegalStateException',
    'kafka_dlt-exception-message': 'it broke',
  };
};

test('records of Connect’s and Spring’s queues are held once, however often they are imported, and released without ever overwriting what came since', async () => {
  const name = `i${randomBytes(4).toString('hex')}`;
  const [topic, dlq] = [`${name}.public.t`, `${name}-dlq`];
  const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
  const [admin, producer] = [kafka.admin(), kafka.producer()];
  await Promise.all([admin.connect(), producer.connect()]);
  await makeTopics(admin, [{ topic }, { topic: dlq, numPartitions: 2 }]);
  await using target = await createDatabase(inject('targetServer'), 'import');
  await using lake = await PgConnection.connect({ url: target.url });
  using config = configFolder(
    {
      sources: {
        shop: {
          kind: 'kafka',
          brokers: [stack.broker],
          group: `g-${name}`,
          prefix: name,
          tables: ['public.t'],
          columns: { 'public.t': { id: 'bigint', v: 'text' } },
        },
      },
      targets: { lake: { kind: 'postgres', url: target.url, schema: 'shop', hold: 'event' } },
      pipelines: { main: { source: 'shop', target: 'lake' } },
    },
    {},
    { source: target.url, target: target.url },
  );
  const rows = async (sql: string): Promise<readonly string[]> =>
    (await lake.query(sql).catch(() => ({ rows: [] }))).rows.map((row) => row.join(' '));
  await using _running = await startService(config);
  await producer.send({ topic, messages: [change(1, 'first', 100)] });
  await eventually(async () => (await rows('select id, v from shop.t')).length === 1, 'the service is at work', 30_000);

  const letters: Message[] = [
    { ...change(1, 'dead', 200), headers: { ...connect(topic, 17), trace: 'abc' } },
    { ...change(2, 'dead', 210), headers: spring(topic, 18n) },
    { key: '{"id":3}', value: 'no json', headers: connect(topic, 19) },
    { key: '{"id":4}', value: null, headers: connect(topic, 20) },
    { ...change(5, 'other', 220), headers: connect('elsewhere', 3) },
    { ...change(6, 'silent', 230) },
  ];
  await producer.send({ topic: dlq, messages: letters });
  const run = async (...flags: readonly string[]) => {
    const { code, json, stderr } = await cli('quarantine', 'import', config.file, '--topic', dlq, '--json', ...flags);
    expect([code, stderr]).toEqual([0, '']);
    return json;
  };
  const counts = { read: 6, nothing: 1, foreign: { elsewhere: 1, '(none named)': 1 }, stopped: false };
  const taken = { imported: 3, present: 0, datasets: { 'shop.public.t': 3 } };
  expect(await run('--dry-run')).toEqual({ pipeline: 'main', topic: dlq, dryRun: true, ...counts, ...taken });
  expect(await rows('select id from tidegate.quarantine')).toEqual([]);
  expect(await run()).toEqual({ pipeline: 'main', topic: dlq, dryRun: false, ...counts, ...taken });
  expect(await run()).toMatchObject({ imported: 0, present: 3 });
  expect(await run('--dataset', 'shop.public.t')).toMatchObject({ imported: 2, present: 3, foreign: {} });
  expect(await rows(`select key, findings->0->>'rule', findings->0->>'message' from tidegate.quarantine order by key collate "C"`)).toEqual(
    [
      '1 import.connect org.apache.kafka.connect.errors.DataException: no such column',
      '2 import.spring java.lang.IllegalStateException: it broke',
      '5 import.connect org.apache.kafka.connect.errors.DataException: no such column',
      `6 import.unknown it was in ${dlq}`,
      `["${topic}","0","19"] import.connect org.apache.kafka.connect.errors.DataException: no such column`,
    ],
  );

  // What the source says of the first since then is newer than what is released.
  await producer.send({ topic, messages: [change(1, 'newer', 300)] });
  await eventually(async () => (await rows('select v from shop.t where id = 1'))[0] === 'newer', 'the lane goes on', 30_000);
  expect((await cli('quarantine', 'release', config.file, '--all', '--by', 'ann')).code).toBe(0);
  const statuses = 'select key, status from tidegate.quarantine order by key collate "C"';
  const settled = async () =>
    (await rows('select id from tidegate.quarantine where released_seq is not null and settled_at is null')).length === 0;
  await eventually(settled, 'all are settled, or held again', 30_000);
  expect(await rows(statuses)).toEqual(['1 superseded', '2 applied', '5 applied', '6 applied', `["${topic}","0","19"] held`]);
  expect(await rows('select id, v from shop.t order by id')).toEqual(['1 newer', '2 dead', '5 other', '6 silent']);

  const wrong = await cli('quarantine', 'import', config.file, '--topic', `${dlq}-none`);
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('the brokers have no such topic')]);
  expect((await cli('quarantine', 'import', config.file)).stderr).toContain('--topic is missing');
  await Promise.all([admin.disconnect(), producer.disconnect()]);
});
