/** How long a source can go on keeping log for a slot: growth since it was last at its least, against what is left. */

export interface SlotSample {
  readonly atMs: number;
  /** `lost`: the server has removed log that the slot needed; `unreserved`: it will with its next checkpoint. */
  readonly walStatus: string | null;
  readonly retainedBytes: number;
  /** Bytes of log that may still be written before the slot loses some; null where the server removes none. */
  readonly safeBytes: number | null;
  readonly keepBytes: number | null;
  /** All of the server's log; null where that is not known. */
  readonly walBytes: number | null;
}

export interface SlotLimits {
  /** How large the disk of the server's log is; null where nobody said. */
  readonly diskBytes: number | null;
  readonly warnBytes: number;
  readonly warnBeforeMs: number;
  readonly criticalBeforeMs: number;
}

export type SlotLevel = 'ok' | 'warning' | 'critical' | 'lost';

export interface SlotRisk {
  readonly level: SlotLevel;
  readonly walStatus: string | null;
  readonly retainedBytes: number;
  /** What more may be kept, and what ends then: the slot (`keep`) or the room on the disk; null where no limit is known. */
  readonly left: { readonly bytes: number; readonly of: number; readonly by: 'keep' | 'disk' } | null;
  /** How fast that goes; null while it is not known, and where it does not grow. */
  readonly bytesPerSecond: number | null;
  /** When nothing is left, at this pace; null where that is more than 30 days off. */
  readonly fullInMs: number | null;
}

const LEVELS: readonly SlotLevel[] = ['ok', 'warning', 'critical', 'lost'];
/** Growth over less is no trend: a slot is moved on every so often, and keeps more in between. */
const TREND_MS = 60_000;
const WINDOW_MS = 600_000;
/** Shares of a limit that are used up. */
const WARN_SHARE = 0.5;
const CRITICAL_SHARE = 0.9;
/** What is further off is no forecast. */
const FORESEEN_MS = 30 * 86_400_000;

export class SlotForecast {
  readonly #limits: SlotLimits;
  /** Of the last ten minutes, the least first: what came before it is over. */
  #samples: SlotSample[] = [];

  constructor(limits: SlotLimits) {
    this.#limits = limits;
  }

  see(sample: SlotSample): SlotRisk {
    const kept = this.#samples.filter(({ atMs }) => sample.atMs - atMs <= WINDOW_MS);
    const least = Math.min(...kept.map(({ retainedBytes }) => retainedBytes));
    const from = kept.findLastIndex(({ retainedBytes }) => retainedBytes === least);
    this.#samples = sample.retainedBytes <= least ? [sample] : [...kept.slice(Math.max(0, from)), sample];
    const left = leftOf(sample, this.#limits.diskBytes);
    const bytesPerSecond = this.#growth();
    const inMs = left === null || bytesPerSecond === null ? null : Math.round((left.bytes / bytesPerSecond) * 1000);
    const fullInMs = inMs === null || inMs > FORESEEN_MS ? null : inMs;
    const { walStatus, retainedBytes } = sample;
    return { level: levelOf(sample, left, fullInMs, this.#limits), walStatus, retainedBytes, left, bytesPerSecond, fullInMs };
  }

  #growth(): number | null {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.atMs - first.atMs < TREND_MS) return null;
    return ((last.retainedBytes - first.retainedBytes) * 1000) / (last.atMs - first.atMs);
  }
}

/** The limit that is nearer. */
function leftOf({ safeBytes, keepBytes, walBytes, retainedBytes }: SlotSample, diskBytes: number | null): SlotRisk['left'] {
  const keep = safeBytes === null ? null : { bytes: Math.max(0, safeBytes), of: keepBytes ?? safeBytes, by: 'keep' as const };
  const disk =
    diskBytes === null ? null : { bytes: Math.max(0, diskBytes - (walBytes ?? retainedBytes)), of: diskBytes, by: 'disk' as const };
  if (keep === null || disk === null) return keep ?? disk;
  return keep.bytes <= disk.bytes ? keep : disk;
}

function levelOf({ walStatus, retainedBytes }: SlotSample, left: SlotRisk['left'], fullInMs: number | null, limits: SlotLimits): SlotLevel {
  if (walStatus === 'lost') return 'lost';
  const used = left === null || left.of === 0 ? 0 : 1 - left.bytes / left.of;
  const inMs = fullInMs ?? Number.POSITIVE_INFINITY;
  if (walStatus === 'unreserved' || used >= CRITICAL_SHARE || inMs < limits.criticalBeforeMs) return 'critical';
  return used >= WARN_SHARE || inMs < limits.warnBeforeMs || retainedBytes >= limits.warnBytes ? 'warning' : 'ok';
}

/** What there is to tell: nothing, that it has become worse, or that it has been well for a while again. */
export class SlotTeller {
  #told: SlotLevel = 'ok';
  #betterSinceMs: number | null = null;

  tell({ level }: SlotRisk, atMs: number): 'worse' | 'safe' | null {
    const isWorse = LEVELS.indexOf(level) > LEVELS.indexOf(this.#told);
    if (isWorse) this.#told = level;
    if (isWorse || level !== 'ok' || this.#told === 'ok') this.#betterSinceMs = null;
    else this.#betterSinceMs ??= atMs;
    if (this.#betterSinceMs === null || atMs - this.#betterSinceMs < TREND_MS) return isWorse ? 'worse' : null;
    this.#told = 'ok';
    this.#betterSinceMs = null;
    return 'safe';
  }
}
