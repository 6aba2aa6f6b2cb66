/**
 * One table of a pipeline, held against its source while both go on: ranges of the key by their checksums, those that differ halved down to a few
 * rows, these by their keys, and the rows that look different again until it is known that they are (suspects.ts).
 *
 * A range holds the same keys on both servers only where its key sorts alike there. Where it may not (texts under a collation, an index in another order), rows are
 * held against each other by sets of keys: those of the source are looked for at the target, and then the other way round.
 */
import type { Clock } from '../../core/clock.ts';
import type { KeyRange, KeyTexts, RangeSum, RowHash, RowSums } from '../../wire/postgres/row-sums.ts';
import type { Differing, Suspects } from './suspects.ts';

/** A table as it is on one side. */
type Side = Pick<RowSums, 'boundary' | 'sum' | 'list' | 'listOf'>;

export interface TableWalkParts {
  readonly source: Side;
  readonly target: Side;
  readonly isRanged: boolean;
  readonly suspects: Pick<Suspects, 'add' | 'size' | 'decide'>;
  /** How many rows may be suspects at once. */
  readonly suspectsMax: number;
  /** What is known to differ; answers whether to go on. */
  readonly onDiffering: (rows: readonly Differing[]) => Promise<boolean>;
  readonly onRows: (rows: number) => void;
  /** Rows of the source a second; null: as fast as it goes. */
  readonly rowsPerSecond: number | null;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Rows that are listed and held against each other here. */
const LISTED_ROWS = 256;
const RANGE_ROWS_FIRST = 1000;
const RANGE_ROWS_MAX = 50_000;
/** A range is as large as is read in this time, so that wide rows and busy servers get small ones. */
const RANGE_MS = 200;
/** Keys of a set, in memory at once. */
const SET_ROWS = 1000;
const EVERYTHING: KeyRange = { after: null, to: null };

export class TableWalk {
  readonly #parts: TableWalkParts;
  /** When what is looked at now was begun, and until when what was looked at before takes, at the rate: time that went by otherwise is not made up for. */
  #begunMs: number;
  #paidMs: number;
  #rows = 0;
  #isStopped = false;

  constructor(parts: TableWalkParts) {
    this.#parts = parts;
    this.#begunMs = parts.clock.monotonic();
    this.#paidMs = this.#begunMs;
  }

  /** Rows of the source that were looked at. */
  get rows(): number {
    return this.#rows;
  }

