/** From the config's words to the options of sources, targets and models. */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { Dataset, DatasetName } from '../core/event.ts';
import type { Shape } from '../core/shape.ts';
import { DecodeAgain } from '../cdc/kafka/decode-again.ts';
import { sourceLane } from '../cdc/kafka/lane-place.ts';
import { kafkaSource, type KafkaSourceOptions } from '../cdc/kafka/source.ts';
import type { KafkaTable } from '../cdc/kafka/topic-list.ts';
import type { TablePatterns } from '../cdc/postgres/found-tables.ts';
import { postgresSource, type PostgresSourceOptions } from '../cdc/postgres/source.ts';
import type { ModelUse } from '../inference/stage.ts';
import type { BreakerSettings } from '../ops/breaker.ts';
import type { DraftRules } from '../core/keyed.ts';
import { keyedRules } from '../quality/keyed.ts';
import { evolve } from '../quality/schema/evolution.ts';
import { avroFormat } from '../sync/kafka/avro.ts';
import { jsonFormat } from '../sync/kafka/record-format.ts';
import { kafkaSink, type KafkaSinkOptions } from '../sync/kafka/sink.ts';
import type { TopicWatch } from '../sync/kafka/topic-watch.ts';
import { type DatasetsOptions, postgresSink, type PostgresSinkOptions } from '../sync/postgres/sink.ts';
import { kafkaClient } from '../wire/kafka/client.ts';
import { schemaRegistryWriter } from '../wire/kafka/registry.ts';
import { parsePgServers } from '../wire/postgres/ident.ts';
import { laneOf, mayBring, partsOf, writtenAs } from './config.ts';
import type {
  Config,
  KafkaSourceConfig,
  KafkaTargetConfig,
  PipelineConfig,
  PostgresSourceConfig,
  PostgresTargetConfig,
  TargetConfig,
} from './config-schema.ts';
import { tableNamed } from './dead-letters.ts';
import { kafkaConnection, registryOptions, tableOfTopic } from './kafka-connect.ts';
import type { Logger } from './logger.ts';
import type { TellerOptions } from './quarantine-teller.ts';
import type { RuleFile } from './rule-files.ts';
import { Secret } from './secret.ts';
import type { SnapshotDeskParts } from './snapshot-desk.ts';
import { VERSION } from './version.ts';

/** What a source tells and asks while it runs. */
export interface SourceListeners
  extends
    Required<Pick<PostgresSourceOptions, 'onLeftOut' | 'onFound' | 'onRenamed' | 'onMissed' | 'endsReader' | 'lastReader' | 'namedBy'>>,
    Pick<PostgresSourceOptions, 'decideNewTables'> {
  /** There is no topic for a table yet. */
  readonly onMissing: (table: KafkaTable) => void;
  /** How the target has a table. */
  readonly followed: NonNullable<KafkaSourceOptions['followed']>;
}

/** The source of a pipeline, whatever its kind. */
export function openSource(
  config: Config,
  pipeline: PipelineConfig,
  clock: Clock,
  { onMissing, followed, ...listeners }: SourceListeners,
): Pick<SnapshotDeskParts, 'source' | 'database'> {
  const { source } = partsOf(config, pipeline);
  if (source.kind === 'kafka')
    return { source: kafkaSource({ ...kafkaOptions(pipeline, source, clock), onMissing, followed }), database: null };
  const database = postgresSource({ ...sourceOptions(config, pipeline, clock), ...listeners });
  return { source: database, database };
}

/** Only of a pipeline that reads a database: whoever asks has looked. */
export function sourceOptions(config: Config, pipeline: PipelineConfig, clock: Clock): PostgresSourceOptions {
  const { source, target } = partsOf(config, pipeline);
  if (source.kind !== 'postgres') throw new PipelineError('CONFIG_INVALID', `${pipeline.source} is no database that could be asked`);
  return {
    name: pipeline.source,
    url: source.url.reveal(),
    slot: source.slot,
    publication: source.publication,
    tables: [...source.tables],
    patterns: tablePatterns(pipeline.source, source, target),
    changes: source.changes,
    rowBytes: source.rowBytes,
    snapshot: source.snapshot,
    failover: source.failover,
    decodingBytes: source.decodingMemory,
    walDiskBytes: source.wal.disk,
    batch: { rows: pipeline.batch.rows, bytes: pipeline.batch.bytes, ageMs: pipeline.batch.age },
    timing: { silenceMs: source.silence },
    clock,
  };
}

/** How tables are found that the config does not name; null where only those are read that it names. */
export function tablePatterns(name: string, source: PostgresSourceConfig, target: TargetConfig | null): TablePatterns | null {
  const { patterns, except, newTables } = source;
  if (patterns.length === 0) return null;
  return { patterns, except, newTables, writtenAs: (table) => (target === null ? table : writtenAs('', name, table, target)) };
}

/** What tells the quarantine to its topics; null where there are none. */
export function tellerOptions(config: Config, name: string, pipeline: PipelineConfig, clock: Clock, logger: Logger): TellerOptions | null {
  const { quarantineTopics: topics } = pipeline;
  if (topics === null) return null;
  const { source } = partsOf(config, pipeline);
  const { brokers, sasl, tls } = topics;
  const connection = brokers === null && source.kind === 'kafka' ? source : { brokers: brokers ?? [], sasl, tls };
  return {
    pipeline: name,
    connection: kafkaConnection(connection, clock),
    store: storeOf(config, pipeline),
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
    added: source.added,
    unavailable: source.unavailable,
    oldRows: source.oldRows,
    registry: registry === null ? null : registryOptions(registry),
    start: source.start,
    bufferBytes: source.buffer,
    batch: { rows: pipeline.batch.rows, bytes: pipeline.batch.bytes, ageMs: pipeline.batch.age },
    clock,
  };
}

