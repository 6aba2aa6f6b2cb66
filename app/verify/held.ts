/**
 * Keys that have something in quarantine, after log was lost: what happened to their rows meanwhile is neither at the target nor in the quarantine, and an open
 * item explains every difference to `verify`. Those whose row at the source is not what the newest open item would make of it are brought by the running
 * lane: so a late release is superseded, or waits in front of what came after it, as if the log had told.
 */
import type { Clock } from '../../core/clock.ts';
import { type ChangeEvent, type Dataset, type DatasetName, type LaneId, versionOf } from '../../core/event.ts';
import type { Stage } from '../../core/contracts.ts';
import type { SourceRows } from '../../cdc/postgres/source-rows.ts';
import type { OpenKey, TargetRows } from '../../sync/postgres/target-rows.ts';
import type { KeyTexts } from '../../wire/postgres/row-sums.ts';
import type { Bringer } from './bring.ts';
import { isDropped, makesRow } from './explain.ts';

export interface HeldParts {
  readonly source: SourceRows;
  readonly bringer: Bringer;
  /** A place that all lanes have passed. */
  readonly passed: string;
  readonly target: TargetRows;
  readonly lane: LaneId;
  /** `schema.table`. */
  readonly table: string;
  readonly dataset: DatasetName;
  readonly quality: Stage;
  /** How long the lane may take to bring a few hundred rows. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface HeldRows {
  /** Keys that have something open. */
  readonly keys: number;
  /** Those of them whose rows were brought, for they had changed since. */
  readonly brought: number;
  /** Those that the lane did not bring in time. */
  readonly left: number;
  /** A truncate is held: it explains every difference, and nothing can be told of the table until somebody decides about it. */
  readonly isTruncateHeld: boolean;
}

const KEYS_AT_ONCE = 200;
const POLL_MS = 100;

export async function bringHeldRows(parts: HeldParts): Promise<HeldRows> {
  const { target, dataset } = parts;
  let after: string | null = null;
  let [keys, brought, left] = [0, 0, 0];
  for (;;) {
    const open: readonly OpenKey[] = await target.openKeys(dataset, after, KEYS_AT_ONCE);
    const changed = await changedSince(open, parts);
    const missing = changed.length === 0 ? 0 : await bring(changed, parts);
    keys += open.length;
    brought += changed.length - missing;
    left += missing;
    after = open.at(-1)?.key ?? null;
    if (open.length < KEYS_AT_ONCE) return { keys, brought, left, isTruncateHeld: await target.isTruncateOpen(dataset) };
  }
}

/** Those whose row is not what their newest open item would make of it. */
async function changedSince(open: readonly OpenKey[], parts: HeldParts): Promise<readonly OpenKey[]> {
  if (open.length === 0) return [];
  const table = await parts.source.table(parts.table);
  const { dataset } = table.relation;
  const names = dataset.columns.map(({ name }) => name);
  const keys = open.map(({ key, event }) => keyTexts(event, key, dataset));
  const changed: OpenKey[] = [];
  let next = 0;
  for await (const { row } of parts.source.rows(table, keys)) {
    const one = open[next++];
    if (one === undefined) break;
    if (makesRow(one.event, one.key, row, dataset, names)) continue;
    // It would be thrown away, and leave no trace of having come.
    if (row === null || !(await isDropped(row, one.key, { ...parts, dataset }))) changed.push(one);
  }
  return changed;
}

/** Answers how many did not come in time. */
async function bring(changed: readonly OpenKey[], parts: HeldParts): Promise<number> {
  const { source, bringer, passed, target, table, dataset, waitMs, clock, signal } = parts;
  const { relation } = await source.table(table);
  const asked = await bringer.bring(
    table,
    changed.map(({ key, event }) => keyTexts(event, key, relation.dataset)),
    passed,
  );
  const deadline = clock.monotonic() + waitMs;
  let left = changed.map(({ key }) => key);
  for (;;) {
    const open = await target.openAmong(dataset, left);
    left = open.filter(({ event, taken }) => versionOf(event) < asked && (taken ?? '') < asked).map(({ key }) => key);
    if (left.length === 0 || clock.monotonic() > deadline) return left.length;
    await clock.sleep(POLL_MS, signal);
    signal.throwIfAborted();
  }
}

/** The key as the server reads it: that of the row before, where the event moved it away from there. */
function keyTexts(event: ChangeEvent, key: string, present: Dataset): KeyTexts {
  const { dataset } = event;
  const row = event.key === key ? (event.after ?? event.before) : event.before;
  return present.key.map((index) => {
    const column = dataset.columns.findIndex(({ name }) => name === present.columns[index]?.name);
    const value = column < 0 ? null : (row?.value(column) ?? null);
    return value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : String(value);
  });
}
