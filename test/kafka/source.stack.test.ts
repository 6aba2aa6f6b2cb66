/** The source on topics of the test's own: what a broker can do to it, and what others can write. */
import { randomBytes } from 'node:crypto';
import kafkajs, { type Message } from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { kafkaSource } from '../../cdc/kafka/source.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { qualityStage } from '../../quality/stage.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { stack } from './support.ts';

const { CompressionTypes, Kafka, logLevel } = kafkajs;
const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const producer = kafka.producer();
let target: TestDatabase;
let lake: PgConnection;

beforeAll(async () => {
  [target] = await Promise.all([createDatabase(inject('targetServer'), 'kafka'), admin.connect(), producer.connect()]);
  lake = await PgConnection.connect({ url: target.url });
});
afterAll(async () => {
  await Promise.all([admin.disconnect(), producer.disconnect(), lake?.close()]);
  await target?.[Symbol.asyncDispose]();
});

/** A topic of this test's own, and a pipeline from it into the table of its name. */
async function road(partitions = 1) {
  const name = `s${randomBytes(4).toString('hex')}`;
  const topic = `${name}.public.t`;
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }], waitForLeaders: true });
  const run = (signals: { readonly drain: AbortSignal; readonly abort: AbortSignal }, bufferBytes = 1 << 20): Promise<void> =>
    pipeline(name, topic, bufferBytes, signals);
  const rows = async (): Promise<readonly string[]> => {
    const { rows: found } = await lake.query(`select id, v from ${name}.t order by id`).catch(() => ({ rows: [] }));
    return found.map((row) => row.join(' '));
  };
  return {
    name,
    topic,
    run,
    rows,
    send: (messages: Message[], compression = CompressionTypes.None) => producer.send({ topic, messages, compression }),
  };
}

async function pipeline(
  name: string,
  topic: string,
  bufferBytes: number,
  signals: { readonly drain: AbortSignal; readonly abort: AbortSignal },
) {
  await using sink = await postgresSink({
    name: 'lake',
    url: target.url,
    schema: name,
    tables: { create: true, widen: true },
    hold: () => 'event',
    scores: [],
    pipeline: name,
  });
  await using source = kafkaSource({
    name,
    connection: { brokers: [stack.broker] },
    group: `g-${name}`,
    tables: [{ table: 'public.t', topic, columns: { id: 'bigint', v: 'text' } }],
    envelope: 'debezium',
    unavailable: '__debezium_unavailable_value',
    registry: null,
    start: 'earliest',
    bufferBytes,
    batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
  });
  await runPipeline({ source, stages: [qualityStage(new Map())], sink, observers: [] }, signals);
}

let lsn = 1_000;
function change(op: 'c' | 'u' | 'd', id: number | string, v: string | null, headers: Message['headers'] = {}): Message {
  lsn += 8;
  const row = `{"id":${id},"v":${JSON.stringify(v)}}`;
  const [before, after] = op === 'd' ? [row, 'null'] : ['null', row];
  const value = `{"before":${before},"after":${after},"source":{"connector":"postgresql","ts_ms":1795439041136,"lsn":${lsn},"schema":"public","table":"t"},"op":"${op}"}`;
  return { key: `{"id":${id}}`, value, headers };
}

type Run = Awaited<ReturnType<typeof road>>['run'];

/** Runs until `until` holds, then drains. */
async function running(run: Run, until: () => Promise<boolean>, what: string, bufferBytes?: number): Promise<void> {
  const [drain, abort] = [new AbortController(), new AbortController()];
  const done = run({ drain: drain.signal, abort: abort.signal }, bufferBytes);
  done.catch(() => {}); // Awaited below.
  try {
    await Promise.race([
      eventually(until, what, 30_000),
      done.then(() => {
        throw new Error(`the pipeline ended before ${what}`);
      }),
    ]);
  } finally {
    drain.abort();
  }
  await done;
}

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
  expect(lanes).toEqual([['0000000000000007']]); // Behind the tombstone.
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
