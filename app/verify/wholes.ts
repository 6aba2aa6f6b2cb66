/**
 * Small tables, many at once: each as one checksum on either side, asked for without waiting for the answers of those before. Where both are the same the table is
 * what a range of all its rows would be, and nothing is left to look at (judge.ts); all others are walked through one by one.
 */
import type { Clock } from '../../core/clock.ts';
import type { SourceRows } from '../../cdc/postgres/source-rows.ts';
import type { TargetRows } from '../../sync/postgres/target-rows.ts';
import type { RangeSum } from '../../wire/postgres/row-sums.ts';
import { sidesOf, type Sides, type SidesParts } from './sides.ts';
import { rowsAtOnce } from './table.ts';

export interface WholesParts extends SidesParts {
  readonly source: SourceRows;
  readonly target: TargetRows;
}

export interface WholesOptions {
  /** Rows of the source a second; null: as fast as it goes. */
  readonly rowsPerSecond: number | null;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A table that is equal. */
export interface EqualWhole {
  readonly rows: number;
  readonly leftOut: readonly string[];
}

export const TABLES_AT_ONCE = 50;
/** Of a table at the source, with what it keeps beside its rows. */
const BYTES_MAX = 1 << 20;
const ROWS_MAX = 1000;
/** Before each look: what differs has most often changes on their way, and is equal a moment later. */
const PACES_MS = [0, 20, 80] as const;

/** Those of the tables that are small, and equal. Others are left out, whatever the reason. */
export async function equalWholes(
  tables: readonly string[],
  parts: WholesParts,
  options: WholesOptions,
): Promise<ReadonlyMap<string, EqualWhole>> {
  const { clock, signal } = options;
  const { source, target } = parts;
  const small = await source.smallTables(tables, BYTES_MAX);
  const there = await target.wholeTables([...small.values()].map(({ relation }) => relation.dataset));
  const compared = [...small].flatMap(([table, here]) => {
    const other = there.get(here.relation.dataset.name);
    const sides = other === undefined ? null : sidesOf(here, other, parts);
    return sides === null || sides.lacking.length > 0 ? [] : [{ table, sides }];
  });
  const equal = new Map<string, EqualWhole>();
  let left: readonly Compared[] = compared;
  for (const paceMs of PACES_MS) {
    if (left.length === 0) break;
    await clock.sleep(paceMs, signal);
    left = await look(left, equal, parts, options);
  }
  return equal;
}

interface Compared {
  readonly table: string;
  readonly sides: Sides;
}

/** Answers those that differ, and may only have changes on their way. */
async function look(
  compared: readonly Compared[],
  equal: Map<string, EqualWhole>,
  parts: WholesParts,
  { rowsPerSecond, clock, signal }: WholesOptions,
): Promise<readonly Compared[]> {
  const most = rowsAtOnce(rowsPerSecond);
  const rowsMax = Math.min(ROWS_MAX, most);
  const step = Math.max(1, Math.floor(most / rowsMax));
  const differing: Compared[] = [];
  for (let from = 0; from < compared.length; from += step) {
    signal.throwIfAborted();
    const startedMs = clock.monotonic();
    const some = compared.slice(from, from + step);
    const sums = await Promise.all(some.map(({ sides }) => sumsOf(sides, parts, rowsMax)));
    let read = 0;
    for (const [i, one] of some.entries()) {
      const [here = null, there = null] = sums[i] ?? [];
      read += here?.rows ?? rowsMax;
      if (here === null || there === null) continue;
      if (here.rows === there.rows && here.sum === there.sum) equal.set(one.table, { rows: here.rows, leftOut: one.sides.leftOut });
      else differing.push(one);
    }
    const leftMs = rowsPerSecond === null ? 0 : (read / rowsPerSecond) * 1000 - (clock.monotonic() - startedMs);
    if (leftMs > 0) await clock.sleep(leftMs, signal);
  }
  return differing;
}

/** Null where one has more rows, or cannot be read so: what there is to say of that is said of it alone. */
async function sumsOf(sides: Sides, { source, target }: WholesParts, rowsMax: number): Promise<readonly (RangeSum | null)[]> {
  const asked = [source.sums(sides.source).whole(rowsMax), target.sums(sides.target).whole(rowsMax)];
  return (await Promise.allSettled(asked)).map((one) => (one.status === 'fulfilled' ? one.value : null));
}
