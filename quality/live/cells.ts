/** Cells of a stream's rows as states take them, read by the column's type. */
import { decimalOf } from '../../core/expression/decimal.ts';
import { FOREVER, microsOf } from '../../core/expression/timestamp.ts';
import {
  CELL_NULL,
  CELL_UNCHANGED,
  type CellForm,
  type ChangeEvent,
  type Column,
  type ColumnType,
  type Row,
  UNCHANGED,
  type Value,
} from '../../core/event.ts';
import { Decimal } from '../../core/expression/values.ts';
import { formOf, lengthOf, offsetOf } from '../encoded/cells.ts';
import { KnownTexts } from '../encoded/known-texts.ts';
import { decimalAt } from '../encoded/numeric.ts';
import { type FileCell, Moment, type Present } from '../states/cell.ts';
import { Timed } from '../states/course.ts';
import { joined } from '../windows/check.ts';

/** The row does not say it: a cell that was not sent, or one that cannot be read. */
export const UNSEEN: unique symbol = Symbol('unseen');

/** Reads a cell of a row; `other` is the row before it, which has the cells that an update did not send. */
export type ReadCell = (row: Row, other: Row | null, event: ChangeEvent) => FileCell | typeof UNSEEN;

export const unseen: ReadCell = () => UNSEEN;

export function cellReader(column: Column, index: number): ReadCell {
  const read = valueReader(column, index);
  if (column.type === 'text') return readBy(index, textIn(new KnownTexts()), read);
  return column.type === 'decimal' ? readBy(index, decimalIn, read) : read;
}

/** For those who ask only whether there is a value. */
export function presenceReader(column: Column, index: number): ReadCell {
  return readBy(index, (form) => (form === 'text' ? true : null), valueReader(column, index));
}

const decimalIn: ReadBytes = (form, bytes, at, length) => (form === 'numeric' ? decimalAt(bytes, at, length) : null);

const textIn =
  (known: KnownTexts): ReadBytes =>
  (form, bytes, at, length) =>
    form === 'text' ? known.read(bytes, at, length) : null;

/** null: only the value can tell. */
type ReadBytes = (form: CellForm | null, bytes: Uint8Array, at: number, length: number) => Present | null;

/** By the bytes of the cell where the row came in these, and no value is made of them. */
function readBy(index: number, readBytes: ReadBytes, read: ReadCell): ReadCell {
  const place = 2 * index;
  return (row, other, event) => {
    const { encoded } = row;
    const length = encoded === null ? CELL_UNCHANGED : lengthOf(encoded, place);
    if (length === CELL_NULL) return null;
    const cell =
      encoded === null || length < 0 ? null : readBytes(formOf(encoded.types, index), encoded.bytes, offsetOf(encoded, place), length);
    return cell ?? read(row, other, event);
  };
}

function valueReader({ type }: Column, index: number): ReadCell {
  const make = MAKERS[type];
  return (row, other) => {
    try {
      let value = row.value(index);
      if (value === UNCHANGED) value = other === null ? UNCHANGED : other.value(index);
      return value === UNCHANGED ? UNSEEN : value === null ? null : make(value);
    } catch {
      // Bytes that are no value of the type: a rule of rows says so.
      return UNSEEN;
    }
  };
}

/** Several cells as one; unknown where one of them is. */
export function joinedReader(reads: readonly ReadCell[]): ReadCell {
  return (row, other, event) => {
    const cells: FileCell[] = [];
    for (const read of reads) {
      const cell = read(row, other, event);
      if (cell === UNSEEN) return UNSEEN;
      cells.push(cell);
    }
    return joined(cells);
  };
}

/** A value with the time of its row. */
export function timedReader(read: ReadCell, readTime: ReadCell): ReadCell {
  return (row, other, event) => {
    const value = read(row, other, event);
    const time = readTime(row, other, event);
    if (value === null || value === UNSEEN) return value;
    return time instanceof Moment ? new Timed(time.micros, value) : UNSEEN;
  };
}

type MakeCell = (value: Exclude<Value, null | typeof UNCHANGED>) => Present | typeof UNSEEN;

const asItIs: MakeCell = (value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value);
const decimal: MakeCell = (value) => (typeof value === 'string' ? (decimalOf(value) ?? Number(value)) : asItIs(value));
const moment: MakeCell = (value) => {
  const micros = typeof value === 'string' ? microsOf(value) : null;
  // Infinity has no place among moments.
  return micros === null || micros >= FOREVER || micros <= -FOREVER ? UNSEEN : new Moment(micros, String(value));
};

const MAKERS: Readonly<Record<ColumnType, MakeCell>> = {
  boolean: asItIs,
  integer: asItIs,
  float: asItIs,
  decimal,
  text: asItIs,
  timestamp: moment,
  date: moment,
  time: asItIs,
  json: asItIs,
  bytes: asItIs,
  other: asItIs,
};

/** A value of each type, to try a check on before there are rows. */
export const SAMPLES: Readonly<Record<ColumnType, Present>> = {
  boolean: true,
  integer: 1,
  float: 1.5,
  decimal: new Decimal(15n, 1),
  text: 'a',
  timestamp: new Moment(0n, '1970-01-01 00:00:00+00'),
  date: new Moment(0n, '1970-01-01'),
  time: '00:00:00',
  json: '{}',
  bytes: '00',
  other: 'a',
};
