/**
 * A reference that moves along: the values of the windows before, put together.
 *
 * Of numbers the counts of 256 cells of a grid are remembered (states/grid.ts). Cells of two windows are the same ones, so that what is said of whole cells is said without
 * any error: shares are held against each other over bins that end where cells do. Bins are those of the reference, with about as many of its values in each (deciles, as
 * is usual for the stability index: Siddiqi, Credit Risk Scorecards, 2006); a cell that alone holds as many is a bin of its own, and so are values below and above such
 * ones. The Kolmogorov-Smirnov distance is taken at the end of every cell.
 */
import { doubleOf } from '../states/sums.ts';
import { Grid, NUMBERS_WIDTH, numberPlace } from '../states/grid.ts';
import { keyOf, kindOf, Moment, type Present, Unusable } from '../states/cell.ts';
import { quantileSketch } from '../states/quantile-sketch.ts';
import { type Ranks, ranks } from '../states/ranks.ts';
import { decodeCell, type Encoded, encodeCell, fieldsOf, listOf, wholeOf } from '../states/state.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { onlyNumbers } from './aggregate.ts';
import type { Verdict, WindowCheck } from './check.ts';
import { type Distance, sharesOf } from './distances.ts';
import { type PastAsked, remembering } from './memory.ts';

export const CELLS_MAX = 256;
/** Values of a window that are remembered one by one; the others are counted together. */
export const VALUES_MAX = 1000;
export const VALUE_SIZE = 64;
const TEXT_MAX = VALUE_SIZE - 24;

interface Asked {
  readonly past: PastAsked;
  readonly distance: Distance;
  readonly max: number;
}

/** `bins`: how many; null: every cell is one. */
export function rollingNumbers({ past, distance, max }: Asked, bins: number | null, name: string): WindowCheck {
  return remembering({
    asked: past,
    id: 'numbers',
    traceSize: CELLS_MAX * 12,
    kind: onlyNumbers(ranks, name),
    trace: (state: Ranks) => traceOf(gridOf(state)),
    sketch: { kind: quantileSketch, trace: (sketch) => traceOf(sketch.numbers(CELLS_MAX)) },
    judge: (trace, before) => {
      const found = decodeGrid(trace);
      const reference = gridOfTraces(before);
      const [was, is] = sideBySide(reference, found, bins);
      return said(distance(sharesOf(was), sharesOf(is), found.count), max, before.length, reference.count);
    },
  });
}

/** `most`: so many values, those that were there most often, are held against each other one by one. */
export function rollingValues({ past, distance, max }: Asked, most: number): WindowCheck {
  return remembering({
    asked: past,
    id: 'values',
    traceSize: VALUES_MAX * VALUE_SIZE,
    kind: valueCounts,
    trace: (state: ValueCounts) => (state.total === 0 ? null : encodeCategories(state)),
    judge: (trace, before) => {
      const [was, is] = categories(before, trace, most);
      const total = was.reduce((sum, count) => sum + count, 0);
      const count = is.reduce((sum, one) => sum + one, 0);
      return said(distance(sharesOf(was), sharesOf(is), count), max, before.length, total);
    },
  });
}

function said(observed: number, max: number, windows: number, values: number): Verdict {
  const why = `held against ${values.toLocaleString('en-US')} values of ${windows} windows before it`;
  return { success: observed <= max, observed: Number.isFinite(observed) ? observed : null, why };
}

const emptyGrid = () => new Grid(NUMBERS_WIDTH, numberPlace, CELLS_MAX);

function gridOf(state: Ranks): Grid {
  const grid = emptyGrid();
  const sorted = state.sorted();
  for (let i = 0; i < sorted.length; i++) {
    const value = sorted[i] ?? NaN;
    if (value instanceof Moment || kindOf(value) === 'boolean') throw new Unusable('column holds no numbers, of which there are no bins.');
    const number = doubleOf(value);
    if (!Number.isNaN(number)) grid.put(number, 1);
  }
  return grid;
}

function traceOf(grid: Grid): Encoded | null {
  return grid.count <= 0 ? null : grid.encode();
}

/** Of several windows, put together. */
export function gridOfTraces(traces: readonly Encoded[]): Grid {
  const grid = emptyGrid();
  for (const trace of traces) grid.merge(decodeGrid(trace));
  return grid;
}

function decodeGrid(trace: Encoded): Grid {
  const grid = emptyGrid();
  grid.restore(trace);
  return grid;
}

