/** Cells that a state takes where they lie in an encoded row: no value is made of them, which would take longer than all the rest. */
import type { CellForm, Dataset, EncodedRow } from '../../core/event.ts';
import { formOf, lengthOf, offsetOf, wordAt } from '../encoded/cells.ts';
import { shortAt } from '../encoded/numeric.ts';
import { tokensOfColumn } from '../missing.ts';
import { Extremes } from '../states/extremes.ts';
import { Ranks } from '../states/ranks.ts';
import type { State } from '../states/state.ts';
import { Sums } from '../states/sums.ts';
import { ValueCounts } from '../states/value-counts.ts';
import type { Slot } from './slots.ts';

/** Adds the cell of a row to a state, or takes it back. False where only a value will do: nothing was done then. */
export type PutInPlace = (state: State, row: EncodedRow, times: 1 | -1) => boolean;

/** The same with the bytes of the cell. */
type PutBytes = (state: State, bytes: Uint8Array, at: number, length: number, times: 1 | -1) => boolean;

/** null where it always takes a value. */
export function putInPlace({ column, rows, reads, kind, missing, missingIsDefault }: Slot, dataset: Dataset): PutInPlace | null {
  const index = dataset.columns.findIndex(({ name }) => name === column);
  const type = dataset.columns[index]?.type;
  const tokens = missingIsDefault ? tokensOfColumn(dataset.columns[index], missing) : missing;
  if (rows !== null || reads !== null || tokens.length > 0) return null;
  if (type === 'text' && kind.name === 'value counts') return ofForm('text', index, putText);
  const putDigits = type === 'decimal' ? NUMERICS.get(kind.name) : undefined;
  return putDigits === undefined ? null : ofForm('numeric', index, numericPut(putDigits));
}

function ofForm(form: CellForm, index: number, put: PutBytes): PutInPlace {
  const place = 2 * index;
  return (state, row, times) => {
    const length = lengthOf(row, place);
    return length >= 0 && formOf(row.types, index) === form && put(state, row.bytes, offsetOf(row, place), length, times);
  };
}

const putText: PutBytes = (state, bytes, at, length, times) => state instanceof ValueCounts && state.putText(bytes, at, length, times);

type PutDigits = (state: State, digits: number, scale: number, times: 1 | -1) => boolean;

const NUMERICS: ReadonlyMap<string, PutDigits> = new Map<string, PutDigits>([
  ['value counts', (state, digits, scale, times) => state instanceof ValueCounts && state.putDigits(digits, scale, times)],
  ['ranks', (state, digits, scale, times) => state instanceof Ranks && state.putDigits(digits, scale, times)],
  ['sums', (state, digits, scale, times) => state instanceof Sums && state.putDigits(digits, scale, times)],
  ['extremes', (state, digits, scale, times) => times === 1 && state instanceof Extremes && state.addDigits(digits, scale)],
]);

function numericPut(putDigits: PutDigits): PutBytes {
  return (state, bytes, at, length, times) => {
    const digits = shortAt(bytes, at, length);
    return !Number.isNaN(digits) && putDigits(state, digits, wordAt(bytes, at + 6), times);
  };
}
