/** Looks every so often how much log the source keeps for a pipeline's slot: for the status, the metrics, the health check and alerts. */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { FoundTables, LeftTable } from '../cdc/postgres/found-tables.ts';
import { SlotLook, type SlotRetention } from '../cdc/postgres/slot-look.ts';
import type { PostgresSource } from '../cdc/postgres/source.ts';
import type { AlertData } from '../ops/alerts/events.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { SlotForecast, type SlotRisk, SlotTeller } from '../ops/slot-forecast.ts';
import type { PipelineConfig, PostgresSourceConfig, TargetConfig } from './config-schema.ts';
import { tablePatterns } from './connect.ts';
import type { SlotView } from './http/shapes.ts';
import { formatDuration, formatSize } from './units.ts';

export interface SlotWatchParts {
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly source: PostgresSourceConfig;
  /** Where its tables are written; left out, under their own names. */
  readonly target?: TargetConfig;
  readonly clock: Clock;
  /** What reads the slot: it takes up what patterns find. Left out, it is not to. */
  readonly reader?: Pick<PostgresSource, 'tables' | 'takeUp'> | null;
  /** Whether the pipeline is this instance's to tell of; left out, it is. */
  readonly turn?: { readonly isOurs: boolean };
  readonly onRisk: (data: AlertData['slot.retention']) => void;
  readonly onSafe: (data: AlertData['slot.safe']) => void;
}

const NOTHING_MISSING = { unpublished: [], absent: [], unsent: [] };

const LOOK_MS = 10_000;
/** Where tables are found by patterns, and while there is no slot yet. */
const LOOK_SOON_MS = 3000;

const SLOT_FIX =
  'See why the pipeline does not keep up (`tidegate status`), raise max_slot_wal_keep_size or make room on the disk; `tidegate teardown` gives the log free.';
const LOST_FIX = 'Run `tidegate recover`.';

export class SlotWatch {
  readonly #parts: SlotWatchParts;
  readonly #slot: string;
  readonly #look: SlotLook;
  readonly #forecast: SlotForecast;
  readonly #teller = new SlotTeller();
  /** Tables that the publication, or the source, lacks. */
  #missing: Pick<SlotRetention, 'unpublished' | 'absent' | 'unsent'> = NOTHING_MISSING;
  /** Tables that patterns fit, and that are not followed. */
  #left: readonly LeftTable[] = [];
  #risk: (SlotRisk & { readonly atMs: number }) | null = null;

  constructor(parts: SlotWatchParts) {
    this.#parts = parts;
    const { source } = parts;
    const { disk, warnBytes, warnBefore, criticalBefore } = source.wal;
    this.#slot = source.slot;
    const { slot, publication, tables } = source;
    const patterns = tablePatterns(parts.pipeline.source, source, parts.target ?? null);
    this.#look = new SlotLook({ name: parts.pipeline.source, url: source.url.reveal(), slot, publication, tables, patterns });
    this.#forecast = new SlotForecast({
      diskBytes: disk,
      warnBytes,
      warnBeforeMs: warnBefore,
      criticalBeforeMs: criticalBefore,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    while (!signal.aborted) {
      await this.once(signal).catch((error: unknown) => {
        // The source is away: the lane says so, and what was last seen stays.
        if (!(error instanceof PipelineError)) throw error;
      });
      const isSoon = this.#risk === null || this.#parts.source.patterns.length > 0;
      await clock.sleep(isSoon ? LOOK_SOON_MS : LOOK_MS, signal);
    }
    await this.#look[Symbol.asyncDispose]();
  }

  /** Null before the first look, and while there is no slot. */
  view(): SlotView | null {
    if (this.#risk === null) return null;
    const { level, walStatus, retainedBytes, left, bytesPerSecond, fullInMs, atMs } = this.#risk;
    return {
      slot: this.#slot,
      level,
      walStatus,
      retainedBytes,
      leftBytes: left?.bytes ?? null,
      limit: left?.by ?? 'none',
      bytesPerSecond,
      fullInMs,
      atMs,
      message: this.#words(this.#risk),
    };
  }

  /** Why the pipeline is not ready; empty where neither slot nor publication is a reason. */
  problems(): readonly string[] {
    const { source, pipeline } = this.#parts;
    const missing = this.#missing.unpublished.map(
      (table) => `${pipeline.source}.${table} is not in the publication ${source.publication}: what changes there is not read`,
    );
    return this.#risk?.level === 'critical' || this.#risk?.level === 'lost' ? [this.#words(this.#risk), ...missing] : missing;
  }

