/**
 * Cells judged where they lie, in the source's encoding: no value is made of them, which takes most of a check's time otherwise. An encoded
 * test says nothing but what the test of values says, or that it is for that one to say.
 */
import { CELL_NULL, CELL_UNCHANGED, type CellForm, type ChangeEvent, type EncodedRow, type EncodedType } from '../../core/event.ts';
import { Outcome } from '../outcome.ts';

/** Only the value can tell: bytes that are none of the form, NaN, a text beyond ASCII. */
export const Undecided = 3;
export type Judged = Outcome | typeof Undecided;
/** Never throws. */
export type EncodedTest = (row: EncodedRow, event: ChangeEvent) => Judged;

/** A column's cells in rows of one relation. */
export interface CellPlace {
  /** Of the cell's offset in `EncodedRow.cells`, from the row's; its length is the number behind it. */
  readonly at: number;
  readonly whenNull: Outcome;
  /** The spaces at the end of a text are none of it: the server filled a char(n) up with them. */
  readonly padded: boolean;
}

/** Tests of a column's cells by the form they have; null for forms that are left to the test of values. */
export type EncodedCells = (form: CellForm, place: CellPlace) => EncodedTest | null;

/** How a column's cells are written in rows of these types; null where only their values can be judged. */
export function formOf(types: readonly EncodedType[], column: number): CellForm | null {
  const type = types[column];
  return type?.format === 'binary' ? (type.type?.form ?? null) : null;
}

export function lengthOf(row: EncodedRow, at: number): number {
  return row.cells[row.at + at + 1] ?? CELL_NULL;
}

export function offsetOf(row: EncodedRow, at: number): number {
  return row.cells[row.at + at] ?? 0;
}

/** What is said of a cell whose length is not what its form has: none, because there is no value, or because the bytes are wrong. */
export function withoutValue(length: number, whenNull: Outcome): Judged {
  return length === CELL_NULL ? whenNull : length === CELL_UNCHANGED ? Outcome.Pass : Undecided;
}

/** Two bytes, without a sign: small enough to be a number without a place of its own in memory, whatever has been compiled by then. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function sameBytes(a: Uint8Array, atA: number, b: Uint8Array, atB: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}
