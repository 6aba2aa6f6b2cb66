/**
 * Makes a reference of the values that go by, in bounded memory. Numbers are counted in the cells of a grid, and bins are put together of whole cells: about as many values
 * in each, and exactly as many as are said. Values are counted one by one.
 */
import type { Column } from '../../core/event.ts';
import { type FileCell, keyOf, kindOf, Moment, type Present } from '../states/cell.ts';
import { Grid, NUMBERS_WIDTH, numberCell, numberPlace } from '../states/grid.ts';
import { doubleOf } from '../states/sums.ts';
import { ValueCounts } from '../states/value-counts.ts';
import { type Counted, countsOf, equalBins } from '../windows/rolling.ts';
import { comparableOf, type StoredReference } from './form.ts';

const CELLS_MAX = 4096;
/** Different values that are counted; a column with more has no categories. */
const DISTINCT_MAX = 1_000_000;

export interface Wanted {
  readonly dataset: string;
  readonly column: Column;
  /** So many bins of numbers, or so many values and all others together. */
  readonly parts: { readonly bins: number } | { readonly values: number };
}

/** Why nothing can be made of the column. */
export class NoReference extends Error {
  readonly fix: string;

  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

export class ReferenceMaker {
  readonly #wanted: Wanted;
  readonly #grid = new Grid(NUMBERS_WIDTH, numberPlace, CELLS_MAX);
  readonly #values = new ValueCounts();
  #rows = 0;
  #missing = 0;
  /** Infinities, which no bin has an edge for. */
  #below = 0;
  #above = 0;
  #areWhole = true;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
    const { column, parts } = wanted;
    if (comparableOf(column.type) === 'moments')
      throw new NoReference(`${column.name} is of type ${column.native}: times move on, and have no reference`, 'Name another column.');
    if ('bins' in parts && comparableOf(column.type) !== 'numbers')
      throw new NoReference(`${column.name} is of type ${column.native}, and only numbers have bins`, 'Ask for values: --values 100.');
  }

  see(cell: FileCell): void {
    this.#rows++;
    if (cell === null) this.#missing++;
    else if ('bins' in this.#wanted.parts) this.#seeNumber(doubleOf(cell));
    else this.#seeValue(cell);
  }

  #seeNumber(value: number): void {
    if (Number.isNaN(value)) return;
    if (value === -Infinity) this.#below++;
    if (value === Infinity) this.#above++;
    if (!Number.isFinite(value)) return;
    this.#areWhole &&= Number.isInteger(value);
    this.#grid.put(value, 1);
  }

  #seeValue(cell: Present): void {
    this.#values.add(cell);
    if (this.#values.distinct > DISTINCT_MAX)
      throw new NoReference(`${this.#wanted.column.name} has more than ${DISTINCT_MAX} different values`, 'Ask for bins: --bins 10.');
  }

