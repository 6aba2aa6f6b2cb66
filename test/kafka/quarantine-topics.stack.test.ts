/** The quarantine's topics on a real broker: what they say, and that a crash or brokers that are away lose none of it. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { startStack } from '../../examples/stack/stack.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { ask, configFolder, startService, untilReady } from '../app/services.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { stack } from './support.ts';
import { makeTopics, readTopic, withoutRepeats } from './topics.ts';

const { Kafka, logLevel } = kafkajs;
const RULES = ruleFile('orders', 'event', 'status: [{id: known-status, in_set: [new, paid]}]');

let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;

beforeEach(async () => {
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'told'), createDatabase(inject('targetServer'), 'told')]);
  [sql, lake] = await Promise.all([PgConnection.connect({ url: source.url }), PgConnection.connect({ url: target.url })]);
  await sql.script('create table orders (id bigint primary key, status text not null, total numeric(10,2), at timestamptz)');
});
afterEach(async () => {
  await Promise.all([sql.close(), lake.close()]);
  await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
});

const count = async (of: string): Promise<number> =>
  Number((await lake.query(`select count(*) from ${of}`).catch(() => ({ rows: [] }))).rows[0]?.[0] ?? 0);

/** A service from the database, or from the topic, with topics of the test's own. */
function configOf(quarantineTopics: Readonly<Record<string, unknown>>, from: Readonly<Record<string, unknown>> | null = null) {
  const database = { kind: 'postgres', url: source.url, slot: source.name, publication: 'told', tables: ['public.orders'] };
  return configFolder(
    {
      sources: { shop: from ?? database },
      pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', quarantineTopics } },
    },
    { 'orders.rules.yaml': RULES },
    { source: source.url, target: target.url },
  );
}

const metric = async (url: string, name: string): Promise<number> =>
  Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec((await ask(url, '/metrics')).text)?.[1] ?? NaN);

test('brokers that are away hold up nothing, and what was held before a kill is told after it, once by its ids and in order', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-broker-'));
  // A broker that comes back after a kill waits until it is known that it was gone.
  const settings = ['broker.session.timeout.ms=1500', 'broker.heartbeat.interval.ms=300'];
  const own = await startStack(folder, { servers: ['broker'], broker: { settings } });
  try {
    await own.kill('broker');
    using config = configOf({ brokers: [own.broker], partitions: 2 });
    {
      await using running = await startService(config);
      await untilReady(running.url);
      await sql.script(
        `insert into orders select n, case when n % 10 = 0 then 'odd' else 'new' end, n, now() from generate_series(1, 1000) n`,
      );
      await eventually(async () => (await count('shop.orders')) === 900, 'the target has what passes', 30_000);
      await eventually(async () => (await metric(running.url, 'tidegate_quarantine_untold')) === 100, 'what is held waits', 30_000);
      expect(await metric(running.url, 'tidegate_quarantine_told_total')).toBe(0);
      expect((await ask(running.url, '/readyz')).status).toBe(200);
    }
    await own.start('broker');
    {
      // People settle what is held while it tells. Then it is killed while brokers that stand still have not read what it tells them.
      await using service = new ServiceProcess(config.file);
      const { rows } = await lake.query("select id from tidegate.quarantine where status = 'held' order by id limit 20");
      const ids = rows.map(([id]) => id ?? '');
      expect((await cli('quarantine', 'discard', config.file, ...ids, '--by', 'ann', '--why', 'odd')).code).toBe(0);
      await eventually(async () => (await count('tidegate.quarantine_news')) === 0, 'all is told', 30_000);
      process.kill(own.pids.broker, 'SIGSTOP');
      await sql.script("insert into orders values (2000, 'odd', 1, now())");
      await eventually(isTelling, 'it waits for the brokers', 30_000);
      await service.kill();
      await own.kill('broker'); // What it was told and had not read is gone with it.
      await own.start('broker');
    }
    await using service = new ServiceProcess(config.file);
    await eventually(async () => (await count('tidegate.quarantine_news')) === 0, 'all is told', 30_000);
    await using topic = await readTopic(own.broker, 'tidegate.quarantine.shop.public.orders');
    await eventually(async () => withoutRepeats(topic.records).length === 121, 'all is read', 30_000);
    const told = withoutRepeats(topic.records);
    const byItem = new Map<string, string[]>();
    for (const { headers } of told)
      byItem.set(headers['tidegate.id'] ?? '', [...(byItem.get(headers['tidegate.id'] ?? '') ?? []), headers['tidegate.status'] ?? '']);
    const { rows: items } = await lake.query('select id, status from tidegate.quarantine');
    expect(byItem.size).toBe(101);
    for (const [id, status] of items) expect(byItem.get(id ?? '')).toEqual(status === 'held' ? ['held'] : ['held', 'discarded']);
    expect(new Set(told.map(({ partition }) => partition))).toEqual(new Set([0, 1]));
    await service.stop();
  } finally {
    await own.stop();
  }
});

