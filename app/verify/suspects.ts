/** Rows that looked different, and may only have changes on their way: looked at again, at both ends in turn, until each is known to differ or not. */
import type { Clock } from '../../core/clock.ts';
import type { Dataset, LaneId } from '../../core/event.ts';
import type { SourceRows, SourceTable } from '../../cdc/postgres/source-rows.ts';
import { EVERY_KEY, type TargetRows } from '../../sync/postgres/target-rows.ts';
import type { KeyTexts, RowSight, RowSums } from '../../wire/postgres/row-sums.ts';
import { Judge, type Judgement } from './judge.ts';
import type { Passage } from './passage.ts';

/** A row that is known to differ, or that could not be told in time. */
export interface Differing {
  readonly key: KeyTexts;
  /** As events and the quarantine write it. */
  readonly eventKey: string;
  /** False: it may only have changes on their way. */
  readonly isKnown: boolean;
  /** Whether the lane has passed the row as it was seen at the source last; it may be known to differ by a state before. */
  readonly isPassed: boolean;
  /** Since when it has been looked at. */
  readonly sinceMs: number;
  readonly source: RowSight;
  readonly target: RowSight;
  /** Whether its key has something open in the quarantine, in the snapshot that showed the target's row. */
  readonly isHeld: boolean;
}

export interface SuspectsParts {
  readonly source: SourceRows;
  readonly target: TargetRows;
  readonly table: SourceTable;
  readonly dataset: Dataset;
  readonly lane: LaneId;
  readonly passage: Passage;
  readonly sourceSums: RowSums;
  readonly targetSums: RowSums;
  /** How long a row may stay unknown. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Suspect {
  readonly key: KeyTexts;
  readonly judge: Judge;
  readonly sinceMs: number;
  eventKey: string;
  isHeld: boolean;
}

/** Between two looks: short at first, for most rows are only a moment late. */
const PACE_MS = [0, 5, 10, 20, 40, 80] as const;
const NONE: RowSight = { cells: null, version: null };

export class Suspects {
  readonly #parts: SuspectsParts;
  readonly #suspects = new Map<string, Suspect>();
  #passed = '';

  constructor(parts: SuspectsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#suspects.size;
  }

  /** What the lane had passed when it was last seen: 16 hex digits, '' before. */
  get passed(): string {
    return this.#passed;
  }

  add(key: KeyTexts, sinceMs = this.#parts.clock.monotonic()): void {
    this.#suspects.set(JSON.stringify(key), { key, judge: new Judge(), sinceMs, eventKey: '', isHeld: false });
  }

  /** Looks until nothing is unknown, or has been so for too long. */
  async decide(): Promise<readonly Differing[]> {
    const { source, table, clock, signal } = this.#parts;
    const found: Differing[] = [];
    const named = [...this.#suspects.values()];
    const eventKeys = await source.eventKeys(
      table,
      named.map(({ key }) => key),
    );
    for (const [i, suspect] of named.entries()) suspect.eventKey = eventKeys[i] ?? '';
    for (let round = 0; this.#suspects.size > 0; round++) {
      signal.throwIfAborted();
      await this.#lookAtTarget(found);
      const running = await source.running();
      await clock.sleep(PACE_MS[Math.min(round, PACE_MS.length - 1)] ?? 0, signal);
      await this.#lookAtSource(running, found);
      this.#giveUp(found);
    }
    return found;
  }

  async #lookAtTarget(found: Differing[]): Promise<void> {
    const { target, targetSums, lane, dataset, passage } = this.#parts;
    await passage.ask();
    const looked = [...this.#suspects.values()];
    const { sights, lanes, open } = await target.look(
      targetSums,
      lane,
      dataset.name,
      looked.map(({ key }) => key),
      looked.map(({ eventKey }) => eventKey),
    );
    const lsn = passage.passed(lanes);
    this.#passed = lsn;
    for (const [i, suspect] of looked.entries()) {
      suspect.isHeld = open.has(suspect.eventKey) || open.has(EVERY_KEY);
      this.#settle(suspect, suspect.judge.seeTarget(sights[i] ?? NONE, lsn), found);
    }
  }

  /** `running`: the transactions that were under way behind the look at the target. */
  async #lookAtSource(running: ReadonlySet<number>, found: Differing[]): Promise<void> {
    const { source, sourceSums } = this.#parts;
    const looked = [...this.#suspects.values()];
    if (looked.length === 0) return;
    const { sights, lsn, settled } = await source.look(
      sourceSums,
      looked.map(({ key }) => key),
      running,
      this.#passed,
    );
    for (const [i, suspect] of looked.entries()) this.#settle(suspect, suspect.judge.seeSource(sights[i] ?? NONE, lsn, settled), found);
  }

  #settle(suspect: Suspect, judgement: Judgement, found: Differing[]): void {
    if (judgement === null) return;
    this.#suspects.delete(JSON.stringify(suspect.key));
    if (judgement === 'differs') found.push(differing(suspect, true));
  }

  #giveUp(found: Differing[]): void {
    const { clock, waitMs } = this.#parts;
    for (const suspect of this.#suspects.values()) {
      if (clock.monotonic() - suspect.sinceMs < waitMs) continue;
      this.#suspects.delete(JSON.stringify(suspect.key));
      found.push(differing(suspect, false));
    }
  }
}

function differing({ key, eventKey, judge, sinceMs, isHeld }: Suspect, isKnown: boolean): Differing {
  return { key, eventKey, isKnown, isPassed: judge.isPassed, sinceMs, source: judge.source ?? NONE, target: judge.target ?? NONE, isHeld };
}
