/** Rows of a run become a COPY in the bytes that they came in. */
import { type EventRun, Verdict } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent } from '../../core/event.ts';
import type { CopiedRows } from '../../wire/postgres/copied-rows.ts';
import { Format, type FrontendWriter } from '../../wire/postgres/messages.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import { stampBytes } from './stamps.ts';
import type { Form, Prepared, StagedCell } from './statements.ts';

/** Size at which a COPY begins its next message. */
export const COPY_MESSAGE_BYTES = 1 << 18;
/** "PGCOPY\n\xff\r\n\0", no flags, no extension. */
export const COPY_HEADER = Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex');

/** Rows of a run that go to the table as they are. */
export interface RunPart {
  readonly form: Form;
  readonly prepared: Prepared;
  readonly run: EventRun;
  readonly rows: CopiedRows;
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
  let message = writer.beginCopyData();
  writer.raw(COPY_HEADER);
  let limit = writer.length + COPY_MESSAGE_BYTES;
  let index = 0;
  for (const segment of rows.segments) {
    const end = index + segment.rows;
    for (let from = index; from < end;) {
      if (!passes(verdicts, from)) {
        from++;
        continue;
      }
      if (writer.length > limit) {
        writer.endCopyData(message);
        message = writer.beginCopyData();
        limit = writer.length + COPY_MESSAGE_BYTES;
      }
      let to = from + 1;
      if (isExact) {
        while (to < end && passes(verdicts, to)) to++;
        writer.rawRange(segment.bytes, rows.tupleFrom(segment, from - index), rows.tupleTo(segment, to - 1 - index));
      } else copyRunRow(writer, cells, columns, isAll, run.look(from), verdicts[from]);
      from = to;
    }
    index = end;
  }
  writer.int16(-1);
  writer.endCopyData(message);
}

function copyRunRow(
  writer: FrontendWriter,
  cells: readonly StagedCell[],
  columns: Int32Array,
  isAll: boolean,
  event: ChangeEvent,
  verdict: number | undefined,
): void {
  const row = event.after;
  if (!(row instanceof PgRow)) throw new PipelineError('BUG', 'a run of rows that are not encoded');
  if (isAll) writer.int16(cells.length).rawRange(row.bytes, row.framedFrom, row.framedTo);
  else writer.copyRow(cells.length, row.bytes, row.cells, row.at, columns);
  for (let i = columns.length; i < cells.length; i++) {
    const cell = cells[i];
    if (cell?.from !== 'stamp') throw new PipelineError('BUG', 'a run has no scores');
    copyBytes(writer, stampBytes(cell.stamp, event, verdict));
  }
}

/** As `Batch.passes`. */
const passes = (verdicts: Uint8Array, index: number): boolean => (verdicts[index] ?? Verdict.Quarantine) < Verdict.Drop;

export function copyBytes(writer: FrontendWriter, bytes: Buffer | null): void {
  writer.int32(bytes === null ? -1 : bytes.length);
  if (bytes !== null) writer.raw(bytes);
}