/** Whoever tells looks at least once a second, unless it waits for the brokers. */
async function isTelling(): Promise<boolean> {
  const { rows } = await lake.query(
    "select clock_timestamp() - state_change > interval '1500 ms' from pg_stat_activity where application_name = 'tidegate main news' and datname = current_database()",
  );
  return (await count('tidegate.quarantine')) === 101 && rows[0]?.[0] === 't';
}

test('what came from a database is told as Debezium writes it, with the reasons; release and what came of it are tombstones', async () => {
  const topic = `dlq-${randomBytes(4).toString('hex')}`;
  using config = configOf({ brokers: [stack.broker], topic: `${topic}.{dataset}`, retention: '1h', partitions: 3 });
  await using running = await startService(config);
  await untilReady(running.url);
  await sql.script(
    "insert into orders values (9007199254740993, 'odd', -0.01, '2026-11-24 12:00:00.123456+00'), (2, 'odder', null, null), (3, 'new', 1, null)",
  );
  await eventually(async () => (await metric(running.url, 'tidegate_quarantine_told_total')) === 2, 'both are told', 30_000);
  await using reader = await readTopic(stack.broker, `${topic}.shop.public.orders`);
  await eventually(async () => reader.records.length === 2, 'both are read', 30_000);
  const [odd, odder] = [...reader.records].sort((a, b) => (a.key ?? '').localeCompare(b.key ?? '')).reverse();
  expect([odd?.key, odder?.key]).toEqual(['{"id":9007199254740993}', '{"id":2}']);
  expect(odd?.value).toMatch(
    /^\{"before":null,"after":\{"id":9007199254740993,"status":"odd","total":"-0.01","at":"2026-11-24T12:00:00.123456Z"\},"source":\{.*"lsn":\d+.*\},"transaction":null,"op":"c","ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+\}$/,
  );
  const { rows } = await lake.query("select id from tidegate.quarantine where key = '9007199254740993'");
  const id = rows[0]?.[0] ?? '';
  expect(odd?.headers).toMatchObject({
    'tidegate.id': id,
    'tidegate.status': 'held',
    'tidegate.pipeline': 'main',
    'tidegate.dataset': 'shop.public.orders',
    'tidegate.op': 'insert',
    'tidegate.rules': '["known-status"]',
    '__connect.errors.stage': 'TRANSFORMATION',
    '__connect.errors.connector.name': 'main',
    '__connect.errors.exception.class.name': 'tidegate.known-status',
  });
  expect(JSON.parse(odd?.headers['tidegate.findings'] ?? '')).toMatchObject([{ stage: 'quality', rule: 'known-status', column: 'status' }]);
  await sql.script("update orders set status = 'new' where id = 2");
  await eventually(async () => (await count("shop.orders where status = 'new'")) === 2, 'the second was mended', 30_000);
  expect((await cli('quarantine', 'release', config.file, '--all', '--by', 'ann')).code).toBe(0);
  await eventually(async () => reader.records.length === 6, 'what came of them is told', 30_000);
  const after = reader.records.filter(({ value }) => value === null);
  const of = (key: string) =>
    after.filter((record) => record.key === key).map(({ headers }) => [headers['tidegate.status'], headers['tidegate.by']]);
  // The one that is still wrong is held again, with its record.
  expect(of('{"id":9007199254740993}')).toEqual([['released', 'ann']]);
  expect(of('{"id":2}').slice(0, 1)).toEqual([['released', 'ann']]);
  const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: 2, name: `${topic}.shop.public.orders`, configNames: ['retention.ms', 'cleanup.policy'] }],
  });
  const settings = Object.fromEntries(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]) ?? []);
  expect(settings).toEqual({ 'retention.ms': '3600000', 'cleanup.policy': 'delete' });
  await admin.disconnect();
});

