/**
 * An item whose record could not be read becomes the event that it was all along: under that one's own id and key, and in its row's place among what is held of it. What the target
 * has taken of the row since is told by whoever can read it, where the row was not known before.
 */
import type { Became, LaterChange, RecordPlace } from '../../core/contracts.ts';
import { type ChangeEvent, eventId, type LaneId, versionOf } from '../../core/event.ts';
import { hasPlace } from '../../core/position.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { packEvent } from '../../wire/postgres/event-bytes.ts';
import { textArrayParameter } from './arrays.ts';
import { type KeyRef, keysOf, lockKeys, refOf, settleKeys } from './held-keys.ts';
import { type HoldMode, rowJson } from './items.ts';
import { POSITION_COLUMNS, positionFrom } from './lanes.ts';
import { releaseUnblocked } from './unblocked.ts';
import { newestVersion, rowVersion, type RowVersionOptions } from './row-versions.ts';
import { serverJson } from './server-texts.ts';

/** How the target keeps the row that a record turned out to be of. */
export interface RowKept {
  readonly hold: HoldMode;
  /** Whether updates of it may leave cells out that are written. */
  readonly mayBePartial: boolean;
  /** Its table, as SQL names it, and which versions are kept of its rows; null where none are. */
  readonly versions: (RowVersionOptions & { readonly table: string }) | null;
}

/** Versions are as old as the transactions that wrote them, which may have begun before the item was held. */
const MARGIN_MS = 60_000;

/** Inside of a transaction that has the pipeline's turn. */
export async function become(sql: PgConnection, id: string, event: ChangeEvent, place: RecordPlace, kept: RowKept): Promise<Became> {
  const { rows } = await sql.query(
    `select key, moved_from, dataset from tidegate.quarantine where id = $1 and status = 'released' for update`,
    [id],
  );
  const [held] = rows;
  if (held === undefined) return { kind: 'gone' };
  const [key, movedFrom, dataset = ''] = held;
  const before = [key, movedFrom].flatMap((one) => (one === null || one === undefined ? [] : [{ dataset: dataset ?? '', key: one }]));
  const after = keysOf(event).map((one): KeyRef => ({ dataset: event.dataset.name, key: one }));
  const newId = eventId(event);
  if (newId !== id && (await sql.query('select from tidegate.quarantine where id = $1', [newId])).rows.length > 0) {
    await sql.query(`update tidegate.quarantine set status = 'superseded', settled_at = clock_timestamp() where id = $1`, [id]);
    await settleKeys(sql, before);
    await releaseUnblocked(sql, new Set(before.map((ref) => refOf(ref.dataset, ref.key))));
    return { kind: 'gone' };
  }
  const known = new Set(before.map((ref) => refOf(ref.dataset, ref.key)));
  const isKnown = after.every((ref) => known.has(refOf(ref.dataset, ref.key)));
  let newest: string | null = null;
  if (!isKnown && event.dataset.keyless !== true) {
    const since = await sinceHeld(sql, id, event, place, kept);
    if (since.kind !== 'since') return since;
    ({ newest } = since);
  }
  await lockKeys(sql, new Set([...before, ...after].map((ref) => refOf(ref.dataset, ref.key))));
  await sql.query(
    `insert into tidegate.held_keys (dataset, key, open, version) select dataset, key, 1, $3 from unnest($1::text[], $2::text[]) k(dataset, key)
     on conflict (dataset, key) do update set open = held_keys.open + 1, version = greatest(held_keys.version, excluded.version)`,
    [textArrayParameter(after.map((ref) => ref.dataset)), textArrayParameter(after.map((ref) => ref.key)), newest],
  );
  await settleKeys(sql, before);
  await sql.query(
    `update tidegate.quarantine set id = $2, was = $1, key = $3, moved_from = $4, version = $5, op = $6, event = $7, row_json = $8::jsonb, hold = $9 where id = $1`,
    [
      id,
      newId,
      event.key,
      event.movedFrom,
      versionOf(event),
      event.op,
      packEvent(event),
      serverJson(sql)(rowJson(event.after ?? event.before, event)),
      kept.hold,
    ],
  );
  await sql.query('update tidegate.quarantine_news set id = $2 where id = $1', [id, newId]);
  // What waited for it under a key that it does not have after all.
  const own = new Set(after.map((ref) => refOf(ref.dataset, ref.key)));
  await releaseUnblocked(sql, new Set([...known].filter((ref) => !own.has(ref))));
  return { kind: 'became' };
}

