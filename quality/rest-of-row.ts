/** The checks that are left where others have judged a row in its place: they are given the values of the columns that they read, and no more. */
import type { FileRow } from './file-columns.ts';
import type { FileCell } from './states/cell.ts';

/** How a value of a column becomes a cell of the expectations over files. */
export type MakeCell = (value: unknown) => FileCell;

interface Check {
  readonly columns?: readonly number[];
  row(values: readonly unknown[], cells: readonly FileCell[], index: number): void;
}

export class RestOfRow {
  readonly columns: readonly number[];
  readonly #row: FileRow;
  readonly #checks: readonly Check[];
  readonly #makers: readonly MakeCell[];
  readonly #cells: FileCell[] = [];

  /** `row`: the one that their conditions look at. `makers`: column by column, where any of them asks for cells. */
  constructor(row: FileRow, checks: readonly Check[], makers: readonly MakeCell[]) {
    this.columns = [...new Set(checks.flatMap(({ columns = [] }) => columns))];
    this.#row = row;
    this.#checks = checks;
    this.#makers = makers;
  }

  /** Only the values of its columns need be there. */
  take(values: readonly unknown[], index: number): void {
    this.#row.values = values;
    if (this.#makers.length > 0) for (const column of this.columns) this.#cells[column] = this.#makers[column]?.(values[column]) ?? null;
    for (const check of this.#checks) check.row(values, this.#cells, index);
  }
}
