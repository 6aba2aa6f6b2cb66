/** Topics as a target while what writes them is killed, stands still, and is taken over: what those see who read what is committed. */
import { randomBytes } from 'node:crypto';
import { expect, inject, test } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import type { LaneId } from '../../core/event.ts';
import { ExactlyOnce, gidPrefix, transactionalId } from '../../sync/kafka/exactly-once.ts';
import { type KafkaClient, kafkaClient } from '../../wire/kafka/client.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder } from '../app/services.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { stack } from './support.ts';
import { readTopic, type SeenRecord, type TopicReader } from './topics.ts';

const SEED = Number(process.env['TIDEGATE_SEED'] ?? 17);
const ROWS = 20;
const PREPARED = 'select count(*) from pg_prepared_xacts where database = current_database()';

/** A source whose rows count up, a store, and services from the one to a topic. */
async function world(more: Readonly<Record<string, unknown>>, isShared = false) {
  const prefix = `f${randomBytes(4).toString('hex')}`;
  const [source, store] = await Promise.all([
    createDatabase(inject('sourceServer'), 'fault'),
    createDatabase(inject('targetServer'), 'fault'),
  ]);
  const [sql, kept] = await Promise.all([PgConnection.connect({ url: source.url }), PgConnection.connect({ url: store.url })]);
  await sql.script(`create table t (id int primary key, v int not null); insert into t select n, 1 from generate_series(1, ${ROWS}) n`);
  const lane = `shop/${source.name}` as LaneId;
  const config = configFolder({
    sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'fault', tables: ['public.t'] } },
    targets: {
      bus: { kind: 'kafka', brokers: [stack.broker], store: store.url, topic: `${prefix}.{table}`, partitions: 2, schemas: false, ...more },
    },
    pipelines: { main: { source: 'shop', target: 'bus', batch: { rows: 50, age: '0s' } } },
    // Several share their state, and one that is silent is taken over from.
    ...(isShared ? { lease: '1s', state: store.url } : {}),
  });
  let rounds = 1;
  return {
    sql,
    kept,
    lane,
    config,
    topic: `${prefix}.t`,
    /** Every row counts up by one, in a transaction of its own, so often. */
    countUp: async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++, rounds++) await sql.query('update t set v = v + 1');
    },
    /** What a reader should have seen of each row. */
    all: () => Array.from({ length: rounds }, (_, i) => i + 1),
    /** Null before there is anything in the topic. */
    position: async () => {
      const found = kept.query('select position from tidegate.lanes where lane = $1 and upserts > 0', [lane]);
      return (await found.catch(() => ({ rows: [] }))).rows[0]?.[0] ?? null;
    },
    [Symbol.asyncDispose]: async () => {
      config[Symbol.dispose]();
      await Promise.all([sql.close(), kept.close()]);
      await Promise.all([source[Symbol.asyncDispose](), store[Symbol.asyncDispose]()]);
    },
  };
}

const versionsOf = (records: readonly SeenRecord[], id: number): number[] =>
  records.filter(({ key }) => key === `{"id":${id}}`).map(({ value }) => (JSON.parse(value ?? '{}') as { after: { v: number } }).after.v);
const ids = Array.from({ length: ROWS }, (_, i) => i + 1);

async function untilSeen({ records }: TopicReader, id: number, v: number, service: ServiceProcess | null): Promise<void> {
  const isSeen = (): Promise<boolean> => Promise.resolve(versionsOf(records, id).includes(v));
  await eventually(isSeen, `row ${id} was seen at ${v}\n${service?.lastWords ?? ''}`, 30_000).catch((error: unknown) => {
    throw new Error(service?.lastWords ?? 'no service', { cause: error });
  });
}

test.each([true, false])(
  'killed again and again in the middle of its work (exactlyOnce: %s), nothing is lost or out of order, and with exactlyOnce nothing is seen twice',
  async (exactlyOnce) => {
    console.log(`seed ${SEED}`);
    const random = new Random(SEED);
    await using at = await world({ exactlyOnce });
    {
      await using _first = new ServiceProcess(at.config.file);
      await eventually(async () => (await at.position()) !== null, 'it has begun', 30_000);
    }
    await using reader = await readTopic(stack.broker, at.topic);
    for (let kill = exactlyOnce ? 2 : 1; kill > 0; kill--) {
      await using service = new ServiceProcess(at.config.file);
      const before = await at.position();
      const counting = at.countUp(60);
      await eventually(async () => (await at.position()) !== before, 'it goes on', 30_000);
      // In the middle of a batch, wherever that is.
      const marks = random.below(40);
      for (let seen = 0; seen < marks; seen++) await at.kept.query('select count(*) from pg_prepared_xacts');
      await service.kill();
      await counting;
    }
    await using last = new ServiceProcess(at.config.file);
    const whole = at.all();
    for (const id of ids) await untilSeen(reader, id, whole.length, last);
    for (const id of ids) {
      const seen = versionsOf(reader.records, id);
      if (exactlyOnce) expect(seen).toEqual(whole);
      else {
        // What comes again comes in order too, so each version is first seen behind the one before it.
        expect(seen.filter((v, i) => seen.indexOf(v) === i)).toEqual(whole);
        expect(seen.at(-1)).toBe(whole.length);
      }
    }
    await eventually(async () => (await at.kept.query(PREPARED)).rows[0]?.[0] === '0', 'nothing is left undecided', 10_000);
  },
);

