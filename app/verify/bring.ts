/**
 * Rows of a database that a lane does not read itself come beside it: as items of the quarantine with nothing wrong about them, which are released at once. So they
 * go through all stages in the lane of released rows, and the target decides by their versions, as of anything released, whether a change that the topics brought meanwhile is newer.
 *
 * A row's version is a place that all lanes have passed: what they still bring of it is newer. What they may have brought between the reading of a row and its being held is not known to be, so a
 * row is read once more when it is held, and left out where it has changed.
 */
import { type Finding, Verdict } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { Quarantined } from '../../core/contracts.ts';
import {
  type ChangeEvent,
  type Column,
  type Dataset,
  type DatasetName,
  eventId,
  keyOf,
  type LaneId,
  type Value,
  ValueRow,
  type Version,
  versionOf,
} from '../../core/event.ts';
import { columnOf } from '../../cdc/kafka/connect-types.ts';
import { declaredColumn } from '../../cdc/kafka/declared.ts';
import { isPartial } from '../../cdc/postgres/row-cells.ts';
import type { SourceRow, SourceRows, SourceTable } from '../../cdc/postgres/source-rows.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';
import { cellOfText } from '../../wire/postgres/text-cell.ts';
import type { PgRow } from '../../wire/postgres/row.ts';
import type { KeyTexts } from '../../wire/postgres/row-sums.ts';

/** Has rows brought to the target, as they are at the source by then, through all stages. */
export interface Bringer {
  /** Some may not come: look whether they did. Answers a version: what is brought is no older. `passed`: a place that all lanes have passed. */
  bring(table: string, keys: readonly KeyTexts[], passed: string): Promise<string>;
}

/** By the lane itself, which reads the database. */
export const byLane = (source: SourceRows): Bringer => ({ bring: (table, keys) => source.request(table, keys) });

export interface BesideParts {
  readonly source: SourceRows;
  readonly sink: PostgresSink;
  /** The source's name: first part of its datasets' names. */
  readonly name: string;
  /** Of the source: all lanes under it are told. */
  readonly lane: LaneId;
  /** How long the lane of released rows may take. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const POLL_MS = 100;

export function besideTopics({ source, sink, name, lane, waitMs, clock, signal }: BesideParts): Bringer {
  return {
    bring: async (of, keys, passed) => {
      const table = await source.table(of);
      const dataset = (await shapeAtTarget(sink, `${name}.${of}` as DatasetName, table.relation.dataset)) ?? table.relation.dataset;
      const first = await rowsOf(source, table, keys);
      const items = first.map(({ row }, i) =>
        itemOf(dataset, table, row, keys[i] ?? [], { version: passed as Version, lane, atMs: clock.now() }),
      );
      await sink.quarantine.takeIn(items, lane, true);
      const again = await versionsOf(source, table, keys);
      // One that is too large to be in memory as a whole would come without its large cells.
      const isToCome = (i: number): boolean => again[i] === first[i]?.version && !isCut(first[i]?.row ?? null);
      const ids = items.map(({ id }) => id);
      await sink.quarantine.letIn(
        ids.filter((_, i) => isToCome(i)),
        ids.filter((_, i) => !isToCome(i)),
      );
      // What is in line is open, and an open item is what is said to explain a difference.
      const deadline = clock.monotonic() + waitMs;
      while ((await sink.quarantine.inLine(ids)) > 0 && clock.monotonic() < deadline) await clock.sleep(POLL_MS, signal);
      return items.map(({ event }) => versionOf(event)).toSorted()[0] ?? passed;
    },
  };
}

const rowsOf = (source: SourceRows, table: SourceTable, keys: readonly KeyTexts[]): Promise<SourceRow[]> =>
  Array.fromAsync(source.rows(table, keys));

const versionsOf = (source: SourceRows, table: SourceTable, keys: readonly KeyTexts[]): Promise<(string | null)[]> =>
  Array.fromAsync(source.rows(table, keys), ({ version }) => version);

const isCut = (row: PgRow | null): boolean => row !== null && isPartial(row);

/** The dataset as its records had it, so that a row that is brought is no change of the table; null where there was none yet. */
async function shapeAtTarget(sink: PostgresSink, name: DatasetName, present: Dataset): Promise<Dataset | null> {
  const shape = await sink.schemas.shapeOf(name);
  if (shape === null) return null;
  const columns = shape.columns.map(({ name: column, native }): Column => {
    const there = present.columns.find((one) => one.name === column);
    return { name: column, type: typeOf(native, there), native, nullable: there?.nullable ?? true };
  });
  const key = shape.key.map((one) => columns.findIndex((column) => column.name === one));
  return { name, version: 0, columns, key };
}

function typeOf(native: string, present: Column | undefined): Column['type'] {
  const declared = declaredColumn(native);
  return declared === null ? (present?.type ?? 'text') : columnOf(declared, '').type;
}

function itemOf(
  dataset: Dataset,
  { relation }: SourceTable,
  row: PgRow | null,
  key: KeyTexts,
  { version, lane, atMs }: { readonly version: Version; readonly lane: LaneId; readonly atMs: number },
): Quarantined {
  const present = relation.dataset;
  const values = dataset.columns.map(({ name, type }): Value => {
    const at = present.columns.findIndex((column) => column.name === name);
    if (row !== null) return at < 0 ? null : row.value(at);
    const text = key[present.key.indexOf(at)];
    return at < 0 || text === undefined ? null : cellOfText(text, type);
  });
  const cells = new ValueRow(...values);
  const event = {
    ...(row === null ? { op: 'delete', before: cells, after: null } : { op: 'read', before: null, after: cells }),
    dataset,
    key: keyOf(dataset, cells),
    movedFrom: null,
    version,
    ordinal: 0,
    committedAtMs: atMs,
  } as ChangeEvent; // Rows as the operation has them.
  return { id: eventId(event), lane, event, findings: [BROUGHT], revision: null };
}

const BROUGHT: Finding = {
  index: 0,
  stage: 'sync',
  rule: 'verify.brought',
  column: null,
  verdict: Verdict.Quarantine,
  severity: 'info',
  message: 'it is brought from the source beside the topics; where this stays, release it',
  notify: false,
};
