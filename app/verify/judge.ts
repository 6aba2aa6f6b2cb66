/**
 * Whether one row differs between source and target, or only its changes are on their way, told from looks at both in turn.
 *
 * A look at the target shows the row and the lane's place; one at the source the row and a place behind everything that it saw. *Equal* is easy: the target has
 * what the source had at a moment of this comparison, and has not passed a later state that the source was seen in. For *different* one of two things
 * must hold, whatever happens in between:
 *
 * - The source had one and the same version of the row before and after a look at the target, and the lane had passed the first of these two looks. So the
 *   target should have had that version.
 * - The target had one and the same version of the row before and after a look at the source, and by the second had passed that look. So it
 *   should have written what the source had, or something newer.
 *
 * The first finds rows that the target lacks, the second rows that it has and should not; either finds changed ones. Both rest on the source's look having seen
 * all that was committed before the target's: `settled`.
 */
import type { RowSight } from '../../wire/postgres/row-sums.ts';

/** `null`: not known yet. */
export type Judgement = 'equal' | 'differs' | null;

/** Looks at the source that showed one state, one after the other. */
interface Run {
  readonly cells: string | null;
  readonly version: string | null;
  /** The place behind the first of them. */
  readonly lsn: string;
}

/** A row that changes so often that more states than this pass before the target is looked at stays unknown. */
const RUNS_MAX = 256;

export class Judge {
  /** States of the source, oldest first; those that the target has passed are forgotten. */
  #runs: Run[] = [];
  #target: { readonly sight: RowSight; readonly lsn: string } | null = null;
  /** The place behind the first settled look at the source that differed from the target's present version, since the target was first seen with it. */
  #witness: string | null = null;

  /** The newest looks. */
  get source(): RowSight | null {
    return this.#runs.at(-1) ?? null;
  }
  get target(): RowSight | null {
    return this.#target?.sight ?? null;
  }

  /** Whether the lane had passed what the source was seen with last, when the target was. */
  get isPassed(): boolean {
    const last = this.#runs.at(-1);
    return last !== undefined && this.#target !== null && last.lsn <= this.#target.lsn;
  }

  /** `lsn`: where the lane stood. */
  seeTarget(sight: RowSight, lsn: string): Judgement {
    if (sight.version !== this.#target?.sight.version) this.#witness = null;
    this.#target = { sight, lsn };
    this.#forgetPassed(lsn);
    if (this.#runs.some(({ cells }) => cells === sight.cells)) return 'equal';
    return this.#witness !== null && this.#witness <= lsn ? 'differs' : null;
  }

  /** `lsn`: a place behind all that was seen. `settled`: all that was committed before the last look at the target was seen. */
  seeSource(sight: RowSight, lsn: string, settled: boolean): Judgement {
    const last = this.#runs.at(-1);
    if (last === undefined || sight.version === null || sight.version !== last.version) {
      this.#runs.push({ ...sight, lsn });
      if (this.#runs.length > RUNS_MAX) this.#runs.shift();
    }
    const target = this.#target;
    if (target === null) return null;
    if (target.sight.cells === sight.cells) return 'equal';
    if (!settled) return null;
    // That a row is absent twice does not tell that it was absent in between.
    if (target.sight.version !== null) this.#witness ??= lsn;
    const since = this.#runs.at(-1)?.lsn ?? lsn;
    return sight.version !== null && since <= target.lsn ? 'differs' : null;
  }

  /** A target that has passed a state of the source can't rightly be in one before it. */
  #forgetPassed(lsn: string): void {
    const newest = this.#runs.findLastIndex((run) => run.lsn <= lsn);
    if (newest > 0) this.#runs.splice(0, newest);
  }
}
