/** From the config's words to the options of sources, targets and models. */
import type { Clock } from '../core/clock.ts';
import type { DatasetName } from '../core/event.ts';
import type { PostgresSourceOptions } from '../cdc/postgres/source.ts';
import type { ModelUse } from '../inference/stage.ts';
import type { BreakerSettings } from '../ops/breaker.ts';
import { evolve } from '../quality/schema/evolution.ts';
import type { DatasetsOptions, PostgresSinkOptions } from '../sync/postgres/sink.ts';
import { partsOf } from './config.ts';
import type { Config, PipelineConfig, TargetConfig } from './config-schema.ts';
import type { RuleFile } from './rule-files.ts';

export function sourceOptions(config: Config, pipeline: PipelineConfig, clock: Clock): PostgresSourceOptions {
  const { source } = partsOf(config, pipeline);
  return {
    name: pipeline.source,
    url: source.url.reveal(),
    slot: source.slot,
    publication: source.publication,
    tables: [...source.tables],
    changes: source.changes,
    rowBytes: source.rowBytes,
    snapshot: source.snapshot,
    walDiskBytes: source.wal.disk,
    batch: { rows: pipeline.batch.rows, bytes: pipeline.batch.bytes, ageMs: pipeline.batch.age },
    clock,
  };
}

export function sinkOptions(
  config: Config,
  name: string,
  pipeline: PipelineConfig,
  rules: ReadonlyMap<DatasetName, RuleFile>,
  clock: Clock,
): PostgresSinkOptions {
  const { target } = partsOf(config, pipeline);
  return {
    name: pipeline.target,
    url: target.url.reveal(),
    schema: target.schema,
    datasets: layoutOptions(target),
    tables: target.tables,
    hold: (dataset) => rules.get(dataset)?.contract.hold ?? target.hold,
    evolve: (dataset, before) => evolve(rules.get(dataset.name)?.contract, dataset, before),
    growsEnums: (dataset) => {
      const policy = rules.get(dataset)?.contract.evolution.enum ?? 'accept';
      return policy === 'accept' || policy === 'warn';
    },
    parkedRowsMax: pipeline.parkedRows,
    scores: modelUses(pipeline).map(({ dataset, write }) => ({ dataset, write })),
    synchronousCommit: target.synchronousCommit,
    replicationRole: target.replicationRole,
    deferConstraints: target.deferConstraints,
    pipeline: name,
    clock,
  };
}

export function layoutOptions({ layouts }: TargetConfig): DatasetsOptions {
  return new Map(layouts.map(({ dataset, ...layout }) => [dataset as DatasetName, layout]));
}

export function modelUses(pipeline: PipelineConfig): readonly ModelUse[] {
  return pipeline.models.map((use) => ({
    model: use.model.includes('@') ? use.model : `${use.model}@production`,
    dataset: use.dataset as DatasetName,
    on: use.on,
    write: use.write,
    routes: use.routes,
    failure: use.failure,
    deadlineMs: use.deadline,
  }));
}

/** When the breaker of a dataset opens: its rule file says, else the pipeline; null where it is switched off. */
export function breakerSettings(pipeline: PipelineConfig, rules: RuleFile | undefined): BreakerSettings | null {
  const { enabled, ratio, over, minRows } = pipeline.breaker;
  if (!enabled) return null;
  return rules?.contract.breaker ?? { quarantinedRatio: ratio, overMs: over, minRows };
}
