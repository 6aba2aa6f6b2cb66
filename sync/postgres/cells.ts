/** Rows as the target's COPY and array parameters want them: encoded cells are copied as they are, plain values become text. */
import { type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import type { FrontendWriter } from '../../wire/postgres/messages.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import { MergedRow } from './fold.ts';
import type { TranslateCell } from './target-types.ts';

/** Whether every cell of a row is encoded, so that it can go as bytes. */
export function isEncoded(row: Row, columns: number): boolean {
  if (row instanceof PgRow) return true;
  if (!(row instanceof MergedRow)) return false;
  for (let column = 0; column < columns; column++) if (!(row.origin(column) instanceof PgRow)) return false;
  return true;
}

/** Writes one cell as a length and its bytes. `translate` makes of it what means the same at the target. */
export function writeEncoded(writer: FrontendWriter, row: Row, column: number, translate: TranslateCell | null): void {
  const origin = row instanceof MergedRow ? row.origin(column) : row;
  if (!(origin instanceof PgRow)) throw new PipelineError('BUG', 'a row of plain values among encoded ones');
  const cell = origin.at + 2 * column;
  const from = origin.cells[cell] ?? 0;
  const length = origin.cells[cell + 1] ?? -1;
  if (length < 0) {
    writer.int32(-1);
    return;
  }
  if (translate === null) {
    writer.int32(length);
    writer.rawRange(origin.bytes, from, from + length);
    return;
  }
  const translated = translate(origin.bytes, from, length);
  writer.int32(translated.length);
  writer.raw(translated);
}

/** The text that the target's input function reads a value from; null for SQL's null. */
export function valueText(value: Value): string | null {
  if (value === null || value === UNCHANGED) return null;
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value === 'number' && Object.is(value, -0)) return '-0';
  return String(value);
}

/** A cell of COPY's text format. */
export function copyText(text: string | null): string {
  if (text === null) return '\\N';
  return /[\\\b\f\n\r\t\v]/.test(text) ? text.replaceAll(/[\\\b\f\n\r\t\v]/g, (character) => ESCAPES[character] ?? character) : text;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};
