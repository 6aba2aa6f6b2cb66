/**
 * An item whose record could not be read becomes the event that it was all along: under that one's own id and key, and in its row's place among what is held of it. What the target
 * has taken of the row since is told by whoever can read it, where the row was not known before.
 */
import type { Became, LaterChange, ReadLater } from '../../core/contracts.ts';
import { type ChangeEvent, eventId, type Position, versionOf } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { packEvent } from '../../wire/postgres/event-bytes.ts';
import { textArrayParameter } from './arrays.ts';
import { type KeyRef, keysOf, lockKeys, refOf, settleKeys } from './held-keys.ts';
import { type HoldMode, rowJson } from './items.ts';

/** Inside of a transaction that has the pipeline's turn. */
export async function become(sql: PgConnection, id: string, event: ChangeEvent, readLater: ReadLater, hold: HoldMode): Promise<Became> {
  const { rows } = await sql.query(
    `select lane, key, moved_from, dataset from tidegate.quarantine where id = $1 and status = 'released' for update`,
    [id],
  );
  const [lane, ...held] = rows[0] ?? [];
  if (rows[0] === undefined) return { kind: 'gone' };
  const [key, movedFrom, dataset = ''] = held;
  const before = [key, movedFrom].flatMap((one) => (one === null || one === undefined ? [] : [{ dataset: dataset ?? '', key: one }]));
  const after = keysOf(event).map((one): KeyRef => ({ dataset: event.dataset.name, key: one }));
  const newId = eventId(event);
  if (newId !== id && (await sql.query('select from tidegate.quarantine where id = $1', [newId])).rows.length > 0) {
    await sql.query(`update tidegate.quarantine set status = 'superseded', settled_at = clock_timestamp() where id = $1`, [id]);
    await settleKeys(sql, before);
    return { kind: 'gone' };
  }
  const known = new Set(before.map((ref) => refOf(ref.dataset, ref.key)));
  const isKnown = after.every((ref) => known.has(refOf(ref.dataset, ref.key)));
  let newest: string | null = null;
  if (!isKnown && event.dataset.keyless !== true) {
    // Whoever writes the lane does not know that the row has something held: it takes the lane again.
    const moved = await sql.query('update tidegate.lanes set epoch = epoch + 1 where lane = $1 returning position', [lane ?? '']);
    const later = await readLater((moved.rows[0]?.[0] ?? null) as Position | null); // Written by `advance` from a position.
    if (later === null) return { kind: 'unknown' };
    const passed = await takenOf(sql, later);
    if (passed.some(({ isPartial }) => isPartial)) return { kind: 'partial' };
    newest = passed.map(({ version }) => version).reduce<string | null>((a, b) => (a === null || b > a ? b : a), null);
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
      rowJson(event.after ?? event.before, event),
      hold,
    ],
  );
  await sql.query('update tidegate.quarantine_news set id = $2 where id = $1', [id, newId]);
  return { kind: 'became' };
}

/** Of changes that came later those that the target has taken: the others are held, or were given up. */
async function takenOf(sql: PgConnection, later: readonly LaterChange[]): Promise<readonly LaterChange[]> {
  if (later.length === 0) return [];
  const { rows } = await sql.query(`select id from tidegate.quarantine where id = any($1::text[]) and status <> 'applied'`, [
    textArrayParameter(later.flatMap(({ ids }) => ids)),
  ]);
  const held = new Set(rows.map(([id]) => id));
  return later.filter(({ ids }) => !ids.some((one) => held.has(one)));
}
