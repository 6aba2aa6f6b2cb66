/**
 * Lanes as the target keeps them: who may write, where each resumes, and what became of every event.
 *
 * A long position is kept in two columns of its row (core/position.ts), and the long one is written where it is another. A lane that an earlier version has left with its
 * position in one is read all the same, and becomes such a row when it is taken over.
 */
import type { Applied, Lease } from '../../core/contracts.ts';
import type { LaneId, Position } from '../../core/event.ts';
import { putTogether, takeApart } from '../../core/position.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { Format, type FrontendWriter } from '../../wire/postgres/messages.ts';
import type { Batch } from '../../core/batch.ts';

/** Invariant 8: `events` is the sum of all others. */
export interface Ledger {
  readonly events: bigint;
  readonly upserts: bigint;
  readonly deletes: bigint;
  readonly truncates: bigint;
  readonly stale: bigint;
  readonly folded: bigint;
  readonly held: bigint;
  readonly dropped: bigint;
}

export interface LaneState {
  readonly lane: LaneId;
  readonly epoch: number;
  readonly position: Position | null;
  readonly ledger: Ledger;
  readonly updatedAtMs: number;
  /** What was committed between these places was lost from the log, and is not known to have been read again. */
  readonly lost: { readonly from: Position; readonly to: Position } | null;
}

const ADVANCE = 'tg_advance';

export function prepareAdvance(writer: FrontendWriter): void {
  writer.parse(ADVANCE, 'select tidegate.advance($1::text, $2::bigint, $3::text, $4::bigint[], $5::text, $6::text)');
}

/**
 * Moves the lane's checkpoint on from `batch.after` and counts the batch. Fails with FENCED where the lane belongs to a newer lease, with OUT_OF_TURN
 * where it stands elsewhere, because the batch before this one is not in.
 */
export function emitAdvance(writer: FrontendWriter, batch: Batch, lease: Lease, counts: Omit<Applied, 'kind' | 'checkpoint'>): void {
  const { upserts, deletes, truncates, stale, folded, held, dropped } = counts;
  const ledger = [batch.size, upserts, deletes, truncates, stale, folded, held, dropped];
  const from = batch.after === null ? null : takeApart(batch.after);
  const to = takeApart(batch.checkpoint.position);
  const long = to.long === (from?.long ?? null) ? null : (to.long ?? '');
  const parameters = [lease.lane, String(lease.epoch), to.place, `{${ledger.join(',')}}`, from?.place ?? null, long];
  writer.bind('', ADVANCE, parameters, Format.Text).execute();
}

/** How long a holder is given to end its transaction: others of its lanes may be its own still, and go on by the same session. */
const HOLDER_MS = 1000;
const LOCK_NOT_AVAILABLE = '55P03';

/** The columns that `positionFrom` reads. */
export const POSITION_COLUMNS = 'position, position_long';

/** Null for a lane that was never begun. */
export function positionFrom(position: string | null | undefined, long: string | null | undefined): Position | null {
  return position === null || position === undefined ? null : putTogether(position, long ?? null);
}

/**
 * Takes a lane over. A holder that hangs in the middle of a transaction is cut off, so that it keeps no locks; one that is between batches finds
 * out at its next.
 */
export async function acquireLane(sql: PgConnection, lane: LaneId): Promise<Lease> {
  const [epoch, place, long] = (await takeWithin(sql, lane, HOLDER_MS)) ?? (await cutAndTake(sql, lane));
  const position = positionFrom(place, long);
  if (position === null) return { lane, epoch: Number(epoch), checkpoint: null };
  const apart = takeApart(position);
  // Whoever takes it over meanwhile does the same.
  if (apart.place !== place)
    await sql.query('update tidegate.lanes set position = $4, position_long = $5 where lane = $1 and epoch = $2 and position = $3', [
      lane,
      epoch ?? null,
      place ?? null,
      apart.place,
      apart.long,
    ]);
  return { lane, epoch: Number(epoch), checkpoint: { lane, position } };
}

