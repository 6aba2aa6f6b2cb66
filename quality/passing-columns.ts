/**
 * Rows judged column by column, where each check reads one column: of a column of few values each value is judged once. What is found is which rows do not
 * pass; those are for who judges rows.
 */
import type { ChangeEvent, Column, Dataset } from '../core/event.ts';
import { cellAt, type ColumnCells, countOf } from './column-cells.ts';
import { type AllPass, allPass } from './encoded/all.ts';
import type { EncodedTest } from './encoded/cells.ts';
import type { Cell } from './expectation.ts';
import { FileRow, SeenKind } from './file-columns.ts';
import type { PlacedCheck } from './passing-rows.ts';
import { PlacedRow } from './placed-row.ts';
import { readEvent } from './read-event.ts';
import type { RestOfRow } from './rest-of-row.ts';

/** A check of single rows that reads one column. */
export interface ColumnCheck extends PlacedCheck {
  /** The test of a row's values, whatever its cells are. */
  readonly byValue: EncodedTest;
  /** Of a cell that has a value; null where a row is needed. */
  readonly cell: ((cell: Cell) => boolean) | null;
  /** Of numbers, `cell` passes all that lie between two that it passes. */
  readonly isInterval: boolean;
}

/** What is known of a value, put together bit by bit. */
const [JUDGED, BAD, NULL] = [1, 2, 4] as const;

export class PassingColumns {
  /** The columns that checks read: the others need not be. */
  readonly columns: readonly number[];
  /** The checks that are not judged so: every row that passes the others is for them. Null where there are none. */
  readonly rest: RestOfRow | null;
  readonly #checks: readonly ColumnCheck[];
  readonly #tests: ReadonlyMap<number, ColumnTests>;

  constructor(checks: readonly ColumnCheck[], rest: RestOfRow | null, dataset: Dataset, nowMs: number) {
    this.#checks = checks;
    this.rest = rest;
    this.columns = [...new Set(checks.flatMap(({ columns }) => columns))];
    this.#tests = new Map(
      this.columns.map((column) => {
        const own = checks.filter(({ columns }) => columns[0] === column);
        return [column, new ColumnTests(column, own, dataset, nowMs)];
      }),
    );
  }

  /** Marks the rows whose cell does not pass, the first of which is at `from`, and says how many have no value. */
  mark(column: number, cells: ColumnCells, bad: Uint8Array, from: number): number {
    return this.#tests.get(column)?.mark(cells, bad, from) ?? 0;
  }

  /** So many rows were not marked, of which so many have no value in a column. */
  passed(rows: number, nullsOf: (column: number) => number): void {
    for (const check of this.#checks) check.passed(rows, nullsOf(check.column));
  }
}

interface CellTest {
  readonly passes: (cell: Cell) => boolean;
  readonly isInterval: boolean;
}

/** So many rows of a page are looked at while one value is judged. */
const FEW = 8;

class ColumnTests {
  readonly #column: number;
  readonly #values: unknown[];
  readonly #event: ChangeEvent;
  readonly #passes: AllPass;
  readonly #placed: PlacedRow;
  readonly #placedEvent: ChangeEvent;
  readonly #placedPasses: AllPass;
  /** Of numbers that are cells of the column as they are; null where a row is needed. */
  readonly #cells: readonly CellTest[] | null;
  /** Whether a text may be judged by its bytes. */
  readonly #isText: boolean;
  /** That of the page before, which most pages have too, and what is known of its values: each is judged when a row has it for the first time. */
  #dictionary: readonly unknown[] | null = null;
  #verdicts = new Uint8Array(0);

  constructor(column: number, checks: readonly ColumnCheck[], dataset: Dataset, nowMs: number) {
    const { columns } = dataset;
    this.#column = column;
    this.#values = columns.map(() => null);
    const row = new FileRow(columns);
    row.values = this.#values;
    this.#event = readEvent(row, dataset, nowMs);
    this.#passes = all(checks.map(({ byValue }) => byValue));
    this.#placed = new PlacedRow(columns);
    this.#placedEvent = readEvent(this.#placed, dataset, nowMs);
    this.#placedPasses = all(checks.map((check) => check.testOf(this.#placed.types)));
    const cells = checks.flatMap(({ cell, isInterval }) => (cell === null ? [] : { passes: cell, isInterval }));
    this.#cells = cells.length === checks.length && isNumber(columns[column]) ? cells : null;
    this.#isText = isText(columns[column]);
  }

