/**
 * Who reads a slot. Only one session can, and a slot stays active for as long as the server takes that session to be there: where a connection hung, for
 * `wal_sender_timeout`, or for ever where that is 0. So what is known to be of ours, and cannot be read from here any more, is ended.
 */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { type PgConnection, PgConnectionError, PgError } from '../../wire/postgres/connection.ts';
import { doneLsn, type LanePlace } from './lane-position.ts';
import { checkSlot, readSlot, type SlotState } from './slot.ts';

/** A session as its server knows it: a number is given to another one later, but not with the same beginning. */
export interface ReaderSession {
  readonly pid: string;
  /** Seconds of Unix time, to the microsecond. */
  readonly startedAt: string;
}

export interface FreeSlotParts {
  readonly catalog: PgConnection;
  readonly options: {
    readonly slot: string;
    /** See PostgresSourceOptions. */
    readonly endsReader?: () => boolean;
  };
  /** The session that this source itself read the slot with before, and does not any more; null where there was none. */
  readonly former: ReaderSession | null;
  readonly clock: Clock;
}

const LOOK_MS = 100;
const LOOKS = 20;
/** A session whose connection was closed ends by itself in a moment. */
const LOOKS_BEFORE_END = 3;

/** Which session a walsender is: it is asked itself, for behind a pooler the number that the login told may be another's. */
export async function sessionOf(walsender: PgConnection): Promise<ReaderSession | null> {
  // A walsender takes simple queries only.
  const [result] = await walsender.script(
    'select pid, extract(epoch from backend_start) from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()',
  );
  const [pid, startedAt] = result?.rows[0] ?? [];
  return typeof pid === 'string' && typeof startedAt === 'string' ? { pid, startedAt } : null;
}

/** Does what a walsender is asked before it streams, when nobody watches its connection: that is destroyed where nothing is answered for so long. */
export async function answeredWithin<T>(walsender: PgConnection, ms: number, clock: Clock, work: () => Promise<T>): Promise<T> {
  const answered = new AbortController();
  void clock.sleep(ms, answered.signal).then(() => {
    if (!answered.signal.aborted) walsender.destroy(new PgConnectionError(`no answer for ${ms} ms`));
  });
  try {
    return await work();
  } finally {
    answered.abort();
  }
}

/**
 * Waits two seconds at most until nobody reads the slot, and answers what it is then; null where there is none. Ends our own former session meanwhile, and with
 * `endsReader` that of a Tidegate of this source. Throws SOURCE_SLOT_ACTIVE, and what checkSlot throws where the lane cannot go on from `from`.
 */
export async function freeSlot(
  { catalog, options: { slot, endsReader }, former, clock }: FreeSlotParts,
  from: LanePlace | null,
  signal: AbortSignal,
): Promise<SlotState | null> {
  for (let look = 0; ; look++) {
    const state = await readSlot(catalog, slot);
    checkSlot(state, slot, from === null ? null : doneLsn(from));
    if (state?.active !== true || signal.aborted) return state;
    if (former !== null && look >= LOOKS_BEFORE_END) await endFormer(catalog, slot, former);
    if (endsReader?.() === true) await endNamesake(catalog, slot);
    if (look === LOOKS) throw new PipelineError('SOURCE_SLOT_ACTIVE', `reading the replication slot ${slot}: another process reads it`);
    await clock.sleep(LOOK_MS, signal);
  }
}

/** Ends the slot's reader where it is this very session. */
function endFormer(catalog: PgConnection, slot: string, { pid, startedAt }: ReaderSession): Promise<void> {
  return endReader(catalog, 'r.pid = $2::int4 and extract(epoch from r.backend_start) = $3::numeric', [slot, pid, startedAt]);
}

/**
 * Ends the slot's reader where it is a Tidegate's of this source: a session of the same name as this one, as the server has it, which cuts long names off and writes
 * some characters in its own way.
 */
function endNamesake(catalog: PgConnection, slot: string): Promise<void> {
  const ours = '(select application_name from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid())';
  return endReader(catalog, `r.application_name = ${ours}`, [slot]);
}

/** Without the right to, the server ends it once it is silent for long enough. */
async function endReader(catalog: PgConnection, condition: string, parameters: readonly string[]): Promise<void> {
  try {
    await catalog.query(
      `select pg_catalog.pg_terminate_backend(r.pid) from pg_catalog.pg_replication_slots s join pg_catalog.pg_stat_replication r on r.pid = s.active_pid
        where s.slot_name = $1 and ${condition}`,
      parameters,
    );
  } catch (error) {
    if (!(error instanceof PgError) || error.code !== '42501') throw error;
  }
}