  /** What is no reason not to be ready, and worth to be known. */
  notes(): readonly string[] {
    const { source } = this.#parts.pipeline;
    const { unsent } = this.#missing;
    const operations = `the publication ${this.#parts.source.publication} leaves out ${unsent.join(', ')}: the target will not be what the source is`;
    return [
      ...(unsent.length > 0 ? [operations] : []),
      ...this.#missing.absent.map((table) => `${source}.${table}: the source has no table of this name, and the target keeps what it has`),
      ...this.#left.map(({ table, why }) => `${source}.${table} is left out: ${why}`),
    ];
  }

  collect(out: Exposition): void {
    if (this.#risk === null) return;
    const { level, walStatus, retainedBytes, left, bytesPerSecond, fullInMs } = this.#risk;
    const labels = { pipeline: this.#parts.name, slot: this.#slot };
    out.gauge('tidegate_slot_retained_bytes', 'Bytes of log that the source keeps for the slot.', labels, retainedBytes);
    out.gauge(
      'tidegate_slot_state',
      'How the slot is: ok, warning, critical or lost, and what the source calls it.',
      { ...labels, level, wal_status: walStatus ?? '' },
      1,
    );
    if (left !== null)
      out.gauge(
        'tidegate_slot_left_bytes',
        'Bytes that may be kept beyond that, before log is lost (keep) or the disk is full (disk).',
        { ...labels, limit: left.by },
        left.bytes,
      );
    if (bytesPerSecond !== null)
      out.gauge('tidegate_slot_growth_bytes_per_second', 'How fast the log that is kept grows.', labels, bytesPerSecond);
    if (fullInMs !== null) out.gauge('tidegate_slot_full_in_seconds', 'When nothing is left, at this pace.', labels, fullInMs / 1000);
  }

  async once(signal: AbortSignal): Promise<void> {
    const { clock, name: pipeline, onRisk, onSafe } = this.#parts;
    const seen = await this.#look.look(signal, this.#parts.reader?.tables);
    const atMs = clock.monotonic();
    this.#missing = seen ?? NOTHING_MISSING;
    this.#risk = seen === null ? null : { ...this.#forecast.see({ atMs, ...seen }), atMs: clock.now() };
    this.#left = seen?.found === null || seen?.found === undefined ? [] : await this.#take(seen.found);
    if (this.#risk === null || this.#parts.turn?.isOurs === false) return;
    const news = this.#teller.tell(this.#risk, atMs);
    const { level, retainedBytes, bytesPerSecond, fullInMs } = this.#risk;
    const message = this.#words(this.#risk);
    if (news === 'safe') onSafe({ pipeline, slot: this.#slot, retainedBytes });
    if (news !== 'worse' || level === 'ok') return;
    const fix = level === 'lost' ? LOST_FIX : SLOT_FIX;
    onRisk({ pipeline, slot: this.#slot, level, retainedBytes, bytesPerSecond, fullInMs, message, fix });
  }

  /** Has the reader take up what was found. Answers what is left out. */
  async #take({ tables, left }: FoundTables): Promise<readonly LeftTable[]> {
    const { reader = null } = this.#parts;
    return reader === null ? left : [...left, ...(await reader.takeUp(tables))];
  }

  #words({ level, walStatus, retainedBytes, left, bytesPerSecond, fullInMs }: SlotRisk): string {
    if (level === 'lost') return `the source has removed log that the slot ${this.#slot} needed`;
    const parts = [`the source keeps ${formatSize(retainedBytes)} of log for the slot ${this.#slot}`];
    if (walStatus === 'unreserved') parts.push('it will remove some of it with its next checkpoint');
    if (bytesPerSecond !== null) parts.push(`${formatSize(bytesPerSecond)} more a second`);
    const until = left?.by === 'disk' ? 'its disk is full' : 'it removes what the slot needs';
    if (left !== null)
      parts.push(
        `${formatSize(left.bytes)} more until ${until}${fullInMs === null ? '' : `, in ${formatDuration(fullInMs)} at this pace`}`,
      );
    return parts.join('; ');
  }
}
