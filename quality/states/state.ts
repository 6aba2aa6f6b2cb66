/**
 * The states that windows keep, for those who add one or build on them.
 *
 * A window expectation reads what it needs from one state; nothing else remembers the rows. So a state is all there is to keep, to save
 * with a checkpoint, and to put together from several lanes. What every state promises, and test/quality/states.test.ts holds:
 *
 * - `add` takes a cell that has a value. Nulls are the window's business (it counts them), and so are cells that were not sent.
 * - `merge(a, b)` is the state of all cells that were added to either, in any order. It changes and returns `a` and leaves `b` alone.
 * - `retract` takes back a cell that was added, here or in a state that was or will be merged in: an UPDATE takes the old value back, a DELETE the
 *   row. When everything is taken back the state is empty, exactly: no rounding stays behind. Kinds that cannot (`retracts: false`: what was the
 *   second largest value is not known) have no `retract`.
 * - `encode` gives JSON (numbers that JSON lacks are texts); `kind.decode(state.encode())` goes on as the state would have.
 * - Memory: of fixed size where `size` says `fixed`; else it grows with the distinct values, or with all of them, and `held` and `each` are there: where
 *   there is no more room, a sketch takes over what `each` tells (sketch.ts).
 */
import { Decimal } from '../../core/expression/values.ts';
import { Moment, type Present } from './cell.ts';

export type Encoded = null | boolean | number | string | readonly Encoded[] | { readonly [key: string]: Encoded };

export type TellCell = (cell: Present, times: number) => void;
/** A text by its bytes in UTF-8. */
export type TellText = (bytes: Uint8Array, at: number, length: number, times: number) => void;

export interface State {
  add(cell: Present): void;
  readonly isEmpty: boolean;
  /** How many values are in memory for it. */
  readonly held?: number;
  /** What the texts among them take up. */
  readonly textBytes?: number;
  /**
   * Tells every value with how often it is there, below zero where it was taken back before it came. Where it holds texts by their bytes, and `tellText` is
   * given, no texts are made of them.
   */
  each?(tell: TellCell, tellText?: TellText): void;
  encode(): Encoded;
}

export interface StateKind<S extends State> {
  readonly name: string;
  readonly retracts: boolean;
  readonly size: 'fixed' | 'distinct values' | 'all values' | 'timed values';
  create(): S;
  /** Adds all of `from` to `into`, and returns `into`. */
  merge(into: S, from: S): S;
  /** Present where `retracts` is true. */
  readonly retract?: (state: S, cell: Present) => void;
  decode(encoded: Encoded): S;
}

/** How many rows a window took, and how many of them had no value in the column: what every expectation may ask beside its state. */
export interface Counts {
  rows: number;
  missing: number;
  /** Of the same window of the dataset that it is held against. */
  beside?: number;
}

/** What a text takes up, where it is kept as such: mostly one byte a character, and at most two. */
export function textBytesOf(value: unknown): number {
  return typeof value === 'string' ? 2 * value.length : 0;
}

export function encodeCell(cell: Present): Encoded {
  if (typeof cell === 'bigint') return { n: String(cell) };
  if (typeof cell === 'number')
    return Number.isFinite(cell) && !Object.is(cell, -0) ? cell : { f: Object.is(cell, -0) ? '-0' : String(cell) };
  if (typeof cell === 'string' || typeof cell === 'boolean') return cell;
  return encodeObject(cell);
}

function encodeObject(cell: object): Encoded {
  if (cell instanceof Moment) return { t: [String(cell.micros), cell.text] };
  if (cell instanceof Decimal) return { d: [String(cell.unscaled), cell.scale] };
  return { j: JSON.stringify(cell) };
}

export function decodeCell(encoded: Encoded | undefined): Present {
  if (typeof encoded === 'object' && encoded !== null && !Array.isArray(encoded)) return decodeObject(encoded as Record<string, Encoded>);
  if (encoded === null || encoded === undefined || typeof encoded === 'object') throw new Error('a state holds no such cell');
  return encoded;
}

function decodeObject(encoded: Readonly<Record<string, Encoded>>): Present {
  if (typeof encoded['n'] === 'string') return BigInt(encoded['n']);
  if (typeof encoded['f'] === 'string') return Number(encoded['f']);
  if (typeof encoded['j'] === 'string') return JSON.parse(encoded['j']) as object;
  // As encodeObject writes them.
  const [first, second] = (encoded['t'] ?? encoded['d'] ?? []) as readonly [string, string | number];
  return 't' in encoded ? new Moment(BigInt(first), String(second)) : new Decimal(BigInt(first), Number(second));
}

/** Encoded states come from where this program put them: what is not of its form is a bug. */
export function fieldsOf(encoded: Encoded): Readonly<Record<string, Encoded>> {
  if (typeof encoded !== 'object' || encoded === null || Array.isArray(encoded)) throw new Error('an encoded state is an object');
  return encoded as Readonly<Record<string, Encoded>>;
}

export function listOf(encoded: Encoded | undefined): readonly Encoded[] {
  if (!Array.isArray(encoded)) throw new Error('an encoded state holds a list here');
  return encoded as readonly Encoded[];
}

/** A whole number, at least `least` where that is given. */
export function wholeOf(encoded: Encoded | undefined, least = -Infinity): number {
  if (typeof encoded !== 'number' || !Number.isSafeInteger(encoded) || encoded < least)
    throw new Error('an encoded state holds a whole number here');
  return encoded;
}

/** So many bytes, in base64. */
export function bytesOf(encoded: Encoded | undefined, length: number): Buffer {
  const bytes = typeof encoded === 'string' ? Buffer.from(encoded, 'base64') : null;
  if (bytes?.length !== length) throw new Error(`an encoded state holds ${length} bytes here`);
  return bytes;
}
