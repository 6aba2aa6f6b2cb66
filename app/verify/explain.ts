/** Why a row differs: what the quarantine, the rules and the row itself tell of it. */
import { Batch, Verdict } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import {
  CELL_UNCHANGED,
  type ChangeEvent,
  type Dataset,
  type EncodedRow,
  type LaneId,
  type Position,
  type Row,
  UNCHANGED,
  type Value,
} from '../../core/event.ts';
import type { Stage } from '../../core/contracts.ts';
import { readEvent } from '../../quality/read-event.ts';
import type { SourceRows, SourceTable } from '../../cdc/postgres/source-rows.ts';
import type { SettledItem, TargetRows } from '../../sync/postgres/target-rows.ts';
import { isUnchanged } from '../../sync/postgres/fold.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import { differingCells } from '../../wire/postgres/row-sums.ts';
import type { Differing } from './suspects.ts';

/**
 * As it should be, for the target is the source without these: `held`, its key has something open in the quarantine; `discarded` and `superseded`, what the row
 * is at the source was given up; `dropped`, a rule throws it away.
 *
 * As it should not be: `partial`, an earlier change was given up, and the ones since left cells out, so there was no row to write them to; `lost`, the target
 * lacks the row or a change of it; `surplus`, it has a row that the source has not; `undecided`, its changes did not come to rest in time.
 */
export const REASONS = ['held', 'discarded', 'superseded', 'dropped', 'partial', 'lost', 'surplus', 'undecided'] as const;
export type DifferenceReason = (typeof REASONS)[number];

const EXPLAINED: ReadonlySet<DifferenceReason> = new Set(['held', 'discarded', 'superseded', 'dropped']);
export const isExplained = (reason: DifferenceReason): boolean => EXPLAINED.has(reason);

/** Whether the row at the source, brought once more, would mend it. */
export const isRepairable = (reason: DifferenceReason): boolean => !isExplained(reason) && reason !== 'undecided';

export interface Difference {
  /** The key as the quarantine shows it. */
  readonly key: string;
  readonly kind: 'missing' | 'changed' | 'surplus';
  readonly reason: DifferenceReason;
  /** Of a changed row the columns that differ; values are never told. */
  readonly columns: readonly string[];
  /** The item of the quarantine that explains it, where there is one beside the open ones. */
  readonly item: string | null;
}

export interface ExplainParts {
  readonly source: SourceRows;
  readonly target: TargetRows;
  readonly table: SourceTable;
  readonly dataset: Dataset;
  readonly lane: LaneId;
  /** The columns that are compared, in the order of the cells. */
  readonly compared: readonly string[];
  /** Judges a row by the dataset's rules. */
  readonly quality: Stage;
  /** Whether a row has been looked at for as long as it may be. */
  readonly isLate: (row: Differing) => boolean;
  readonly signal: AbortSignal;
}

export interface Explained {
  readonly differences: readonly { readonly row: Differing; readonly difference: Difference }[];
  /** Rows that have changed since they were found to differ, and have to be looked at again. */
  readonly changed: readonly Differing[];
}

