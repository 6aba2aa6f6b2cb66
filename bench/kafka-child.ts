/** One worker of ours as the benchmark starts it: the road from topics to a target, in a process of its own. Ends with SIGTERM. */
import { readFileSync } from 'node:fs';
import { kafkaSource } from '../cdc/kafka/source.ts';
import type { KafkaTable } from '../cdc/kafka/topic-list.ts';
import { systemClock } from '../core/clock.ts';
import type { DatasetName } from '../core/event.ts';
import { runPipeline } from '../core/pipeline.ts';
import { parseContract } from '../quality/contract.ts';
import { qualityStage } from '../quality/stage.ts';
import { postgresSink } from '../sync/postgres/sink.ts';

export interface KafkaTask {
  readonly broker: string;
  readonly registry: string | null;
  readonly group: string;
  readonly table: KafkaTable;
  readonly target: string;
  readonly rules: 0 | 5;
}

const RULES = 'five-rules.yaml';
const task = JSON.parse(process.argv[2] ?? '{}') as KafkaTask; // Written by bench/kafka.ts.
const drain = new AbortController();
process.once('SIGTERM', () => drain.abort());

await using source = kafkaSource({
  name: 'bench',
  connection: { brokers: [task.broker] },
  group: task.group,
  tables: [task.table],
  envelope: 'debezium',
  unavailable: '__debezium_unavailable_value',
  registry: task.registry === null ? null : { url: task.registry },
  start: 'earliest',
  bufferBytes: 64 << 20,
  batch: { rows: 5000, bytes: 8 << 20, ageMs: 20 },
  clock: systemClock,
});
await using sink = await postgresSink({
  name: 'target',
  url: task.target,
  schema: 'public',
  tables: { create: false, widen: true },
  hold: () => null,
  scores: [],
  synchronousCommit: 'on',
  pipeline: 'bench',
});
const stages = task.rules === 0 ? [] : [qualityStage(new Map([[`bench.${task.table.table}` as DatasetName, contract()]]))];
await runPipeline({ source, stages, sink }, { drain: drain.signal, abort: new AbortController().signal });

function contract() {
  const text = readFileSync(new URL(RULES, import.meta.url), 'utf8').replace('bench.public.orders', `bench.${task.table.table}`);
  const parsed = parseContract(text, RULES);
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
}
