/** A topic of a test's own, and a pipeline from it into the table of its name. */
import { randomBytes } from 'node:crypto';
import kafkajs, { type Message } from 'kafkajs';
import { afterAll, beforeAll, inject } from 'vitest';
import { type KafkaSourceOptions, kafkaSource } from '../../cdc/kafka/source.ts';
import type { LiveSource } from '../../core/contracts.ts';
import { type PipelineSignals, runPipeline } from '../../core/pipeline.ts';
import { qualityStage } from '../../quality/stage.ts';
import { type PostgresSink, type PostgresSinkOptions, postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { stack } from './support.ts';
import { makeTopics } from './topics.ts';

const { CompressionTypes, Kafka, logLevel } = kafkajs;
const kafka = new Kafka({ brokers: [stack.broker], logLevel: logLevel.NOTHING });
export const admin = kafka.admin();
/** Where one partition refuses, kafkajs sends what the others took once more: an idempotent producer's is known to be the same. */
export const producer = kafka.producer({
  createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  metadataMaxAge: 500,
  idempotent: true,
  maxInFlightRequests: 1,
});
let target: TestDatabase;
export let lake: PgConnection;

beforeAll(async () => {
  [target] = await Promise.all([createDatabase(inject('targetServer'), 'kafka'), admin.connect(), producer.connect()]);
  lake = await PgConnection.connect({ url: target.url });
});
afterAll(async () => {
  await Promise.all([admin.disconnect(), producer.disconnect(), lake?.close()]);
  await target?.[Symbol.asyncDispose]();
});

/** A topic of this test's own, and a pipeline from it into the table of its name. */
export async function road(
  partitions = 1,
  more: Partial<KafkaSourceOptions> = {},
  settings: Readonly<Record<string, string>> = {},
  sinkMore: Partial<PostgresSinkOptions> = {},
) {
  const name = `s${randomBytes(4).toString('hex')}`;
  const topic = `${name}.public.t`;
  await makeTopics(admin, [
    { topic, numPartitions: partitions, configEntries: Object.entries(settings).map(([key, value]) => ({ name: key, value })) },
  ]);
  const run = (signals: PipelineSignals, bufferBytes = 1 << 20): Promise<void> =>
    pipeline(name, topic, bufferBytes, signals, more, sinkMore);
  const rows = async (table = 't'): Promise<readonly string[]> => {
    const { rows: found } = await lake.query(`select id, v from ${name}.${table} order by id`).catch(() => ({ rows: [] }));
    return found.map((row) => row.join(' '));
  };
  return {
    name,
    topic,
    run,
    rows,
    sink: () => sinkOf(name, sinkMore),
    send: (messages: Message[], compression = CompressionTypes.None) => producer.send({ topic, messages, compression }),
  };
}

/** The source of such a road. */
export const sourceOf = (name: string, topic: string, more: Partial<KafkaSourceOptions> = {}): LiveSource =>
  kafkaSource(sourceOptions(name, topic, more));

export const sourceOptions = (name: string, topic: string, more: Partial<KafkaSourceOptions> = {}): KafkaSourceOptions => ({
  name,
  connection: { brokers: [stack.broker] },
  group: `g-${name}`,
  tables: [{ table: 'public.t', topic, columns: { id: 'bigint', v: 'text' } }],
  envelope: 'debezium',
  unavailable: '__debezium_unavailable_value',
  registry: null,
  start: 'earliest',
  bufferBytes: 1 << 20,
  batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
  lookMs: 300,
  ...more,
});

const sinkOf = (name: string, more: Partial<PostgresSinkOptions>): Promise<PostgresSink> =>
  postgresSink({
    name: 'lake',
    url: target.url,
    schema: name,
    tables: { create: true, widen: true },
    hold: () => 'event',
    scores: [],
    pipeline: name,
    ...more,
  });

async function pipeline(
  name: string,
  topic: string,
  bufferBytes: number,
  signals: PipelineSignals,
  more: Partial<KafkaSourceOptions>,
  sinkMore: Partial<PostgresSinkOptions>,
) {
  await using sink = await sinkOf(name, sinkMore);
  await using source = sourceOf(name, topic, { bufferBytes, ...more });
  await runPipeline({ source, stages: [qualityStage(new Map())], sink, observers: [] }, signals);
}

let lsn = 1_000;
/** As Debezium writes it without schemas; each is later in its log than the one before. */
export function change(op: 'c' | 'u' | 'd', id: number | string, v: string | null, headers: Message['headers'] = {}): Message {
  lsn += 8;
  const row = `{"id":${id},"v":${JSON.stringify(v)}}`;
  const [before, after] = op === 'd' ? [row, 'null'] : ['null', row];
  const value = `{"before":${before},"after":${after},"source":{"connector":"postgresql","ts_ms":1795439041136,"lsn":${lsn},"schema":"public","table":"t"},"op":"${op}"}`;
  return { key: `{"id":${id}}`, value, headers };
}

export type Run = Awaited<ReturnType<typeof road>>['run'];

/** Runs until `until` holds, then drains. */
export async function running(run: Run, until: () => Promise<boolean>, what: string, bufferBytes?: number): Promise<void> {
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