/** The counts of both, bin by bin. */
export function sideBySide(reference: Grid, found: Grid, bins: number | null): readonly [number[], number[]] {
  reference.widenTo(found.width);
  found.widenTo(reference.width);
  if (bins !== null) return between(equalBins(reference, bins), reference, found);
  const places = new Set([...reference.entries(), ...found.entries()].map(([place]) => place));
  return between([...places].sort((a, b) => a - b).slice(1), reference, found);
}

/** The places at which bins begin, but for the first, which begins below all. */
export function equalBins(reference: Grid, bins: number): readonly number[] {
  const cells = reference.sorted();
  const [first, last] = [cells[0]?.[0], cells.at(-1)?.[0]];
  const edges = new Set<number>();
  let seen = 0;
  for (const [place, count] of cells) {
    const reached = Math.floor((seen * bins) / reference.count);
    seen += count;
    const isBin = count * bins >= reference.count;
    if (isBin) edges.add(place);
    const ends = Math.floor((seen * bins) / reference.count) > reached && place !== last;
    if (isBin || ends) edges.add(place + 1);
  }
  // All are in one bin, and so would be whatever comes.
  if (edges.size === 0 && first !== undefined && last !== undefined) return [first, last + 1];
  return [...edges].sort((a, b) => a - b);
}

function between(edges: readonly number[], reference: Grid, found: Grid): readonly [number[], number[]] {
  return [countsOf(edges, reference), countsOf(edges, found)];
}

export function countsOf(edges: readonly number[], grid: Grid): number[] {
  const counts = Array.from({ length: edges.length + 1 }, () => 0);
  let bin = 0;
  for (const [place, count] of grid.sorted()) {
    while (bin < edges.length && place >= (edges[bin] ?? Infinity)) bin++;
    counts[bin] = (counts[bin] ?? 0) + count;
  }
  return counts;
}

export interface Counted {
  readonly cell: Present;
  count: number;
}

/** The most common first; those that are equally common by their keys, so that the order does not depend on how they came. */
export function byCount<T extends Counted>(counted: Iterable<T>): T[] {
  return [...counted].sort((a, b) => b.count - a.count || (textOf(a.cell) < textOf(b.cell) ? -1 : 1));
}

const textOf = (cell: Present): string => JSON.stringify(encodeCell(cell));

export function encodeCategories(state: ValueCounts, most = VALUES_MAX): Encoded {
  const all = byCount(state.entries().map(({ value, count }) => ({ cell: value, count })));
  // Long texts are told apart by their beginnings and lengths alone: what is remembered has a bound.
  const kept = all.slice(0, most).map(({ cell, count }): Encoded => [encodeCell(shortened(cell)), count]);
  return { values: kept, others: all.slice(most).reduce((sum, { count }) => sum + count, 0) };
}

/** Whether a text is too long to be remembered, or is what is remembered of one. */
export function isLong(cell: Present): boolean {
  return typeof cell === 'string' && cell.length > TEXT_MAX;
}

function shortened(cell: Present): Present {
  return typeof cell === 'string' && isLong(cell) ? `${cell.slice(0, TEXT_MAX)}… (${cell.length})` : cell;
}

/** The counts of both, category by category, and of all other values at the end. */
function categories(before: readonly Encoded[], trace: Encoded, most: number): readonly [number[], number[]] {
  const { named, others: unnamed } = countsOfTraces(before);
  let others = unnamed;
  const found = new Map<unknown, Counted>();
  const left = addTo(found, trace);
  const wanted = named.slice(0, most);
  const was = wanted.map(({ count }) => count);
  const is = wanted.map(({ cell }) => found.get(keyOf(cell))?.count ?? 0);
  for (const { count } of named.slice(most)) others += count;
  const all = [...found.values()].reduce((sum, { count }) => sum + count, left);
  return [
    [...was, others],
    [...is, all - is.reduce((sum, count) => sum + count, 0)],
  ];
}

/** Of several windows, put together: the most common first. */
export function countsOfTraces(traces: readonly Encoded[]): { readonly named: readonly Counted[]; readonly others: number } {
  const counted = new Map<unknown, Counted>();
  const others = traces.reduce<number>((sum, trace) => sum + addTo(counted, trace), 0);
  return { named: byCount(counted.values()), others };
}

/** By `keyOf`. Answers with how many are none of those that are named. */
export function addTo(counted: Map<unknown, Counted>, trace: Encoded): number {
  const { values, others } = fieldsOf(trace);
  for (const entry of listOf(values)) {
    const [encoded, count] = listOf(entry);
    const cell = decodeCell(encoded);
    const known = counted.get(keyOf(cell));
    if (known === undefined) counted.set(keyOf(cell), { cell, count: wholeOf(count) });
    else known.count += wholeOf(count);
  }
  return wholeOf(others);
}
