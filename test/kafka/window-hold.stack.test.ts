/** A window that fails and holds its dataset, read by two workers: what comes after it waits in both, also where one is killed, and is written once somebody lets it go on. */
import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { sharedConfig, untilShared } from './sharing.ts';
import { stack } from './support.ts';
import { makeTopics } from './topics.ts';

const { Kafka, logLevel, Partitioners } = kafkajs;
const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true, maxInFlightRequests: 1 });
beforeAll(() => Promise.all([admin.connect(), producer.connect()]));
afterAll(() => Promise.all([admin.disconnect(), producer.disconnect()]));

const PARTITIONS = 2;
const NOON = Date.UTC(2026, 4, 1, 12);
const RULES = `apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
source: { event_time: after.at }
defaults: { window: { every: 1m, out_of_order: 0s, lateness: 0s, idle: 1h } }
columns: { total: [{ id: mean, mean: { max: 50 }, on_fail: hold }] }
`;

test('it waits in both, and goes on in both', async () => {
  await using target = await createDatabase(inject('targetServer'), 'hold');
  await using memory = await createDatabase(inject('targetServer'), 'state');
  await using lake = await PgConnection.connect({ url: target.url });
  const prefix = `h${randomBytes(4).toString('hex')}`;
  const topic = `${prefix}.public.orders`;
  await makeTopics(admin, [{ topic, numPartitions: PARTITIONS }]);
  using config = sharedConfig(
    { prefix, state: memory.url, target: target.url },
    { id: 'bigint', total: 'bigint', at: 'timestamptz' },
    RULES,
  );
  await using workers = new AsyncDisposableStack();
  const begin = (): ServiceProcess => workers.use(new ServiceProcess(config.file));
  const [first, second] = [begin(), begin()];
  await untilShared([first, second], PARTITIONS);
  let sent = 0;
  /** One row to each partition, so many times; answers with their ids. */
  const send = async (minute: number, total: number, times = 1): Promise<readonly number[]> => {
    const ids: number[] = [];
    const messages = Array.from({ length: times * PARTITIONS }, () => {
      const id = ++sent;
      ids.push(id);
      const after = { id, total, at: new Date(NOON + minute * 60_000 + id).toISOString() };
      const source = { connector: 'postgresql', ts_ms: NOON + id, lsn: 1000 + 8 * id, schema: 'public', table: 'orders' };
      return { partition: id % PARTITIONS, key: JSON.stringify({ id }), value: JSON.stringify({ before: null, after, source, op: 'c' }) };
    });
    await producer.send({ topic, messages });
    return ids;
  };
  const numberOf = async (sql: string): Promise<number> => Number((await lake.query(sql).catch(() => ({ rows: [] }))).rows[0]?.[0] ?? 0);
  const allIn = () => eventually(async () => (await numberOf('select sum(events) from tidegate.lanes')) === sent, 'all is in', 90_000);
  const staged = () => numberOf("select count(*) from tidegate.quarantine where status = 'staged'");
  const written = (ids: readonly number[]) => numberOf(`select count(*) from shop.orders where id = any ('{${ids.join()}}')`);

  await send(0, 100, 3);
  await send(2, 1);
  await eventually(async () => (await numberOf('select count(*) from tidegate.held_datasets')) === 1, 'the dataset is held', 60_000);
  // Each worker hears of it within a second.
  await eventually(
    async () => {
      const ids = await send(3, 1);
      await allIn();
      return (await written(ids)) === 0;
    },
    'both have heard of it',
    60_000,
  );
  const before = await staged();
  const held = await send(4, 1, 20);
  await allIn();
  expect([await written(held), (await staged()) - before]).toEqual([0, held.length]);
  await first.kill();
  begin();
  const more = await send(5, 1, 20);
  await allIn();
  expect([await written(more), (await staged()) - before]).toEqual([0, held.length + more.length]);

  const resumed = await cli('windows', 'resume', config.file, 'shop.public.orders');
  expect(resumed.code).toBe(0);
  const last = await send(6, 1);
  await eventually(async () => (await numberOf('select count(*) from shop.orders')) === sent, 'all is written', 60_000);
  expect([await staged(), await written(last)]).toEqual([0, last.length]);
}, 240_000);