test('who stands still while another takes the lane over writes nothing any more, and takes it back when the other is gone', async () => {
  await using at = await world({ exactlyOnce: true }, true);
  await using one = new ServiceProcess(at.config.file);
  await eventually(async () => (await at.position()) !== null, 'one has begun', 30_000);
  await using reader = await readTopic(stack.broker, at.topic);
  await using other = new ServiceProcess(at.config.file);
  const counting = at.countUp(100);
  await eventually(async () => (await at.kept.query(PREPARED)).rows[0]?.[0] !== '0', 'one is in the middle of a batch', 30_000);
  one.signal('SIGSTOP');
  await counting;
  for (const id of ids) await untilSeen(reader, id, 101, other);
  one.signal('SIGCONT');
  await at.countUp(20);
  for (const id of ids) await untilSeen(reader, id, 121, other);
  await other.kill();
  await at.countUp(20);
  for (const id of ids) await untilSeen(reader, id, 141, one);
  expect(ids.map((id) => versionsOf(reader.records, id))).toEqual(ids.map(() => at.all()));
  await eventually(async () => (await at.kept.query(PREPARED)).rows[0]?.[0] === '0', 'nothing is left undecided', 10_000);
});

test('a batch that was cut off between the two commits is what the brokers say: committed where they have its note, else sent again', async () => {
  await using at = await world({ exactlyOnce: true });
  {
    await using _service = new ServiceProcess(at.config.file);
    await eventually(async () => (await at.position()) !== null, 'it has begun', 30_000);
  }
  await using reader = await readTopic(stack.broker, at.topic);
  for (const id of ids) await untilSeen(reader, id, 1, null);
  await using client = kafkaClient({ brokers: [stack.broker] }, 'TARGET');
  const prepare = async (gid: string, dropped: number): Promise<void> => {
    await at.kept.script('begin');
    await at.kept.query('update tidegate.lanes set dropped = dropped + $2 where lane = $1', [at.lane, dropped]);
    await at.kept.script(`prepare transaction '${gid}'`);
  };
  // As if each were a batch's: what it does to the lane is seen in its counts.
  const [kept, lost] = ['kept', 'lost'].map((name) => `${gidPrefix('main', at.lane)}${name}`);
  await prepare(lost ?? '', 1000);
  {
    await using transactions = await client.transact(transactionalId('main', at.lane));
    expect(transactions.last?.text).toMatch(/^tidegate-/);
    await transactions.send([{ topic: at.topic, key: '{"id":1}', value: '{"after":{"v":-1}}', headers: {} }]);
  }
  {
    await using service = new ServiceProcess(at.config.file);
    await at.countUp(1);
    for (const id of ids) await untilSeen(reader, id, 2, service);
  }
  await prepare(kept ?? '', 7);
  {
    await using transactions = await client.transact(transactionalId('main', at.lane));
    await transactions.commit(at.topic, kept ?? '');
  }
  await using service = new ServiceProcess(at.config.file);
  await at.countUp(1);
  for (const id of ids) await untilSeen(reader, id, 3, service);
  expect(ids.map((id) => versionsOf(reader.records, id))).toEqual(ids.map(() => [1, 2, 3]));
  expect((await at.kept.query('select dropped from tidegate.lanes where lane = $1', [at.lane])).rows).toEqual([['7']]);
  await eventually(async () => (await at.kept.query(PREPARED)).rows[0]?.[0] === '0', 'nothing is left undecided', 10_000);
});

test('who has a batch settled by somebody who takes the lane over has lost the lane, and does not halt', async () => {
  await using store = await createDatabase(inject('targetServer'), 'fault');
  await using sql = await PgConnection.connect({ url: store.url });
  await using other = await PgConnection.connect({ url: store.url });
  await using client = kafkaClient({ brokers: [stack.broker] }, 'TARGET');
  const topic = `f${randomBytes(4).toString('hex')}.t`;
  await client.makeTopic({ topic, partitions: 1, replication: 1, options: {} });
  // Between the brokers' commit and the store's.
  const overtaken: Pick<KafkaClient, 'transact'> = {
    transact: async (id) => {
      const own = await client.transact(id);
      const commit = async (to: string, gid: string): Promise<void> => {
        await own.commit(to, gid);
        if (gid !== 'begun') await other.script(`commit prepared '${gid}'`);
      };
      return { last: own.last, send: (records) => own.send(records), commit, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
    },
  };
  const lane = `shop/${store.name}` as LaneId;
  await using one = new ExactlyOnce({
    name: 'bus',
    client: overtaken,
    compression: 'none',
    pipeline: 'main',
    sql,
    clock: systemClock,
    watch: null,
  });
  await one.acquire(lane, () => Promise.resolve({ lane, epoch: 1, checkpoint: null }));
  await sql.script('create table marks (n int); begin; insert into marks values (1)');
  const record = { topic, key: 'k', value: 'v', headers: {}, bytes: 100, room: 1000 };
  await expect(one.commit(lane, [record])).rejects.toMatchObject({ code: 'LEASE_LOST' });
  expect((await sql.query('select n from marks')).rows).toEqual([['1']]);
});
