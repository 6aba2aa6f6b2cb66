/** One run of ours as the benchmark starts it: the road from a slot to topics, in a process of its own. Ends with SIGTERM. */
import { readFileSync } from 'node:fs';
import { postgresSource } from '../cdc/postgres/source.ts';
import { systemClock } from '../core/clock.ts';
import type { DatasetName } from '../core/event.ts';
import { runPipeline } from '../core/pipeline.ts';
import { parseContract } from '../quality/contract.ts';
import { qualityStage } from '../quality/stage.ts';
import { avroFormat } from '../sync/kafka/avro.ts';
import { jsonFormat } from '../sync/kafka/record-format.ts';
import { kafkaSink } from '../sync/kafka/sink.ts';
import type { Compression } from '../wire/kafka/client.ts';
import { schemaRegistryWriter } from '../wire/kafka/registry.ts';

export interface TopicsTask {
  readonly broker: string;
  /** Null for JSON. */
  readonly registry: string | null;
  readonly schemas: boolean;
  readonly source: string;
  readonly store: string;
  /** Its topics begin with this; its slot and its publication are named for it. */
  readonly prefix: string;
  readonly partitions: number;
  readonly compression: Compression;
  readonly exactlyOnce: boolean;
  readonly rules: 0 | 5;
}

const RULES = 'five-rules.yaml';
const task = JSON.parse(process.argv[2] ?? '{}') as TopicsTask; // Written by bench/topics.ts.
const drain = new AbortController();
process.once('SIGTERM', () => drain.abort());

await using source = postgresSource({
  name: 'bench',
  url: task.source,
  slot: task.prefix,
  publication: task.prefix,
  tables: ['public.orders'],
  snapshot: { mode: 'initial', chunkRows: 20_000, parallel: 1 },
  batch: { rows: 5000, bytes: 8 << 20, ageMs: 0 },
});
await using sink = await kafkaSink({
  name: 'target',
  connection: { brokers: [task.broker] },
  topics: {
    topic: `${task.prefix}.{schema}.{table}`,
    create: true,
    partitions: task.partitions,
    replication: 1,
    retentionMs: null,
    compact: false,
    decimals: 'precise',
    intervals: 'numeric',
    arrays: 'list',
    defaults: 'required',
    tombstones: true,
    transactions: false,
    database: null,
  },
  format: task.registry === null ? jsonFormat(task.schemas) : avroFormat(schemaRegistryWriter({ url: task.registry })),
  compression: task.compression,
  exactlyOnce: task.exactlyOnce,
  store: { url: task.store },
  hold: () => null,
  pipeline: task.prefix,
  version: '0',
  clock: systemClock,
});
const stages = task.rules === 0 ? [] : [qualityStage(new Map([['bench.public.orders' as DatasetName, contract()]]))];
await runPipeline({ source, stages, sink }, { drain: drain.signal, abort: new AbortController().signal });

function contract() {
  const parsed = parseContract(readFileSync(new URL(RULES, import.meta.url), 'utf8'), RULES);
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
}
