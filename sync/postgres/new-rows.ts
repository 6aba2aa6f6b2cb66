/** New rows become a COPY in the bytes that they came in: those of a run, and those of a batch that has nothing else. */
import { type EventRun, Verdict } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent } from '../../core/event.ts';
import type { CopiedRows } from '../../wire/postgres/copied-rows.ts';
import { Format, type FrontendWriter } from '../../wire/postgres/messages.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import { stampBytes } from './stamps.ts';
import type { Form, Prepared, StagedCell } from './statements.ts';

/** Size at which a COPY begins its next message. */
const COPY_MESSAGE_BYTES = 1 << 18;
/** "PGCOPY\n\xff\r\n\0", no flags, no extension. */
const COPY_HEADER = Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex');

/** Rows of a run that go to the table as they are. */
export interface RunPart {
  readonly form: Form;
  readonly prepared: Prepared;
  readonly run: EventRun;
  readonly rows: CopiedRows;
}

/** Events of one table that made new rows, each its own: those that pass go to the table as they are. */
export interface NewRowsPart {
  readonly form: Form;
  readonly prepared: Prepared;
  readonly newRows: readonly ChangeEvent[];
}

/** The messages of one COPY BINARY, none of which gets much larger than it has to be. */
export class CopyMessages {
  readonly #writer: FrontendWriter;
  #message: number;
  #limit: number;

  constructor(writer: FrontendWriter) {
    this.#writer = writer;
    this.#message = writer.beginCopyData();
    writer.raw(COPY_HEADER);
    this.#limit = writer.length + COPY_MESSAGE_BYTES;
  }

  /** Before each row. */
  next(): void {
    const writer = this.#writer;
    if (writer.length <= this.#limit) return;
    writer.endCopyData(this.#message);
    this.#message = writer.beginCopyData();
    this.#limit = writer.length + COPY_MESSAGE_BYTES;
  }

  end(): void {
    this.#writer.int16(-1);
    this.#writer.endCopyData(this.#message);
  }
}

/**
 * Rows of a COPY that are framed already: those that stand one behind the other, as the source's decoder and its copy leave them, are copied at once. Only for a
 * COPY of exactly the row's cells.
 */
export class Stretches {
  readonly #writer: FrontendWriter;
  readonly #messages: CopyMessages;
  readonly #count: number;
  #bytes: Buffer | null = null;
  #from = 0;
  #to = 0;

  constructor(writer: FrontendWriter, messages: CopyMessages, count: number) {
    this.#writer = writer;
    this.#messages = messages;
    this.#count = count;
  }

  add({ bytes, framedFrom, framedTo }: PgRow): void {
    if (bytes !== this.#bytes || framedFrom !== this.#to + 2 || bytes.readUInt16BE(this.#to) !== this.#count) {
      this.end();
      this.#bytes = bytes;
      this.#from = framedFrom;
    }
    this.#to = framedTo;
  }

  /** Before anything else is written. */
  end(): void {
    if (this.#bytes === null) return;
    this.#messages.next();
    this.#writer.int16(this.#count).rawRange(this.#bytes, this.#from, this.#to);
    this.#bytes = null;
  }
}

export function emitNewRows(writer: FrontendWriter, { prepared, newRows }: NewRowsPart, verdicts: Uint8Array): void {
  const { cells, plain, bulk } = prepared;
  writer.bind('', bulk[0]?.copy ?? '', [], Format.Text).execute();
  const columns = plain ?? new Int32Array(0);
  const messages = new CopyMessages(writer);
  const stretches = new Stretches(writer, messages, cells.length);
  const width = allOf(plain);
  for (let index = 0; index < newRows.length; index++) {
    const event = newRows[index];
    if (event === undefined || !passes(verdicts, index)) continue;
    const row = event.after;
    const isFramed = row instanceof PgRow && row.framedTo > 0 && width === row.relation.types.length;
    if (isFramed && width === cells.length) {
      stretches.add(row);
      continue;
    }
    stretches.end();
    messages.next();
    copyNewRow(writer, cells, columns, isFramed, event, verdicts[index]);
  }
  stretches.end();
  messages.end();
  writer.copyDone();
}

export function emitRun(writer: FrontendWriter, { prepared, run, rows }: RunPart, verdicts: Uint8Array): void {
  const copy = prepared.bulk[0]?.copy ?? '';
  writer.bind('', copy, [], Format.Text).execute();
  copyRun(writer, prepared, run, rows, verdicts);
  writer.copyDone();
}

/** Rows that pass, as many at once as stand one behind the other in the source's bytes; where something stands behind each of them, one by one. */
function copyRun(writer: FrontendWriter, { cells, plain }: Prepared, run: EventRun, rows: CopiedRows, verdicts: Uint8Array): void {
  const columns = plain ?? new Int32Array(0);
  const width = rows.relation.types.length;
  const isAll = columns.length === width && columns.every((column, i) => column === i);
  const isExact = isAll && cells.length === width && rows.cellsPerRow === width;
  const messages = new CopyMessages(writer);
  let index = 0;
  for (const segment of rows.segments) {
    const end = index + segment.rows;
    for (let from = index; from < end;) {
      if (!passes(verdicts, from)) {
        from++;
        continue;
      }
      messages.next();
      let to = from + 1;
      if (isExact) {
        while (to < end && passes(verdicts, to)) to++;
        writer.rawRange(segment.bytes, rows.tupleFrom(segment, from - index), rows.tupleTo(segment, to - 1 - index));
      } else copyNewRow(writer, cells, columns, isAll, run.look(from), verdicts[from]);
      from = to;
    }
    index = end;
  }
  messages.end();
}

function copyNewRow(
  writer: FrontendWriter,
  cells: readonly StagedCell[],
  columns: Int32Array,
  isAll: boolean,
  event: ChangeEvent,
  verdict: number | undefined,
): void {
  const row = event.after;
  if (!(row instanceof PgRow)) throw new PipelineError('BUG', 'new rows that are not encoded');
  if (isAll) writer.int16(cells.length).rawRange(row.bytes, row.framedFrom, row.framedTo);
  else writer.copyRow(cells.length, row.bytes, row.cells, row.at, columns);
  for (let i = columns.length; i < cells.length; i++) {
    const cell = cells[i];
    if (cell?.from !== 'stamp') throw new PipelineError('BUG', 'new rows with scores that were not folded');
    copyBytes(writer, stampBytes(cell.stamp, event, verdict));
  }
}

/** How many columns a row has to have for these to be all of it, in its order; -1 where no row's are. */
export const allOf = (plain: Int32Array | null): number => (plain !== null && plain.every((column, i) => column === i) ? plain.length : -1);

/** As `Batch.passes`. */
export const passes = (verdicts: Uint8Array, index: number): boolean => (verdicts[index] ?? Verdict.Quarantine) < Verdict.Drop;

export function copyBytes(writer: FrontendWriter, bytes: Buffer | null): void {
  writer.int32(bytes === null ? -1 : bytes.length);
  if (bytes !== null) writer.raw(bytes);
}