async function take(sql: PgConnection, lane: LaneId): Promise<readonly (string | null)[]> {
  const { rows } = await sql.query(
    `insert into tidegate.lanes (lane, epoch, backend_pid, backend_start)
     select $1, 1, pid, backend_start from pg_stat_activity where pid = pg_backend_pid()
     on conflict (lane) do update set epoch = lanes.epoch + 1, backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
       updated_at = clock_timestamp()
     returning epoch, ${POSITION_COLUMNS}`,
    [lane],
  );
  return rows[0] ?? [];
}

/** Null where somebody kept the lane locked for so long. */
async function takeWithin(sql: PgConnection, lane: LaneId, ms: number): Promise<readonly (string | null)[] | null> {
  await sql.script(`begin; set local lock_timeout = ${ms}`);
  try {
    const taken = await take(sql, lane);
    await sql.script('commit');
    return taken;
  } catch (error) {
    if (sql.open) await sql.script('rollback');
    if (error instanceof PgError && error.code === LOCK_NOT_AVAILABLE) return null;
    throw error;
  }
}

async function cutAndTake(sql: PgConnection, lane: LaneId): Promise<readonly (string | null)[]> {
  await sql.query(
    `select pg_terminate_backend(a.pid) from tidegate.lanes l join pg_stat_activity a on a.pid = l.backend_pid and a.backend_start = l.backend_start
     where l.lane = $1 and a.pid <> pg_backend_pid() and a.state is distinct from 'idle'`,
    [lane],
  );
  return take(sql, lane);
}

/** Sessions of that name that have waited inside a transaction for too long: whoever they belong to stands still, and they keep rows locked. */
export async function endHangingWorkers(sql: PgConnection, applicationName: string): Promise<void> {
  await sql.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and usename = current_user and application_name = $1::name::text and state like 'idle in transaction%'
       and state_change < clock_timestamp() - interval '${HOLDER_MS} milliseconds'`,
    [applicationName],
  );
}

export async function readLanes(sql: PgConnection): Promise<readonly LaneState[]> {
  const { rows } = await sql.query(
    `select lane, epoch, ${POSITION_COLUMNS}, extract(epoch from updated_at) * 1000, lost_from, lost_to,
            events, upserts, deletes, truncates, stale, folded, held, dropped
     from tidegate.lanes order by lane`,
  );
  return rows.map(([lane, epoch, place, long, updatedAt, lostFrom, lostTo, ...counts]) => {
    const [events = 0n, upserts = 0n, deletes = 0n, truncates = 0n, stale = 0n, folded = 0n, held = 0n, dropped = 0n] = counts.map(
      (count) => BigInt(count ?? '0'),
    );
    return {
      lane: lane as LaneId, // Written from one.
      epoch: Number(epoch),
      position: positionFrom(place, long),
      updatedAtMs: Math.floor(Number(updatedAt)),
      lost: typeof lostFrom === 'string' && typeof lostTo === 'string' ? { from: lostFrom as Position, to: lostTo as Position } : null,
      ledger: { events, upserts, deletes, truncates, stale, folded, held, dropped },
    };
  });
}

/**
 * Moves a lane over what its log has lost, and notes that; whoever writes it now loses it. False where the lane does not stand at `from` any more.
 * Of several losses in a row the whole is noted.
 */
export async function moveLane(sql: PgConnection, lane: LaneId, from: Position, to: Position): Promise<boolean> {
  const { place, long } = takeApart(to);
  const moved = await sql.query(
    `update tidegate.lanes set epoch = epoch + 1, position = $4, position_long = $5, lost_from = coalesce(lost_from, $3), lost_to = $6, updated_at = clock_timestamp()
      where lane = $1 and position in ($2, $3)`,
    // It may not have been taken over since an earlier version has written it.
    [lane, takeApart(from).place, from, place, long, to],
  );
  return moved.affected === 1;
}

/** What was lost up to `to` is known to have been read again. */
export async function forgetLoss(sql: PgConnection, lane: LaneId, to: Position): Promise<void> {
  await sql.query('update tidegate.lanes set lost_from = null, lost_to = null where lane = $1 and lost_to = $2', [lane, to]);
}
