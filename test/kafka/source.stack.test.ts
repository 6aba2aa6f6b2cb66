/** The source on topics of the test's own: what a broker can do to it, and what others can write. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import kafkajs, { type Message } from 'kafkajs';
import { expect, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import type { Resume } from '../../core/contracts.ts';
import type { PipelineError } from '../../core/errors.ts';
import { eventually } from '../support/eventually.ts';
import { admin, change, lake, road, running, sourceOf } from './road.ts';
import { brokers, stack } from './support.ts';

const { CompressionTypes } = kafkajs;

test.each(['GZIP', 'Snappy', 'LZ4', 'ZSTD'] as const)('records compressed by %s are read', async (codec) => {
  const { send, run, rows } = await road();
  await send([change('c', 1, 'é'.repeat(500)), change('c', '9007199254740993', 'big')], CompressionTypes[codec]);
  await running(run, async () => (await rows()).length === 2, 'both rows are there');
  expect(await rows()).toEqual([`1 ${'é'.repeat(500)}`, '9007199254740993 big']);
});

test('what cannot be read is held as it came, in its place, and the rest goes on', async () => {
  const { name, topic, send, run, rows } = await road();
  const odd: Message[] = [
    { key: null, value: 'no json' },
    {
      key: '{"id":2}',
      value: '{"before":null,"after":{"id":"two","v":"x"},"source":{"lsn":9,"ts_ms":1},"op":"c"}',
      headers: { trace: 'abc' },
    },
    { key: Buffer.from([0, 0, 0, 0, 7, 2]), value: Buffer.from([0, 0, 0, 0, 7, 255]) },
    { key: '{"id":3}', value: '{"some":"thing"}' },
  ];
  await send([change('c', 1, 'before'), ...odd, change('c', 4, 'after'), { key: '{"id":9}', value: null }]);
  await running(run, async () => (await rows()).length === 2, 'the others are there');
  expect(await rows()).toEqual(['1 before', '4 after']);
  const held = await lake.query(
    `select row_json->>'offset', row_json->>'topic', row_json->>'value', row_json->>'headers', findings->0->>'rule', findings->0->>'message' from tidegate.quarantine where pipeline = $1 order by 1`,
    [name],
  );
  expect(held.rows.map(([offset, , value]) => [offset, Buffer.from((value ?? '').slice(2), 'hex')])).toEqual(
    odd.map(({ value }, i) => [String(i + 1), Buffer.from(value ?? '')]),
  );
  expect(held.rows.map((row) => [row[1], row[4]])).toEqual(odd.map(() => [topic, 'source.undecoded']));
  expect(held.rows[1]?.[3]).toBe(`{"trace":"${Buffer.from('abc').toString('base64')}"}`);
  expect(held.rows.map((row) => row[5]?.replace('the record cannot be read: ', ''))).toEqual([
    'it is no valid JSON',
    'the column id: a cell is not a whole number',
    'it names a schema of a registry, and the source names no registry',
    'it is no change as Debezium writes them',
  ]);
  const { rows: lanes } = await lake.query('select position from tidegate.lanes where lane like $1', [`${name}/%`]);
  expect(lanes).toEqual([[expect.stringMatching(/^0000000000000007\.[\w-]{22}$/)]]); // Behind the tombstone.
});

test('the group’s own offsets come up to the checkpoints, also where nothing more comes, and are never ahead of them', async () => {
  const it = await road(2);
  const group = `g-${it.name}`;
  const told = async (): Promise<ReadonlyMap<number, bigint>> => {
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [it.topic] });
    return new Map(found?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
  };
  const kept = async (): Promise<ReadonlyMap<number, bigint>> => {
    const { rows } = await lake
      .query('select lane, position from tidegate.lanes where lane like $1', [`${it.name}/%`])
      .catch(() => ({ rows: [] }));
    return new Map(rows.map(([lane, position]) => [Number(lane?.split('/').at(-1)), BigInt(`0x${position?.split('.')[0] ?? 0}`)]));
  };
  let sent = 0;
  const isAtEnd = async (): Promise<boolean> => {
    const [offsets, checkpoints] = [await told(), await kept()]; // In this order: the checkpoints go on.
    for (const [partition, offset] of offsets) expect(offset).toBeLessThanOrEqual(checkpoints.get(partition) ?? -1n);
    const total = [...offsets.values()].reduce((sum, one) => sum + (one < 0n ? 0n : one), 0n);
    return total === BigInt(sent) && [...checkpoints.values()].reduce((sum, one) => sum + one, 0n) === total;
  };
  await running(
    it.run,
    async () => {
      if (sent < 300) {
        await it.send(Array.from({ length: 10 }, () => change('c', ++sent, 'x')));
        return (await isAtEnd()) && false;
      }
      return isAtEnd();
    },
    'the group is told of the last checkpoint',
  );
  expect((await it.rows()).length).toBe(300);

  // Whoever takes the lanes over tells of them, though nothing comes any more.
  await admin.setOffsets({ groupId: group, topic: it.topic, partitions: [0, 1].map((partition) => ({ partition, offset: '0' })) });
  await running(it.run, isAtEnd, 'the group is told again');
});

test('nothing that the client does makes Node warn', async () => {
  const program = `const { kafkaClient } = await import(${JSON.stringify(new URL('../../wire/kafka/client.ts', import.meta.url).href)});
    await using client = kafkaClient({ brokers: [${JSON.stringify(stack.broker)}] });
    await client.topics(null);
    await using producer = await client.produce();`;
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
  expect(stderr).toBe('');
});

test('a checkpoint that the topic does not keep any more stops the lane, and so does one beyond its end', async () => {
  const { name, topic, send, run, rows } = await road();
  await send([change('c', 1, 'a'), change('c', 2, 'b')]);
  await running(run, async () => (await rows()).length === 2, 'both rows are there');
  await send([change('c', 3, 'lost'), change('c', 4, 'kept')]);
  await admin.fetchTopicOffsets(topic); // The client looks the leader up in what it knows already.
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '3' }] });
  const never = new AbortController().signal;
  await expect(run({ drain: never, abort: never })).rejects.toMatchObject({ code: 'SOURCE_POSITION_LOST' });
  await lake.query("update tidegate.lanes set position = '00000000000000ff' where lane like $1", [`${name}/%`]);
  await expect(run({ drain: never, abort: never })).rejects.toThrow(/is none that it has.*made anew/);
  expect(await rows()).toEqual(['1 a', '2 b']);
});

test('more than the buffer holds is read by and by, and all of it arrives', async () => {
  const { send, run, rows } = await road(3);
  for (let part = 0; part < 5; part++) await send(Array.from({ length: 200 }, (_, i) => change('c', part * 200 + i, 'v'.repeat(1000))));
  await running(run, async () => (await rows()).length === 1000, 'all rows are there', 50_000);
});

test('two processes share the partitions; one that ends leaves its part to the other, and each change arrives once', async () => {
  const { name, send, run, rows } = await road(4);
  const some = (from: number): Message[] => Array.from({ length: 50 }, (_, i) => change('c', from + i, 'v'));
  const has = (n: number) => async (): Promise<boolean> => (await rows()).length === n;
  await send(some(0));
  const [one, two] = [new AbortController(), new AbortController()];
  const never = new AbortController().signal;
  const first = run({ drain: one.signal, abort: never });
  await eventually(has(50), 'the first has brought what there is', 30_000);
  const second = run({ drain: two.signal, abort: never });
  const epochs = async (): Promise<readonly number[]> =>
    (await lake.query('select epoch from tidegate.lanes where lane like $1 order by lane', [`${name}/%`])).rows.map(([epoch]) =>
      Number(epoch),
    );
  await eventually(async () => (await epochs()).filter((epoch) => epoch > 1).length >= 2, 'the second has taken some lanes over', 30_000);
  await send(some(100));
  await eventually(has(100), 'both have brought the next', 30_000);
  one.abort();
  await first;
  await send(some(200));
  await eventually(has(150), 'the second has brought the rest', 30_000);
  two.abort();
  await second;
  const { rows: sums } = await lake.query('select sum(events), sum(upserts) from tidegate.lanes where lane like $1', [`${name}/%`]);
  expect(sums).toEqual([['150', '150']]);
});

test('a lane that went to another process while it was being taken over does not begin', async () => {
  const { name, topic } = await road();
  await using source = sourceOf(name, topic);
  const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const end = new AbortController();
  const batches: Batch[] = [];
  const reading = (async () => {
    const resume: Resume = async (lane) => {
      asked.resolve();
      await answered.promise;
      return { lane, epoch: 1, checkpoint: null };
    };
    for await (const batch of source.read(resume, end.signal)) batches.push(batch);
  })();
  await asked.promise;
  // Partitions are shared out by the members' names, and this one's is before ours.
  const other = new kafkajs.Kafka({ clientId: 'a', brokers: [stack.broker], logLevel: kafkajs.logLevel.NOTHING }).consumer({
    groupId: `g-${name}`,
  });
  let isTheirs = false;
  other.on(other.events.GROUP_JOIN, ({ payload }) => (isTheirs = payload.memberAssignment[topic]?.length === 1));
  await other.connect();
  await other.subscribe({ topics: [topic] });
  await other.run({ eachMessage: () => Promise.resolve() });
  await eventually(() => isTheirs, 'the other has the partition');
  answered.resolve();
  await eventually(() => source.status().state === 'streaming' && source.lanes.length === 0, 'there is nothing left to read');
  expect(batches).toEqual([]);
  end.abort();
  await reading;
  await other.disconnect();
});

test('a mistake of ours while records are taken is told as one, and not as brokers that are away; nothing that the consumer is told afterwards is one', async () => {
  const { name, topic, send } = await road();
  await send([change('c', 1, 'v')]);
  await using client = brokers();
  const told: PipelineError[] = [];
  await using consumer = await client.consume({
    group: `g-${name}`,
    topics: [topic],
    fetch: { waitMs: 100, bytesMax: 1 << 20, partitionBytesMax: 1 << 20 },
    metadataMs: 5000,
    sessionMs: 10_000,
    onAssigned: (partitions) => setImmediate(() => partitions.forEach((one) => consumer.begin(one, 0n))),
    onRecords: () => {
      throw new TypeError('nothing is not a function');
    },
    onOutOfRange: () => {},
    onFailure: (error) => told.push(error),
  });
  await eventually(() => told.length > 0, 'it is told', 10_000);
  expect(told.map(({ code }) => code)).toEqual(['BUG']);
  // Whoever has not heard of it yet goes on to tell it what to do.
  const at = { topic, partition: 0 };
  for (const order of ['pause', 'resume'] as const) expect(() => consumer[order](at)).not.toThrow();
  expect(() => consumer.begin(at, 0n)).not.toThrow();
  await consumer.commit([{ ...at, offset: 0n }]);
});