  end(): StoredReference {
    const { dataset, column, parts } = this.#wanted;
    const count = 'bins' in parts ? this.#grid.count + this.#below + this.#above : this.#values.total;
    if (count === 0) throw new NoReference(`${column.name} has no values in ${this.#rows} rows`, 'Read rows that have some.');
    const head = { apiVersion: 'quality/v1', kind: 'Reference', dataset, column: column.name, type: column.type } as const;
    const rows = { rows: this.#rows, missing: this.#missing };
    if ('bins' in parts) return { ...head, ...rows, ...this.#bins(parts.bins) };
    const counted = this.#values.entries().map(({ value, count: times }) => ({ cell: value, count: times }));
    return { ...head, ...rows, ...valuesOf(column.name, counted, 0, parts.values) };
  }

  #bins(most: number): ReturnType<typeof binsOf> {
    if (this.#grid.count === 0)
      throw new NoReference(`${this.#wanted.column.name} has infinities alone in ${this.#rows} rows`, 'Read rows that have other numbers.');
    const { tail_weights: [below, above] = [0, 0], ...bins } = binsOf(this.#grid, this.#areWhole, most);
    return { ...bins, tail_weights: [below + this.#below, above + this.#above] };
  }
}

/** `areWhole`: all of the values are whole numbers. */
export function binsOf(grid: Grid, areWhole: boolean, most: number): Pick<StoredReference, 'bins' | 'weights' | 'tail_weights'> {
  const places = [...equalBins(grid, most)];
  const [last] = grid.sorted().at(-1) ?? [0];
  if (places.length === 1) places.push(Math.max(last, places[0] ?? last) + 1);
  const [below = 0, ...counts] = countsOf(places, grid);
  const edges: number[] = [];
  const weights: number[] = [];
  let beyond = 0;
  for (const [at, place] of places.entries()) {
    const edge = finite(edgeAt(numberCell(place, grid.width).low, areWhole, at === places.length - 1));
    // Cells between two whole numbers are the same to them, and hold nothing; those of an infinity lie beyond the last edge.
    if (edge === edges.at(-1)) {
      beyond += counts[at - 1] ?? 0;
      continue;
    }
    edges.push(edge);
    if (at > 0) weights.push(counts[at - 1] ?? 0);
  }
  return { bins: edges, weights, tail_weights: [below, beyond + (counts.at(-1) ?? 0)] };
}

/** The last cells there are end at an infinity, which a file has no number for. */
const finite = (edge: number): number => Math.min(Number.MAX_VALUE, Math.max(-Number.MAX_VALUE, edge));

/** `others`: values that are none of those. What a rule file cannot say is among them: rules would take it for another value. */
export function valuesOf(
  column: string,
  counted: readonly Counted[],
  others: number,
  most: number,
): Pick<StoredReference, 'values' | 'weights' | 'other_weight'> {
  const said = counted.filter(({ cell }) => isSaid(cell));
  if (said.length === 0)
    throw new NoReference(
      `${column} has values alone that a rule file cannot hold as they are: infinities, or numbers of more digits than a double has`,
      'Ask for bins: --bins 10.',
    );
  const unsaid = counted.reduce((sum, { cell, count }) => (isSaid(cell) ? sum : sum + count), others);
  const all = said
    .map(({ cell, count }) => ({ value: plain(cell), count }))
    .sort((a, b) => b.count - a.count || (String(a.value) < String(b.value) ? -1 : 1));
  const named = all.slice(0, most);
  return {
    values: named.map(({ value }) => value),
    weights: named.map(({ count }) => count),
    other_weight: all.slice(most).reduce((sum, { count }) => sum + count, unsaid),
  };
}

/** Whether a rule that names `plain` of it means this value. */
function isSaid(cell: Present): boolean {
  if (kindOf(cell) !== 'number') return true;
  const value = doubleOf(cell);
  return Number.isFinite(value) && keyOf(value) === keyOf(cell);
}

/** A value as a rule file has it. */
function plain(value: Present): string | number | boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value;
  if (kindOf(value) === 'number') return doubleOf(value);
  return value instanceof Moment ? value.text : JSON.stringify(value);
}

/**
 * Where a cell begins, as bins have it: a value at an edge is in the bin above, but at the last edge in the one below; and below zero a cell does not have its lower edge. Between whole
 * numbers no value is at an edge.
 */
function edgeAt(low: number, areWhole: boolean, isLast: boolean): number {
  if (areWhole) return (low >= 0 ? Math.ceil(low) : Math.floor(low) + 1) - 0.5;
  if (low >= 0) return isLast ? beside(low, -1) : low;
  return isLast ? low : beside(low, 1);
}

const bits = new DataView(new ArrayBuffer(8));

/** The next double up or down. */
function beside(value: number, step: 1 | -1): number {
  if (value === 0) return step * Number.MIN_VALUE;
  bits.setFloat64(0, value);
  bits.setBigInt64(0, bits.getBigInt64(0) + BigInt(value > 0 ? step : -step));
  return bits.getFloat64(0);
}