/** What the target has of a row that nobody knew to have something held: null where that is nothing newer. */
type Since = { readonly kind: 'since'; readonly newest: string | null } | Exclude<Became, { readonly kind: 'became' | 'gone' }>;

async function sinceHeld(sql: PgConnection, id: string, event: ChangeEvent, place: RecordPlace, kept: RowKept): Promise<Since> {
  const since: Since = place.lane === null ? { kind: 'unplaced' } : await sinceRecord(sql, event, place.lane, place.readLater);
  const isKnown = since.kind !== 'unplaced' && since.kind !== 'lost';
  return isKnown ? since : ((await sinceByVersions(sql, id, event, place.lanes, kept)) ?? since);
}

/** By the lane that its record stood in. Whoever writes that does not know that the row has something held: it takes the lane again. */
async function sinceRecord(sql: PgConnection, event: ChangeEvent, lane: LaneId, readLater: RecordPlace['readLater']): Promise<Since> {
  const moved = await sql.query(`update tidegate.lanes set epoch = epoch + 1 where lane = $1 returning ${POSITION_COLUMNS}`, [lane]);
  const position = positionFrom(moved.rows[0]?.[0], moved.rows[0]?.[1]);
  const later = position === null ? 'ahead' : await readLater(position);
  if (typeof later === 'string') return { kind: later };
  const passed = await takenOf(sql, event, later);
  if (passed.some(({ isPartial }) => isPartial)) return { kind: 'partial' };
  const newest = passed.map(({ version }) => version).reduce<string | null>((a, b) => (a === null || b > a ? b : a), null);
  return { kind: 'since', newest };
}

/**
 * By the versions that the target keeps of rows; null where there are none, or some since it was held may be forgotten by now. Whoever writes one of the source's
 * lanes takes it again, for any may have the row.
 */
async function sinceByVersions(
  sql: PgConnection,
  id: string,
  event: ChangeEvent,
  lanes: string,
  { versions, mayBePartial }: RowKept,
): Promise<Since | null> {
  if (versions === null || !hasPlace(event.version)) return null;
  await sql.query('update tidegate.lanes set epoch = epoch + 1 where starts_with(lane, $1)', [`${lanes}/`]);
  const { rows } = await sql.query(
    `select from tidegate.quarantine where id = $1 and held_at > clock_timestamp() - $2::float8 * interval '1 millisecond'`,
    [id, String(versions.keepMs - MARGIN_MS)],
  );
  if (rows.length === 0) return null;
  const newest = await newestVersion(sql, versions.table, event.key);
  if (newest === null || newest < rowVersion(versions, event)) return { kind: 'since', newest: null };
  return mayBePartial ? { kind: 'partial' } : { kind: 'since', newest: versionOf(event) };
}

/** Of changes that came later those that the target has taken: the others are held, or were given up. */
async function takenOf(sql: PgConnection, { key }: ChangeEvent, later: readonly LaterChange[]): Promise<readonly LaterChange[]> {
  if (later.length === 0) return [];
  const { rows } = await sql.query(
    `select id from tidegate.quarantine where (id = any($1::text[]) or id = any($2::text[]) and moved_from = $3) and status <> 'applied'`,
    [textArrayParameter(later.flatMap(({ ids }) => ids)), textArrayParameter(later.flatMap(({ moveId }) => moveId ?? [])), key],
  );
  const held = new Set(rows.map(([id]) => id));
  return later.filter(({ ids, moveId }) => ![...ids, moveId].some((one) => one !== null && held.has(one)));
}