export async function explain(rows: readonly Differing[], parts: ExplainParts): Promise<Explained> {
  const { source, target, table, dataset } = parts;
  const differences: { row: Differing; difference: Difference }[] = [];
  const tell = (row: Differing, reason: DifferenceReason, item: string | null = null): void => {
    differences.push({ row, difference: differenceOf(row, reason, item, parts) });
  };
  const changed: Differing[] = [];
  const newest = await newestOpen(rows, parts);
  const open: Differing[] = [];
  for (const row of rows) {
    // A truncate that is held concerns every row; what had something open may have nothing by now.
    if (row.isHeld && !newest.has(row.eventKey)) tell(row, 'held');
    else open.push(row);
  }
  if (open.length === 0) return { differences, changed };
  const settled = await target.settled(
    dataset.name,
    open.map(({ eventKey }) => eventKey),
  );
  const keys = open.map(({ key }) => key);
  let next = 0;
  for await (const present of source.rows(table, keys)) {
    const row = open[next++];
    if (row === undefined) break;
    const item = settled.get(row.eventKey) ?? null;
    const waiting = newest.get(row.eventKey);
    // What is open explains nothing of a row that is another since, where that has passed; what is on its way explains it as long as it is.
    if (waiting !== undefined && isOf({ event: waiting }, row, present.row, parts, true)) {
      tell(row, 'held');
      continue;
    }
    if (waiting !== undefined && (!row.isPassed || present.version !== row.source.version)) {
      if (parts.isLate(row)) tell(row, 'held');
      else changed.push(row);
      continue;
    }
    // What explains it is held against the row as it was when it differed.
    if (present.version !== row.source.version && !parts.isLate(row)) changed.push(row);
    else if (item !== null && item.status !== 'applied' && isOf(item, row, present.row, parts))
      tell(row, item.status === 'superseded' ? 'superseded' : 'discarded', item.id);
    else tell(row, await reasonOf(row, present.row, item, parts));
  }
  return { differences, changed };
}

/** Of rows whose key has something open the newest event of that. */
async function newestOpen(rows: readonly Differing[], { target, dataset }: ExplainParts): Promise<ReadonlyMap<string, ChangeEvent>> {
  const held = rows.filter(({ isHeld }) => isHeld).map(({ eventKey }) => eventKey);
  return new Map(held.length === 0 ? [] : (await target.openAmong(dataset.name, held)).map(({ key, event }) => [key, event]));
}

async function reasonOf(row: Differing, present: PgRow | null, item: SettledItem | null, parts: ExplainParts): Promise<DifferenceReason> {
  if (present !== null && (await isDropped(present, row.eventKey, parts))) return 'dropped';
  if (!row.isKnown) return 'undecided';
  if (present === null) return 'surplus';
  return item !== null && item.status !== 'applied' && row.target.cells === null ? 'partial' : 'lost';
}

function differenceOf(row: Differing, reason: DifferenceReason, item: string | null, { compared }: ExplainParts): Difference {
  const { eventKey: key, source, target } = row;
  if (source.cells === null) return { key, kind: 'surplus', reason, columns: [], item };
  if (target.cells === null) return { key, kind: 'missing', reason, columns: [], item };
  return { key, kind: 'changed', reason, columns: differingColumns(source.cells, target.cells, compared), item };
}

const differingColumns = (source: string, target: string, compared: readonly string[]): string[] =>
  differingCells(source, target).flatMap((i) => compared[i] ?? []);

/**
 * Whether the row is at the source what an item, which was never written, would have made of it: in all that differs; of `known` cells only, where others may be those of an
 * item before it, or of a column that has come or changed its name or type since.
 */
function isOf(
  { event }: Pick<SettledItem, 'event'>,
  row: Differing,
  present: PgRow | null,
  { compared, dataset }: ExplainParts,
  known = false,
): boolean {
  const { source, target, eventKey } = row;
  // Of a row that one side has not: what the source gave it since without an event is no other change of it.
  const differing =
    source.cells === null || target.cells === null
      ? compared.filter((name) => isAsThen(event, dataset, name))
      : differingColumns(source.cells, target.cells, compared);
  const { after } = event;
  const names =
    !known || after === null || present === null
      ? differing
      : differing.filter((name) => {
          const here = columnIn(dataset, name);
          return isKnown(after, columnOf(event, dataset, here), present, here);
        });
  return makesRow(event, eventKey, present, dataset, names);
}

