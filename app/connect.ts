/** From the config's words to the options of sources, targets and models. */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import { kafkaSource, type KafkaSourceOptions } from '../cdc/kafka/source.ts';
import type { KafkaTable } from '../cdc/kafka/topic-list.ts';
import { postgresSource, type PostgresSourceOptions } from '../cdc/postgres/source.ts';
import type { ModelUse } from '../inference/stage.ts';
import type { BreakerSettings } from '../ops/breaker.ts';
import { evolve } from '../quality/schema/evolution.ts';
import type { DatasetsOptions, PostgresSinkOptions } from '../sync/postgres/sink.ts';
import { partsOf } from './config.ts';
import type { Config, KafkaSourceConfig, PipelineConfig, TargetConfig } from './config-schema.ts';
import { kafkaConnection, registryOptions, tableOfTopic } from './kafka-connect.ts';
import type { Logger } from './logger.ts';
import type { TellerOptions } from './quarantine-teller.ts';
import type { RuleFile } from './rule-files.ts';
import type { SnapshotDeskParts } from './snapshot-desk.ts';

/** What a source tells and asks while it runs. */
export interface SourceListeners extends Required<Pick<PostgresSourceOptions, 'onLeftOut' | 'endsReader'>> {
  /** There is no topic for a table yet. */
  readonly onMissing: (table: KafkaTable) => void;
}

/** The source of a pipeline, whatever its kind. */
export function openSource(
  config: Config,
  pipeline: PipelineConfig,
  clock: Clock,
  { onMissing, ...listeners }: SourceListeners,
): Pick<SnapshotDeskParts, 'source' | 'database'> {
  const { source } = partsOf(config, pipeline);
  if (source.kind === 'kafka') return { source: kafkaSource({ ...kafkaOptions(pipeline, source, clock), onMissing }), database: null };
  const database = postgresSource({ ...sourceOptions(config, pipeline, clock), ...listeners });
  return { source: database, database };
}

/** Only of a pipeline that reads a database: whoever asks has looked. */
export function sourceOptions(config: Config, pipeline: PipelineConfig, clock: Clock): PostgresSourceOptions {
  const { source } = partsOf(config, pipeline);
  if (source.kind !== 'postgres') throw new PipelineError('CONFIG_INVALID', `${pipeline.source} is no database that could be asked`);
  return {
    name: pipeline.source,
    url: source.url.reveal(),
    slot: source.slot,
    publication: source.publication,
    tables: [...source.tables],
    changes: source.changes,
    rowBytes: source.rowBytes,
    snapshot: source.snapshot,
    failover: source.failover,
    walDiskBytes: source.wal.disk,
    batch: { rows: pipeline.batch.rows, bytes: pipeline.batch.bytes, ageMs: pipeline.batch.age },
    timing: { silenceMs: source.silence },
    clock,
  };
}

/** What tells the quarantine to its topics; null where there are none. */
export function tellerOptions(config: Config, name: string, pipeline: PipelineConfig, clock: Clock, logger: Logger): TellerOptions | null {
  const { quarantineTopics: topics } = pipeline;
  if (topics === null) return null;
  const { source, target } = partsOf(config, pipeline);
  const { brokers, sasl, tls } = topics;
  const connection = brokers === null && source.kind === 'kafka' ? source : { brokers: brokers ?? [], sasl, tls };
  return {
    pipeline: name,
    connection: kafkaConnection(connection, clock),
    store: { url: target.url.reveal(), silenceMs: target.silence },
    topics,
    clock,
    logger,
  };
}

export function kafkaOptions(pipeline: PipelineConfig, source: KafkaSourceConfig, clock: Clock): KafkaSourceOptions {
  const { registry } = source;
  return {
    name: pipeline.source,
    connection: kafkaConnection(source, clock),
    group: source.group,
    sessionMs: source.session,
    tables: source.tables.map((table) => ({
      table,
      topic: source.topics[table] ?? `${source.prefix}.${table}`,
      columns: source.columns[table] ?? null,
    })),
    tableOf: source.topicPattern === null ? null : tableOfTopic(source.topicPattern, source.prefix),
    envelope: source.envelope,
    unavailable: source.unavailable,
    registry: registry === null ? null : registryOptions(registry),
    start: source.start,
    bufferBytes: source.buffer,
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
    silenceMs: target.silence,
    tellsQuarantine: pipeline.quarantineTopics !== null,
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
