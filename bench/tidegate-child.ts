/**
 * One run of ours as the benchmark starts it: the road from a slot to a target, in a process of its own, which is up before it is told to begin, as the
 * servers are. Ends with SIGTERM.
 */
import { readFileSync } from 'node:fs';
import { postgresSource } from '../cdc/postgres/source.ts';
import type { Stage } from '../core/contracts.ts';
import type { DatasetName } from '../core/event.ts';
import { runPipeline } from '../core/pipeline.ts';
import type { Mapping } from '../inference/mapping-schema.ts';
import { ModelRegistry } from '../inference/models/registry.ts';
import { MemoryModelStore } from '../inference/models/store.ts';
import { Scorer } from '../inference/scorer/supervisor.ts';
import { inferenceStage, type ModelUse } from '../inference/stage.ts';
import { parseContract } from '../quality/contract.ts';
import { qualityStage } from '../quality/stage.ts';
import { postgresSink } from '../sync/postgres/sink.ts';
import type { Work } from './postgres.ts';

interface Task {
  readonly source: string;
  readonly target: string;
  readonly slot: string;
  readonly synchronousCommit: 'on' | 'off';
  readonly work: Work;
}

const ORDERS = 'bench.public.orders' as DatasetName;
const RULES = { 0: 'five-rules.yaml', 5: 'five-rules.yaml', 20: 'twenty-rules.yaml' };
const MODEL = new URL('../examples/models/order-risk/', import.meta.url);

const task = JSON.parse(process.argv[2] ?? '{}') as Task; // Written by bench/postgres.ts.
const drain = new AbortController();
process.once('SIGTERM', () => drain.abort());

await using scorer = new Scorer();
const uses: ModelUse[] = [];
const stages: Stage[] = [];
if (task.work.rules > 0) stages.push(qualityStage(new Map([[ORDERS, contract()]])));
if (task.work.model) {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  const mapping = JSON.parse(readFileSync(new URL('order-risk.mapping.json', MODEL), 'utf8')) as Mapping;
  const registration = await registry.register('order-risk', readFileSync(new URL('order-risk.onnx', MODEL)), mapping);
  if (registration.kind !== 'registered') throw new Error(JSON.stringify(registration));
  const write = { score: 'risk', model: 'risk_model', at: 'risk_at' };
  uses.push({
    model: 'order-risk@production',
    dataset: ORDERS,
    on: ['insert', 'update', 'read'],
    write,
    routes: [],
    failure: 'hold',
    deadlineMs: 5000,
  });
  const stage = inferenceStage({ registry, scorer, uses });
  stage.keepReady(); // As the service does.
  stages.push(stage);
}

await new Promise<void>((resolve) => {
  process.once('message', () => resolve());
  process.send?.('up');
});
process.disconnect();

await using source = postgresSource({
  name: 'bench',
  url: task.source,
  slot: task.slot,
  publication: 'bench',
  tables: ['public.orders', 'public.marks'],
  snapshot: { mode: task.work.snapshot === true ? 'initial' : 'never', chunkRows: 20_000, parallel: 2 },
  batch: { rows: 5000, bytes: 8 << 20, ageMs: 0 },
});
await using sink = await postgresSink({
  name: 'target',
  url: task.target,
  schema: 'public',
  tables: { create: false, widen: true },
  hold: () => null,
  scores: uses.map(({ dataset, write }) => ({ dataset, write })),
  synchronousCommit: task.synchronousCommit,
  pipeline: 'bench',
});
await runPipeline({ source, stages, sink }, { drain: drain.signal, abort: new AbortController().signal });

function contract() {
  const parsed = parseContract(readFileSync(new URL(RULES[task.work.rules], import.meta.url), 'utf8'), RULES[task.work.rules]);
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
}
