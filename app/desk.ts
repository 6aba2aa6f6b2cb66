/** Where people look at and settle what a pipeline has quarantined: a connection to the target beside the lanes' own. */
import type { DecodeAgain } from '../cdc/kafka/decode-again.ts';
import type { Clock } from '../core/clock.ts';
import type { Stage } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import type { DraftRules } from '../core/keyed.ts';
import type { NumberedColumn, Shape } from '../core/shape.ts';
import type { ModelRegistry } from '../inference/models/registry.ts';
import type { Scorer } from '../inference/scorer/supervisor.ts';
import { type InferenceStage, inferenceStage } from '../inference/stage.ts';
import type { Contract } from '../quality/contract.ts';
import { type QualityStage, qualityStage } from '../quality/stage.ts';
import type { TopicWatch } from '../sync/kafka/topic-watch.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import { mayComeAlone, readsColumn } from './column-reads.ts';
import { datasetsOf, partsOf } from './config.ts';
import type { Config, PipelineConfig } from './config-schema.ts';
import { modelUses, openDecodeAgain, openSink } from './connect.ts';
import type { Logger } from './logger.ts';
import type { RuleFile } from './rule-files.ts';

export interface DeskParts {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly rules: ReadonlyMap<DatasetName, RuleFile>;
  readonly registry: ModelRegistry;
  readonly scorer: Scorer;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Stages {
  readonly stages: readonly Stage[];
  readonly quality: QualityStage;
  /** The one among them that scores; null where the pipeline scores nothing. */
  readonly inference: InferenceStage | null;
  readonly close: () => Promise<void>;
}

export class Desk implements AsyncDisposable {
  readonly pipeline: string;
  readonly source: string;
  /** Those of the config, and those that patterns of a database have found. */
  #datasets: readonly DatasetName[];
  readonly #parts: DeskParts;
  #sink: Promise<PostgresSink> | null = null;
  #isClosed = false;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.pipeline = parts.name;
    this.source = parts.pipeline.source;
    this.#datasets = datasetsOf(parts.pipeline.source, partsOf(parts.config, parts.pipeline).source);
  }

  get datasets(): readonly DatasetName[] {
    return this.#datasets;
  }

  found(datasets: readonly DatasetName[]): void {
    this.#datasets = [...new Set([...this.#datasets, ...datasets])];
  }

  /** A sink of its own, for a lane's run. `watch` is told of what is written to topics, `drafts` of what their rules find at the target. */
  openSink(watch: TopicWatch | null = null, drafts: DraftRules | null = null): Promise<PostgresSink> {
    const { config, name, pipeline, rules, clock, logger } = this.#parts;
    return openSink(config, name, pipeline, rules, clock, logger, watch, drafts);
  }

  /**
   * Works with the target by the desk's own connection. One that was cut since the last call is opened again, and the work done again: all
   * that is asked here may be asked twice.
   */
  async withSink<T>(work: (sink: PostgresSink) => Promise<T>): Promise<T> {
    const isNew = this.#sink === null;
    try {
      return await this.#once(work);
    } catch (error) {
      if (isNew || this.#isClosed || !(error instanceof PipelineError && error.after === 'backoff')) throw error;
      return this.#once(work);
    }
  }

  async #once<T>(work: (sink: PostgresSink) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new PipelineError('TARGET_UNREACHABLE', 'the service is stopping');
    this.#sink ??= this.openSink();
    const opening = this.#sink;
    try {
      return await work(await opening);
    } catch (error) {
      if (this.#sink === opening && !(error instanceof PipelineError && error.after === 'bug')) this.disconnect();
      throw error;
    }
  }

  /** Gives the desk's own connection up: what waits for it fails, and the next call opens another. */
  disconnect(): void {
    const opening = this.#sink;
    this.#sink = null;
    // It may be broken anyway: nobody waits for its end.
    void opening?.then((sink) => sink[Symbol.asyncDispose]()).catch(() => {});
  }

  /** Stages of their own for whoever asks, for a stage works on one batch at a time. To be closed. */
  stages(): Stages {
    const { registry, scorer, pipeline, clock } = this.#parts;
    const quality = qualityStage(this.contracts());
    const inference = pipeline.models.length === 0 ? null : inferenceStage({ registry, scorer, uses: modelUses(pipeline), clock });
    return {
      stages: [quality, ...(inference === null ? [] : [inference])],
      quality,
      inference,
      close: async () => {
        await inference?.[Symbol.asyncDispose]();
      },
    };
  }

  /** How the target has a table; null where it has none. */
  readonly shapeOf = (dataset: DatasetName): Promise<Shape | null> => this.withSink((sink) => sink.schemas.shapeOf(dataset));

  /** What reads records once more that could not be read; null where there are none. To be closed. */
  decodeAgain(signal: AbortSignal): DecodeAgain | null {
    const { config, pipeline, clock } = this.#parts;
    return openDecodeAgain(config, pipeline, clock, this.shapeOf, signal);
  }

  /** The rules and models that read one of these columns; null stands for all of them. */
  touchedBy(
    dataset: DatasetName,
    columns: readonly string[] | null,
  ): { readonly rules: readonly string[]; readonly models: readonly string[] } {
    const { rules, pipeline, registry } = this.#parts;
    const checks = rules.get(dataset)?.contract.checks ?? [];
    return {
      rules: checks.filter((check) => columns === null || columns.some((column) => readsColumn(check, column))).map(({ id }) => id),
      models: modelUses(pipeline).flatMap(({ model, dataset: of }) => {
        const mapping = of === dataset ? registry.resolve(model)?.mapping : undefined;
        return mapping !== undefined && (columns === null || columns.some((column) => Object.hasOwn(mapping.columns, column)))
          ? [model]
          : [];
      }),
    };
  }

  /** Whether rows of a dataset may come with these columns alone. */
  mayComeAlone(dataset: DatasetName, shape: Shape, columns: readonly NumberedColumn[]): boolean {
    const { rules, pipeline, config } = this.#parts;
    const { target } = partsOf(config, pipeline);
    return mayComeAlone(columns, {
      contract: rules.get(dataset)?.contract,
      isScored: pipeline.models.some((use) => use.dataset === dataset),
      hasVersions: target.kind === 'postgres' && target.rowVersions !== null,
      layout: target.kind === 'postgres' ? target.layouts.find((layout) => layout.dataset === dataset) : undefined,
      columns: shape.columns.map(({ name }) => name),
      key: shape.key,
    });
  }

  /** The contracts that are in force now, by their datasets. */
  contracts(): ReadonlyMap<DatasetName, Contract> {
    return new Map([...this.#parts.rules].map(([dataset, { contract }]) => [dataset, contract]));
  }

  ruleFile(dataset: DatasetName): string | null {
    return this.#parts.rules.get(dataset)?.file ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const opening = this.#sink;
    this.#sink = null;
    await opening?.then((sink) => sink[Symbol.asyncDispose]()).catch(() => {}); // On its way out; it may be away already.
  }
}