  mark(cells: ColumnCells, bad: Uint8Array, from: number): number {
    if (cells.kind === 'places') return this.#markPlaces(cells, bad, from);
    if (cells.kind === 'texts' && this.#isText) return this.#markTexts(cells.bytes, cells.cells, bad, from);
    // The bytes of a number are no text, whatever its column is declared to be.
    if (cells.kind === 'numbers' && !this.#isText) return this.#markNumbers(cells.numbers, bad, from);
    return this.#markCells(cells, bad, from);
  }

  #isBad(value: unknown): 0 | 1 {
    this.#values[this.#column] = value;
    // The row that it is given is that of the event, of which it asks for values alone.
    return this.#passes(this.#placed, this.#event) ? 0 : 1;
  }

  #markNumbers(numbers: Float64Array, bad: Uint8Array, from: number): number {
    if (this.#cells !== null) {
      const extremes = extremesOf(numbers);
      for (const { passes, isInterval } of this.#cells)
        if (!isInterval || extremes?.every((extreme) => isPassed(passes, extreme)) !== true) markNumbers(numbers, passes, bad, from);
      return 0;
    }
    const row = this.#placed;
    const [column, event, passes] = [this.#column, this.#placedEvent, this.#placedPasses];
    row.kinds[column] = SeenKind.Float;
    row.cells[2 * column + 1] = 0;
    for (let at = 0; at < numbers.length; at++) {
      row.numbers[column] = numbers[at] ?? 0;
      if (!passes(row, event)) bad[from + at] = 1;
    }
    return 0;
  }

  #markCells(cells: ColumnCells, bad: Uint8Array, from: number): number {
    const whenNull = this.#isBad(null);
    const rows = countOf(cells);
    let nulls = 0;
    for (let at = 0; at < rows; at++) {
      const value = cellAt(cells, at);
      if (value === null) nulls++;
      if ((value === null ? whenNull : this.#isBad(value)) === 1) bad[from + at] = 1;
    }
    return nulls;
  }

  #markPlaces({ dictionary, places, hasNulls }: ColumnCells & { kind: 'places' }, bad: Uint8Array, from: number): number {
    if (this.#dictionary !== dictionary) {
      this.#dictionary = dictionary;
      this.#verdicts = new Uint8Array(dictionary.length);
    }
    const verdicts = this.#verdicts;
    if (this.#arePassed(dictionary, places.length) && !hasNulls) return 0;
    const ofNull = this.#verdictOf(null);
    let nulls = 0;
    for (let at = 0; at < places.length; at++) {
      const place = places[at] ?? -1;
      let verdict = place < 0 ? ofNull : (verdicts[place] ?? ofNull);
      if (verdict === 0) verdicts[place] = verdict = this.#verdictOf(dictionary[place] ?? null);
      if ((verdict & BAD) !== 0) bad[from + at] = 1;
      if ((verdict & NULL) !== 0) nulls++;
    }
    return nulls;
  }

  /** Of few values, whether all pass; each is judged only where that costs less than to look at the rows. */
  #arePassed(dictionary: readonly unknown[], rows: number): boolean {
    if (dictionary.length * FEW > rows) return false;
    const verdicts = this.#verdicts;
    for (let place = 0; place < verdicts.length; place++) {
      if (verdicts[place] === 0) verdicts[place] = this.#verdictOf(dictionary[place] ?? null);
      if (verdicts[place] !== JUDGED) return false;
    }
    return true;
  }

  #verdictOf(value: unknown): number {
    return JUDGED | (this.#isBad(value) === 1 ? BAD : 0) | (value === null ? NULL : 0);
  }

  #markTexts(bytes: Buffer, cells: Int32Array, bad: Uint8Array, from: number): number {
    const row = this.#placed;
    const [column, event, passes] = [this.#column, this.#placedEvent, this.#placedPasses];
    const rows = cells.length / 2;
    let nulls = 0;
    row.bytes = bytes;
    for (let at = 0; at < rows; at++) {
      const length = cells[2 * at + 1] ?? -1;
      if (length < 0) nulls++;
      row.kinds[column] = length < 0 ? 0 : SeenKind.Text;
      row.cells[2 * column] = cells[2 * at] ?? 0;
      row.cells[2 * column + 1] = length;
      if (!passes(row, event)) bad[from + at] = 1;
    }
    return nulls;
  }
}

function all(tests: readonly EncodedTest[]): AllPass {
  return allPass(tests) ?? (() => false);
}

/** The least and the greatest; null where one of them is not a number. */
function extremesOf(numbers: Float64Array): readonly [number, number] | null {
  let [least, greatest] = [Infinity, -Infinity];
  for (let at = 0; at < numbers.length; at++) {
    const number = numbers[at] ?? 0;
    if (number < least) least = number;
    if (number > greatest) greatest = number;
    if (Number.isNaN(number)) return null;
  }
  return [least, greatest];
}

/** One loop a check: each calls one function. */
function markNumbers(numbers: Float64Array, passes: (cell: Cell) => boolean, bad: Uint8Array, from: number): void {
  for (let at = 0; at < numbers.length; at++) if (!isPassed(passes, numbers[at] ?? 0)) bad[from + at] = 1;
}

function isPassed(passes: (cell: Cell) => boolean, cell: number): boolean {
  try {
    return passes(cell);
  } catch {
    return false;
  }
}

function isNumber(column: Column | undefined): boolean {
  return column?.type === 'integer' || column?.type === 'float';
}

function isText(column: Column | undefined): boolean {
  return column?.type === 'text';
}
