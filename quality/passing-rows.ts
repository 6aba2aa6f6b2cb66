/** The rows of a file that pass all checks by which rows are judged in their places: they are counted, and of most of them no value is made. */
import type { ChangeEvent, EncodedType } from '../core/event.ts';
import { allPass, type AllPass } from './encoded/all.ts';
import type { EncodedTest } from './encoded/cells.ts';
import type { PlacedRow } from './placed-row.ts';
import type { RestOfRow } from './rest-of-row.ts';

/** A check of single rows. */
export interface PlacedCheck {
  /** The columns that it reads. */
  readonly columns: readonly number[];
  /** The column whose nulls are not judged; -1 where there is none. */
  readonly column: number;
  testOf(types: readonly EncodedType[]): EncodedTest;
  /** Rows that passed, of which so many had no value in its column. */
  passed(rows: number, nulls: number): void;
}

export class PassingRows {
  readonly row: PlacedRow;
  /** The columns that checks read. */
  readonly columns: readonly number[];
  readonly #checks: readonly PlacedCheck[];
  readonly #rest: RestOfRow | null;
  readonly #event: ChangeEvent;
  readonly #all: AllPass;
  #rows = 0;
  readonly #counted: readonly number[];
  readonly #nulls: Float64Array;
  readonly #values: unknown[] = [];

  constructor(row: PlacedRow, checks: readonly PlacedCheck[], rest: RestOfRow | null, event: ChangeEvent) {
    this.row = row;
    this.columns = [...new Set([...checks.flatMap(({ columns }) => columns), ...(rest?.columns ?? [])])];
    this.#checks = checks;
    this.#rest = rest;
    this.#event = event;
    this.#all = allPass(checks.map((check) => check.testOf(row.types))) ?? (() => false);
    this.#counted = [...new Set(checks.map(({ column }) => column))].filter((column) => column >= 0);
    this.#nulls = new Float64Array(row.kinds.length);
  }

  /** Counts the row that has been put in its place, if it passes. */
  take(index: number): boolean {
    if (!this.#all(this.row, this.#event)) return false;
    this.#rows++;
    for (let at = 0; at < this.#counted.length; at++) {
      const column = this.#counted[at] ?? 0;
      if (this.row.kinds[column] === 0) this.#nulls[column] = (this.#nulls[column] ?? 0) + 1;
    }
    if (this.#rest !== null) this.#takeRest(this.#rest, index);
    return true;
  }

  #takeRest(rest: RestOfRow, index: number): void {
    for (const column of rest.columns) this.#values[column] = this.row.fileValue(column);
    rest.take(this.#values, index);
  }

  /** Tells the checks of the rows that were counted. */
  settle(): void {
    for (const check of this.#checks) check.passed(this.#rows, this.#nulls[check.column] ?? 0);
    this.#rows = 0;
    this.#nulls.fill(0);
  }
}