test('what came from a topic is told as it came, byte for byte, to a topic that was there with other settings too; one too large goes without its value', async () => {
  const name = `q${randomBytes(4).toString('hex')}`;
  const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
  const [admin, producer] = [kafka.admin(), kafka.producer()];
  await Promise.all([admin.connect(), producer.connect()]);
  await makeTopics(admin, [
    { topic: `${name}.public.orders`, numPartitions: 1 },
    { topic: `${name}-dlq`, numPartitions: 1, configEntries: [{ name: 'max.message.bytes', value: '4000' }] },
  ]);
  const value = (id: number, status: string): string =>
    `{"before":null, "after":{"id":${id},"status":"${status}","total":"1.50","at":null}, "source":{"lsn":${id},"ts_ms":1},"op":"c"}`;
  const sent = [
    { key: '{"id": 1}', value: value(1, 'odd'), headers: { trace: 'abc', twice: ['one', 'two'] } },
    { key: Buffer.from([0, 1, 255]), value: Buffer.from([0, 255, 7]), headers: {} },
    { key: '{"id": 2}', value: value(2, `odd${'d'.repeat(5000)}`), headers: { huge: 'h' } },
    { key: '{"id": 3}', value: value(3, 'new'), headers: {} },
  ];
  await producer.send({ topic: `${name}.public.orders`, messages: sent });
  using config = configOf(
    { topic: `${name}-dlq`, compact: true, partitions: 2 },
    {
      kind: 'kafka',
      brokers: [stack.broker],
      group: `g-${name}`,
      prefix: name,
      tables: ['public.orders'],
      columns: { 'public.orders': { id: 'bigint', status: 'text', total: 'numeric(10,2)', at: 'timestamptz' } },
    },
  );
  await using _running = await startService(config);
  await eventually(async () => (await count('shop.orders')) === 1, 'the good one passes', 30_000);
  await using reader = await readTopic(stack.broker, `${name}-dlq`);
  await eventually(async () => reader.records.length === 3, 'three are told', 30_000);
  const [odd, unreadable, large] = reader.records;
  // Compacted topics are keyed by the item.
  const ids = reader.records.map(({ key, headers }) => [key === headers['tidegate.id'], headers['tidegate.original.key']]);
  expect(ids[0]).toEqual([true, '{"id": 1}']);
  expect([odd?.value, odd?.headers['trace'], odd?.headers['twice']]).toEqual([sent[0]?.value, 'abc', 'two']);
  expect([unreadable?.rawValue, unreadable?.headers['__connect.errors.stage']]).toEqual([sent[1]?.value, 'VALUE_CONVERTER']);
  expect(odd?.headers).toMatchObject({
    '__connect.errors.topic': `${name}.public.orders`,
    '__connect.errors.partition': '0',
    '__connect.errors.offset': '0',
    'tidegate.original.offset': '0',
  });
  const { json } = await cli('check', config.file, '--json');
  expect(json).toMatchObject({
    problems: expect.arrayContaining([
      expect.objectContaining({
        severity: 'warning',
        message: `the topic ${name}-dlq has other settings than here: partitions 1, cleanup.policy delete`,
      }),
    ]) as unknown,
  });
  expect([large?.value, large?.headers['tidegate.omitted'], large?.headers['huge']]).toEqual(['', 'value', undefined]);
  await Promise.all([admin.disconnect(), producer.disconnect()]);
});