  /** Through the whole table, unless it is told not to go on. */
  async run(): Promise<void> {
    if (this.#parts.isRanged) await this.#byRanges();
    else {
      await this.#bySets(this.#parts.source, this.#parts.target, true);
      await this.#bySets(this.#parts.target, this.#parts.source, false);
    }
    await this.#decide();
  }

  async #byRanges(): Promise<void> {
    const { source, clock } = this.#parts;
    let rows = Math.min(RANGE_ROWS_FIRST, this.#rowsAtOnce);
    let after: KeyTexts | null = null;
    let to = await source.boundary(EVERYTHING, rows);
    while (!this.#isStopped) {
      const range: KeyRange = { after, to };
      const startedMs = clock.monotonic();
      const next = to === null ? null : source.boundary({ after: to, to: null }, rows);
      const [here, there, bound] = await Promise.all([...this.#sums(range), next]);
      rows = Math.min(nextRows(rows, clock.monotonic() - startedMs), this.#rowsAtOnce);
      await this.#narrow(range, here, there);
      await this.#done(here.rows);
      if (to === null) return;
      after = to;
      to = bound;
    }
  }

  /** Halves a range until what differs in it can be listed. */
  async #narrow(range: KeyRange, here: RangeSum, there: RangeSum): Promise<void> {
    if (this.#isStopped || (here.rows === there.rows && here.sum === there.sum)) return;
    const { source, target } = this.#parts;
    const rows = Math.max(here.rows, there.rows);
    if (rows <= LISTED_ROWS) {
      const [ours, theirs] = await Promise.all([source.list(range), target.list(range)]);
      return this.#suspect(differingKeys(ours, theirs, true));
    }
    const larger = here.rows >= there.rows ? source : target;
    const middle = await larger.boundary(range, rows >> 1);
    // Where there are fewer rows by now, the range is looked at anew.
    const halves =
      middle === null
        ? [range]
        : [
            { after: range.after, to: middle },
            { after: middle, to: range.to },
          ];
    for (const half of halves) await this.#narrow(half, ...(await Promise.all(this.#sums(half))));
  }

  #sums(range: KeyRange): [Promise<RangeSum>, Promise<RangeSum>] {
    return [this.#parts.source.sum(range), this.#parts.target.sum(range)];
  }

  /** The rows that `from` has, held against what `other` has of their keys. With `hashes`, what both have is compared as well. */
  async #bySets(from: Side, other: Side, hashes: boolean): Promise<void> {
    let after: KeyTexts | null = null;
    while (!this.#isStopped) {
      const most = Math.min(SET_ROWS, this.#rowsAtOnce);
      const here: readonly RowHash[] = await from.list({ after, to: null }, most);
      await this.#suspect(differingKeys(here, await other.listOf(here.map(({ key }) => key)), hashes));
      await (hashes ? this.#done(here.length) : this.#paced(here.length));
      const last = here.at(-1);
      if (last === undefined || here.length < most) return;
      after = last.key;
    }
  }

  async #suspect(keys: readonly KeyTexts[]): Promise<void> {
    const { suspects, suspectsMax } = this.#parts;
    for (const key of keys) {
      if (this.#isStopped) return;
      suspects.add(key);
      if (suspects.size >= suspectsMax) await this.#decide();
    }
  }

  async #decide(): Promise<void> {
    const { suspects, onDiffering } = this.#parts;
    while (suspects.size > 0) {
      const differing = await suspects.decide();
      if (differing.length > 0 && !(await onDiffering(differing))) this.#isStopped = true;
    }
  }

  async #done(rows: number): Promise<void> {
    this.#rows += rows;
    this.#parts.onRows(this.#rows);
    await this.#paced(rows);
  }

  /** So many were looked at, on one side or both. */
  async #paced(rows: number): Promise<void> {
    const { rowsPerSecond, clock, signal } = this.#parts;
    signal.throwIfAborted();
    if (rowsPerSecond === null) return;
    this.#paidMs = Math.max(this.#paidMs, this.#begunMs) + (rows / rowsPerSecond) * 1000;
    const left = this.#paidMs - clock.monotonic();
    if (left > 0) await clock.sleep(left, signal);
    this.#begunMs = clock.monotonic();
  }

  get #rowsAtOnce(): number {
    return rowsAtOnce(this.#parts.rowsPerSecond);
  }
}

/** No more than a rate allows in the time of a range: a second is not read in a burst. */
export const rowsAtOnce = (rowsPerSecond: number | null): number =>
  rowsPerSecond === null ? RANGE_ROWS_MAX : Math.max(1, Math.ceil((rowsPerSecond * RANGE_MS) / 1000));

function nextRows(rows: number, tookMs: number): number {
  const fitting = Math.floor((rows * RANGE_MS) / Math.max(1, tookMs));
  return Math.max(LISTED_ROWS, Math.min(RANGE_ROWS_MAX, 4 * rows, fitting));
}

/** Keys whose rows are in one list alone (with `hashes`: in either), or with another hash. */
function differingKeys(ours: readonly RowHash[], theirs: readonly RowHash[], hashes: boolean): readonly KeyTexts[] {
  const known = new Map(theirs.map((row) => [JSON.stringify(row.key), row]));
  const differing: KeyTexts[] = [];
  for (const { key, hash } of ours) {
    const text = JSON.stringify(key);
    const other = known.get(text);
    known.delete(text);
    if (other === undefined || (hashes && other.hash !== hash)) differing.push(key);
  }
  if (hashes) for (const { key } of known.values()) differing.push(key);
  return differing;
}