/** What reads records once more that could not be read; null where the source has none. */
export function openDecodeAgain(
  config: Config,
  pipeline: PipelineConfig,
  clock: Clock,
  followed: NonNullable<KafkaSourceOptions['followed']>,
  signal: AbortSignal,
): DecodeAgain | null {
  const { source } = partsOf(config, pipeline);
  if (source.kind !== 'kafka') return null;
  const options = kafkaOptions(pipeline, source, clock);
  return new DecodeAgain({
    ...options,
    lanes: sourceLane(options),
    client: kafkaClient(options.connection),
    tableNamed: (dataset) => tableNamed(options, dataset),
    followed,
    signal,
  });
}

/** Where lanes and quarantine of a pipeline are kept: at a database that is its target, beside topics in their store. */
export function storeOf(config: Config, pipeline: PipelineConfig): { readonly url: string; readonly silenceMs: number } {
  const { target } = partsOf(config, pipeline);
  const url = target.kind === 'postgres' ? target.url : (target.store ?? config.state);
  if (!(url instanceof Secret)) throw new PipelineError('CONFIG_INVALID', `the target ${pipeline.target} names no store`);
  return { url: url.reveal(), silenceMs: target.silence };
}

/** Only of a pipeline that writes tables: whoever asks has looked. */
export function tableTarget(config: Config, pipeline: PipelineConfig): PostgresTargetConfig {
  const { target } = partsOf(config, pipeline);
  if (target.kind !== 'postgres')
    throw new PipelineError('CONFIG_INVALID', `${pipeline.target} is no database whose rows could be asked for`);
  return target;
}

type Rules = ReadonlyMap<DatasetName, RuleFile>;

/** The sink of a pipeline, whatever the kind of its target. */
export function openSink(
  config: Config,
  name: string,
  pipeline: PipelineConfig,
  rules: Rules,
  clock: Clock,
  logger: Logger,
  watch: TopicWatch | null = null,
  drafts: DraftRules | null = null,
) {
  const { target } = partsOf(config, pipeline);
  if (target.kind === 'postgres') return postgresSink({ ...sinkOptions(config, name, pipeline, rules, clock), drafts });
  return kafkaSink({
    ...topicOptions(config, name, pipeline, target, rules, clock),
    watch,
    onOther: (topic, settings) => {
      logger.warn('a topic was there already, with other settings than in the config, and is used as it is', {
        pipeline: name,
        topic,
        settings: JSON.stringify(settings),
      });
    },
  });
}

export function topicOptions(
  config: Config,
  name: string,
  pipeline: PipelineConfig,
  target: KafkaTargetConfig,
  rules: Rules,
  clock: Clock,
): KafkaSinkOptions {
  const registry = target.registry === null ? null : schemaRegistryWriter(registryOptions(target.registry));
  const { source } = partsOf(config, pipeline);
  const database = source.kind === 'postgres' ? (parsePgServers(source.url.reveal()).addresses[0]?.database ?? null) : null;
  return {
    ...heldBy(name, pipeline, target, rules, clock),
    name: pipeline.target,
    connection: kafkaConnection(target, clock),
    topics: { ...target, retentionMs: target.retention, database },
    format: registry === null ? jsonFormat(target.schemas) : avroFormat(registry),
    registry,
    compression: target.compression,
    exactlyOnce: target.exactlyOnce,
    store: storeOf(config, pipeline),
    version: VERSION,
  };
}

/** Only of a pipeline that writes tables: whoever asks has looked. */
export function sinkOptions(config: Config, name: string, pipeline: PipelineConfig, rules: Rules, clock: Clock): PostgresSinkOptions {
  const target = tableTarget(config, pipeline);
  const { source } = partsOf(config, pipeline);
  return {
    ...heldBy(name, pipeline, target, rules, clock),
    name: pipeline.target,
    url: target.url.reveal(),
    schema: target.schema,
    datasets: layoutOptions(target),
    tables: target.tables,
    growsEnums: (dataset) => {
      const policy = rules.get(dataset)?.contract.evolution.enum ?? 'accept';
      return policy === 'accept' || policy === 'warn';
    },
    keyed: (dataset) => {
      const contract = rules.get(dataset.name)?.contract;
      return contract === undefined ? [] : keyedRules(contract, dataset);
    },
    scores: modelUses(pipeline).map(({ dataset, write }) => ({ dataset, write })),
    synchronousCommit: target.synchronousCommit,
    replicationRole: target.replicationRole,
    deferConstraints: target.deferConstraints,
    workers: target.workers,
    silenceMs: target.silence,
    claims: {
      road: laneOf(pipeline.source, source),
      hasDataset: (dataset) => mayBring(pipeline.source, source, dataset),
      takesOver: pipeline.takesOver,
    },
    rowVersions: target.rowVersions === null ? null : { epoch: target.rowVersions.epoch, keepMs: target.rowVersions.keep },
  };
}

/** What holds a pipeline's events at a target of any kind. */
function heldBy(name: string, pipeline: PipelineConfig, target: TargetConfig, rules: Rules, clock: Clock) {
  return {
    pipeline: name,
    hold: (dataset: DatasetName) => rules.get(dataset)?.contract.hold ?? target.hold,
    evolve: (dataset: Dataset, before: Shape | null) => evolve(rules.get(dataset.name)?.contract, dataset, before),
    parkedRowsMax: pipeline.parkedRows,
    tellsQuarantine: pipeline.quarantineTopics !== null,
    clock,
  };
}

export function layoutOptions({ layouts }: PostgresTargetConfig): DatasetsOptions {
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
