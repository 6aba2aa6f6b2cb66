/** Holds a pipeline's target against its source every so often while the service runs, and tells in the metrics up to where it was proved. */
import type { Clock } from '../../core/clock.ts';
import type { DatasetName } from '../../core/event.ts';
import { fromLsn, toLsnNumber } from '../../core/position.ts';
import type { Exposition } from '../../ops/prometheus.ts';
import { partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { errorFields, type Logger } from '../logger.ts';
import type { RuleFile } from '../rule-files.ts';
import { type DifferenceReason, REASONS } from './explain.ts';
import { NothingToVerify, waitMsOf } from './passage.ts';
import { type TableResult, verifyPipeline } from './verify.ts';

export interface VerifyWatchParts {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly rules: ReadonlyMap<DatasetName, RuleFile>;
  readonly clock: Clock;
  /** Whether the pipeline is this instance's to tell of; left out, it is. */
  readonly turn?: { readonly isOurs: boolean };
  readonly logger: Logger;
}

/** What is known of one dataset. */
interface Proved {
  /** The last place through which it was equal, and when that was found; null where it never was. */
  through: { readonly lsn: string; readonly atMs: number } | null;
  counts: Readonly<Record<DifferenceReason, number>>;
}

const DIFFERENCES_MAX = 100;

export class VerifyWatch {
  readonly #parts: VerifyWatchParts;
  readonly #proved = new Map<DatasetName, Proved>();

  constructor(parts: VerifyWatchParts) {
    this.#parts = parts;
  }

  /** Until `signal` aborts; at once where the config does not ask for it. The first time comes after one interval. */
  async run(signal: AbortSignal): Promise<void> {
    const { pipeline, clock, logger, name, turn } = this.#parts;
    const { every } = pipeline.verify;
    if (every === null) return;
    while (!signal.aborted) {
      await clock.sleep(every, signal);
      if (signal.aborted) return;
      if (turn?.isOurs === false) continue;
      try {
        await this.once(signal);
      } catch (error) {
        // The source or the target is away, or the lane has not begun: another time.
        if (!signal.aborted && !(error instanceof NothingToVerify))
          logger.warn('the target could not be verified', { pipeline: name, ...errorFields(error) });
      }
    }
  }

  async once(signal: AbortSignal): Promise<void> {
    const { config, name, pipeline, rules, clock, logger } = this.#parts;
    const { through, laneStands, tables } = await verifyPipeline({
      config,
      name,
      pipeline,
      rules,
      datasets: null,
      differencesMax: DIFFERENCES_MAX,
      waitMs: waitMsOf(partsOf(config, pipeline).source),
      rowsPerSecond: pipeline.verify.rate,
      repair: pipeline.verify.repair,
      onProgress: () => {},
      clock,
      signal,
    });
    for (const table of tables) {
      // A lane that is halted tells nothing of what it has not brought.
      if (table.state === 'copying' || (laneStands && !table.equal)) continue;
      const proved = this.#proved.get(table.dataset);
      const now = table.equal ? { lsn: through, atMs: clock.now() } : (proved?.through ?? null);
      this.#proved.set(table.dataset, { through: now, counts: table.counts });
      this.#tell(table, through, logger);
    }
  }

  /** Prometheus series; none before the first time. */
  collect(out: Exposition): void {
    const { name: pipeline } = this.#parts;
    for (const [dataset, { through, counts }] of this.#proved) {
      const labels = { pipeline, dataset };
      if (through !== null) {
        const lsn = Number(toLsnNumber(fromLsn(through.lsn)));
        out.gauge('tidegate_verified_lsn', 'Bytes of the source’s log through which the target was proved to be equal.', labels, lsn);
        out.gauge('tidegate_verified_timestamp_seconds', 'When that was proved.', labels, through.atMs / 1000);
      }
      for (const reason of REASONS)
        out.gauge(
          'tidegate_verify_differing_rows',
          'Rows that differed when last verified, by reason.',
          { ...labels, reason },
          counts[reason],
        );
    }
  }

  #tell({ dataset, equal, rows, repaired, counts, lacking }: TableResult, through: string, logger: Logger): void {
    const { name: pipeline } = this.#parts;
    const differing = Object.fromEntries(REASONS.flatMap((reason) => (counts[reason] === 0 ? [] : [[reason, counts[reason]]])));
    const fields = { pipeline, dataset, through, rows, ...(repaired === 0 ? {} : { repaired }), ...differing };
    if (equal) logger.info('verified', fields);
    else
      logger.error('the target differs from its source', { ...fields, ...(lacking.length === 0 ? {} : { lacking: lacking.join(', ') }) });
  }
}
