/** What becomes of topics while they are read, and while nobody reads them: they grow, come, go, come again, and are compacted. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tableOfTopic } from '../../app/kafka-connect.ts';
import { kafkaSource } from '../../cdc/kafka/source.ts';
import type { KafkaTable } from '../../cdc/kafka/topic-list.ts';
import { eventually } from '../support/eventually.ts';
import { admin, change, lake, producer, road, running } from './road.ts';
import { brokers, stack } from './support.ts';
import { makeTopics } from './topics.ts';

const never = new AbortController().signal;
const COLUMNS = { id: 'bigint', v: 'text' };

/** As the brokers see it: they go on to delete it for a while. */
async function deleteTopic(topic: string): Promise<void> {
  await admin.deleteTopics({ topics: [topic] });
  await using client = brokers();
  await eventually(async () => (await client.topics([topic])).size === 0, `${topic} is gone`);
}

const sum = <T>(all: readonly T[], size: (one: T) => number): number => all.reduce((total, one) => total + size(one), 0);

async function makeTopic(topic: string, partitions = 1): Promise<void> {
  await makeTopics(admin, [{ topic, numPartitions: partitions }]);
}

test('partitions that are added while it runs are read from their first record on', async () => {
  const { topic, run, rows, send } = await road(1, { start: 'latest' });
  await running(
    run,
    async () => {
      if ((await rows()).length === 0) await send([change('c', 1, 'before')]); // Until the lane has begun, at the end of then.
      return (await rows()).length === 1;
    },
    'the first row is there',
  );
  await running(
    run,
    async () => {
      if ((await rows()).length === 1) {
        await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] }).catch(() => {}); // Done once.
        await producer.send({ topic, messages: [1, 2, 3].map((partition) => ({ ...change('c', 100 + partition, 'added'), partition })) });
      }
      return (await rows()).length === 4;
    },
    'the rows of the new partitions are there',
  );
  expect(await rows()).toEqual(['1 before', '101 added', '102 added', '103 added']);
});

test('a lane that began at the end of its partition misses nothing that comes while nobody reads', async () => {
  const { name, run, rows, send } = await road(1, { start: 'latest' });
  await send([change('c', 1, 'old')]);
  const hasBegun = async (): Promise<boolean> =>
    (await lake.query("select 1 from tidegate.lanes where lane like $1 and position > '00'", [`${name}/%`]).catch(() => ({ rows: [] })))
      .rows.length === 1;
  await running(run, hasBegun, 'the lane has begun');
  await send([change('c', 2, 'meanwhile')]);
  await running(run, async () => (await rows()).length > 0, 'what came meanwhile is there');
  expect(await rows()).toEqual(['2 meanwhile']);
});

test('a topic that was deleted and made anew is not gone on from, however many records it has', async () => {
  const { topic, run, rows, send } = await road();
  await send([change('c', 1, 'a'), change('c', 2, 'b')]);
  await running(run, async () => (await rows()).length === 2, 'both rows are there');
  await deleteTopic(topic);
  await expect(run({ drain: never, abort: never })).rejects.toMatchObject({ code: 'SOURCE_TOPIC_MISSING' });
  await makeTopic(topic);
  await send(Array.from({ length: 5 }, (_, i) => change('c', 10 + i, 'another')));
  await expect(run({ drain: never, abort: never })).rejects.toMatchObject({
    code: 'SOURCE_POSITION_LOST',
    message: expect.stringContaining('was deleted and made anew') as string,
  });
  expect(await rows()).toEqual(['1 a', '2 b']);
});

test('nor is it while it is being read', async () => {
  const { topic, run, rows, send } = await road();
  await send([change('c', 1, 'a'), change('c', 2, 'b')]);
  const end = new AbortController();
  const done = run({ drain: end.signal, abort: end.signal }).then(
    () => null,
    (error: unknown) => error as { code?: string },
  );
  await eventually(async () => (await rows()).length === 2, 'both rows are there', 30_000);
  await deleteTopic(topic);
  await makeTopic(topic);
  await send(Array.from({ length: 5 }, (_, i) => change('c', 10 + i, 'another')));
  // The client may be told that the topic is not there before it is told of the new one.
  const error = await done;
  expect(['SOURCE_POSITION_LOST', 'SOURCE_TOPIC_MISSING']).toContain(error?.code);
  await expect(run({ drain: never, abort: never })).rejects.toMatchObject({ code: 'SOURCE_POSITION_LOST' });
});

test('a table whose topic comes later does not hold up the others, and is read once it is there', async () => {
  const missing: KafkaTable[] = [];
  const name = `later${Date.now()}`;
  const { run, rows } = await road(1, {
    onMissing: (table) => missing.push(table),
    tables: [
      { table: 'public.t', topic: `${name}.public.t`, columns: COLUMNS },
      { table: 'public.u', topic: `${name}.public.u`, columns: COLUMNS },
    ],
  });
  await makeTopic(`${name}.public.t`);
  await producer.send({ topic: `${name}.public.t`, messages: [change('c', 1, 'there')] });
  let isMade = false;
  await running(
    run,
    async () => {
      if ((await rows()).length === 1 && !isMade) {
        isMade = true;
        await makeTopic(`${name}.public.u`);
        await producer.send({ topic: `${name}.public.u`, messages: [change('c', 2, 'later')] });
      }
      return (await rows('u')).length === 1;
    },
    'the row of the later topic is there',
  );
  expect(missing.map(({ table }) => table)).toEqual(['public.u']);
  expect([await rows(), await rows('u')]).toEqual([['1 there'], ['2 later']]);
});