/** Whether a row (null: none) is at the source what an event would have made of it, in these columns. */
export function makesRow(event: ChangeEvent, key: string, present: PgRow | null, dataset: Dataset, names: readonly string[]): boolean {
  if (present === null) return (event.op === 'delete' && event.key === key) || event.movedFrom === key;
  const { after } = event;
  if (after === null || event.key !== key) return false;
  return names.every((name) => {
    const here = columnIn(dataset, name);
    const there = columnOf(event, dataset, here);
    return there >= 0 && here >= 0 && isSameCell(after, there, present, here);
  });
}

/** Whether the cell tells what the row had there, in the type that it has there now. */
function isKnown(given: Row, column: number, present: PgRow, presentColumn: number): boolean {
  if (column < 0 || presentColumn < 0 || !(given instanceof PgRow) || isUnchanged(given, column)) return false;
  const [is, was] = [given.types[column], present.types[presentColumn]];
  return is?.oid === was?.oid && is?.format === was?.format;
}

const columnIn = ({ columns }: Dataset, name: string): number => columns.findIndex((column) => column.name === name);

/** Whether the event has the column, and of the type that it has now. */
function isAsThen(event: ChangeEvent, dataset: Dataset, name: string): boolean {
  const here = columnIn(dataset, name);
  const there = event.dataset.columns[columnOf(event, dataset, here)];
  return there !== undefined && there.native === dataset.columns[here]?.native;
}

/** The column of an event that the dataset's is: it may have been renamed since. */
function columnOf({ dataset: then }: ChangeEvent, dataset: Dataset, here: number): number {
  const column = dataset.columns[here];
  const isNumbered = column?.id !== undefined && then.table === dataset.table && then.columns.every(({ id }) => id !== undefined);
  return then.columns.findIndex(({ id, name }) => (isNumbered ? id === column.id : name === column?.name));
}

function isSameCell(given: Row, column: number, present: PgRow, presentColumn: number): boolean {
  const is = given instanceof PgRow ? given.types[column] : undefined;
  const was = present.types[presentColumn];
  return given instanceof PgRow && is?.oid === was?.oid && is?.format === was?.format
    ? areSameBytes(given, column, present, presentColumn)
    : isSameValue(given.value(column), present.value(presentColumn));
}

/** Of a row that came by a topic, as values or in types of its own. */
function isSameValue(given: Value, present: Value): boolean {
  if (given === UNCHANGED || present === UNCHANGED) return false;
  if (given instanceof Uint8Array || present instanceof Uint8Array)
    return given instanceof Uint8Array && present instanceof Uint8Array && Buffer.compare(given, present) === 0;
  return given === null || present === null ? given === present : String(given) === String(present);
}

function areSameBytes(one: EncodedRow, oneColumn: number, other: EncodedRow, otherColumn: number): boolean {
  const [first, second] = [cellOf(one, oneColumn), cellOf(other, otherColumn)];
  if (first === 'unchanged' || second === 'unchanged') return false;
  return first === null || second === null ? first === second : Buffer.compare(first, second) === 0;
}

function cellOf({ bytes, cells, at }: EncodedRow, column: number): Uint8Array | 'unchanged' | null {
  const from = cells[at + 2 * column] ?? 0;
  const length = cells[at + 2 * column + 1] ?? CELL_UNCHANGED;
  if (length === CELL_UNCHANGED) return 'unchanged';
  return length < 0 ? null : bytes.subarray(from, from + length);
}

/** Whether a rule would throw the row away as it is now; what was thrown away leaves no other trace. */
export async function isDropped(
  row: PgRow,
  key: string,
  { quality, dataset, lane, signal }: Pick<ExplainParts, 'quality' | 'dataset' | 'lane' | 'signal'>,
): Promise<boolean> {
  const event = { ...readEvent(row, dataset), key };
  const batch = new Batch([event], { lane, position: '' as Position }, 'snapshot');
  try {
    await quality.run(batch, signal);
  } catch (error) {
    // It would halt the lane, and not be dropped.
    if (error instanceof PipelineError && error.after === 'operator') return false;
    throw error;
  }
  return batch.verdicts[0] === Verdict.Drop;
}
