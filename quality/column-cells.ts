/** Cells of one column, row after row, in the forms in which files keep them. */

export type ColumnCells =
  | { readonly kind: 'values'; readonly values: readonly unknown[] }
  /** Numbers that doubles hold, one in each row. */
  | { readonly kind: 'numbers'; readonly numbers: Float64Array }
  /** Few values, and which of them each row has; -1 where it has none. */
  | { readonly kind: 'places'; readonly dictionary: readonly unknown[]; readonly places: Int32Array; readonly hasNulls: boolean }
  /** Texts of ASCII in one buffer: offset and length of each, the length of a null is -1. */
  | { readonly kind: 'texts'; readonly bytes: Buffer; readonly cells: Int32Array };

export function countOf(cells: ColumnCells): number {
  switch (cells.kind) {
    case 'values':
      return cells.values.length;
    case 'numbers':
      return cells.numbers.length;
    case 'places':
      return cells.places.length;
    case 'texts':
      return cells.cells.length / 2;
  }
}

export function cellAt(cells: ColumnCells, at: number): unknown {
  switch (cells.kind) {
    case 'values':
      return cells.values[at] ?? null;
    case 'numbers':
      return cells.numbers[at] ?? null;
    case 'places':
      return cells.dictionary[cells.places[at] ?? -1] ?? null;
    case 'texts': {
      const [offset = 0, length = -1] = [cells.cells[2 * at], cells.cells[2 * at + 1]];
      return length < 0 ? null : cells.bytes.toString('latin1', offset, offset + length);
    }
  }
}

/** Of so many rows none has a value. */
export function noCells(rows: number): ColumnCells {
  return { kind: 'places', dictionary: [], places: new Int32Array(rows).fill(-1), hasNulls: true };
}