test('a pattern finds the topics of tables, now and later, and no others', async () => {
  const name = `p${Date.now()}`;
  const columns = (table: string): KafkaTable => ({ table: `public.${table}`, topic: `${name}.public.${table}`, columns: COLUMNS });
  const schema = (op: string, id: number) =>
    `{"schema":{"type":"struct","optional":false,"fields":[{"type":"struct","optional":true,"field":"after","fields":[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":true,"field":"v"}]}]},"payload":{"before":null,"after":{"id":${id},"v":"found"},"source":{"connector":"postgresql","ts_ms":1795439041136,"lsn":${id},"schema":"public","table":"x"},"op":"${op}"}}`;
  const key = (id: number) =>
    `{"schema":{"type":"struct","optional":false,"fields":[{"type":"int64","optional":false,"field":"id"}]},"payload":{"id":${id}}}`;
  const { run, rows } = await road(1, { tables: [columns('t')], tableOf: tableOfTopic(`${name}\\..*`, name) });
  for (const table of ['public.t', 'public.a', 'transaction', 'public.a.b']) await makeTopic(`${name}.${table}`);
  await producer.send({ topic: `${name}.public.a`, messages: [{ key: key(1), value: schema('c', 1) }] });
  await producer.send({ topic: `${name}.transaction`, messages: [{ key: key(1), value: schema('c', 1) }] });
  let isMade = false;
  await running(
    run,
    async () => {
      if ((await rows('a')).length === 1 && !isMade) {
        isMade = true;
        await makeTopic(`${name}.public.later`);
        await producer.send({ topic: `${name}.public.later`, messages: [{ key: key(2), value: schema('c', 2) }] });
      }
      return (await rows('later')).length === 1;
    },
    'the row of the later topic is there',
  );
  const { rows: lanes } = await lake.query(
    "select split_part(lane, '/', 3) from tidegate.lanes where lane like '%' || $1 || '%' order by 1",
    [name],
  );
  expect(lanes.flat()).toEqual(['public.a', 'public.later', 'public.t'].map((table) => `${name}.${table}`));
});

test('a compacted topic is read over its gaps, also from a place that is in one', async () => {
  const settings = { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0.01', 'segment.ms': '50', 'max.compaction.lag.ms': '50' };
  const { topic, run, rows, send } = await road(1, {}, settings);
  const version = (n: number) => change('u', n % 4, `version ${n} ${'-'.repeat(1000)}`);
  for (let n = 0; n < 8; n++) await send([version(n)]);
  await running(run, async () => (await rows()).length === 4, 'all keys are there');
  for (let n = 8; n < 40; n++) await send([version(n)]);
  // Nothing is cleaned behind the newest segment, which begins with the next record.
  const folder = join(stack.folder, 'log', `${topic}-0`);
  const bytes = (): number =>
    sum(
      readdirSync(folder).filter((file) => file.endsWith('.log')),
      (file) => statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0, // Cleaned away since they were listed.
    );
  await eventually(
    async () => {
      await send([change('u', 100, 'beside')]);
      return bytes() < 12 * 1000;
    },
    'the topic is compacted',
    30_000,
  );
  const isLast = (row: string): boolean => /^(?:0 version 36|1 version 37|2 version 38|3 version 39|100 beside)/.test(row);
  await running(run, async () => (await rows()).filter(isLast).length === 5, 'every key has its last version');
});

test('the lag is told in records, of each lane, and is nothing at the end', async () => {
  const { name, topic } = await road(2);
  await producer.send({ topic, messages: [0, 0, 0, 1].map((partition, i) => ({ ...change('c', i, 'v'), partition })) });
  await using source = kafkaSource({
    name,
    connection: { brokers: [stack.broker] },
    group: `g-${name}`,
    tables: [{ table: 'public.t', topic, columns: COLUMNS }],
    envelope: 'debezium',
    unavailable: '-',
    registry: null,
    start: 'earliest',
    bufferBytes: 1 << 20,
    batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
  });
  const end = new AbortController();
  const lags = (): readonly (number | null)[] => [...source.lanes].sort().map((lane) => source.lagRecords?.(lane) ?? null);
  const seen: string[] = [];
  for await (const batch of source.read((lane) => Promise.resolve({ lane, epoch: 1, checkpoint: null }), end.signal)) {
    if (batch.events.length > 0) seen.push(JSON.stringify(lags()));
    await source.acknowledge(batch.checkpoint);
    if (lags().every((lag) => lag === 0)) end.abort();
  }
  expect(seen[0]).toBe('[3,1]');
});
