/**
 * A lane whose place in the log is lost (its slot is gone, was invalidated or moved on by somebody else, or the server has another history by now) gets a
 * place from which the log is whole again. What changed in between is in no log: whoever calls this has those rows compared and read again.
 */
import { systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Position } from '../../core/event.ts';
import { fromLsn } from '../../core/position.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { qualifiedName, SESSION } from './catalog.ts';
import { closeSoon, connectSource } from './connect.ts';
import { sourceFailure } from './failures.ts';
import { doneLsn, inLog, parsePlace, placeText, withoutEntries } from './lane-position.ts';
import { findPlace } from './server-log.ts';
import { checkSlot, createPublication, createSlot, dropSlot, readPublication, readSlot } from './slot.ts';
import type { PostgresSourceOptions } from './source.ts';
import { TIMING } from './timing.ts';

export interface RecoveredPlace {
  /** Why the lane could not go on from where it stood. */
  readonly why: string;
  /** Where it may go on: after the place where it stood. */
  readonly position: Position;
  /** False: the slot that was there serves, and only the lane is behind it. */
  readonly isNewSlot: boolean;
}

/** Filler is written where the server's log ends before the lane's place, so that places go on growing: 1 MiB at a time, no more than this. */
const FILLER_BYTES_MAX = 1 << 30;
const FILLER_BYTES = 1 << 20;

/**
 * Makes the slot anew where that is needed, and answers a place that the lane may be moved to. Null where nothing is lost: the lane can go on from `position`.
 * `halted`: why the lane itself said that it cannot go on, where the slot may not show it. Done again after it was cut off, it comes to the same.
 */
export async function recoverPlace(
  options: PostgresSourceOptions,
  position: Position,
  halted: string | null,
): Promise<RecoveredPlace | null> {
  const { name, url, slot } = options;
  const stood = parsePlace(position);
  const connection = await connectSource(name, url, false, SESSION);
  try {
    const state = await readSlot(connection, slot);
    const {
      log,
      place,
      lost: elsewhere,
    } = await findPlace(stood, {
      connect: () => connectSource(name, url, true, SESSION),
      silenceMs: options.timing?.silenceMs ?? TIMING.silenceMs,
      clock: options.clock ?? systemClock,
    });
    const from = place ?? stood;
    const done = doneLsn(from);
    const slotLoss = lossOf(() => checkSlot(state, slot, done)); // Also says where the slot is no such one at all.
    const lost =
      elsewhere ??
      slotLoss ??
      ((await endOfLog(connection)) < done ? "the lane's checkpoint is beyond the end of the server's log" : null) ??
      halted;
    if (lost === null) return null;
    await havePublication(connection, options);
    await fillLog(connection, done);
    // The slot was moved on, by others or by an earlier attempt: it has all that comes after its place.
    const serves = state !== null && state.walStatus !== 'lost' && state.confirmed > done;
    if (state !== null && !serves) await dropSlot(connection, slot);
    const lsn = serves ? state.confirmed : await createSlot(connection, slot, options.failover ?? true);
    // The publication may be another; whatever changed meanwhile is found by comparing.
    const snapshot = from.snapshot === null ? null : withoutEntries(from.snapshot);
    return { why: lost, position: inLog(placeText(lsn, snapshot), { ...log, last: null }), isNewSlot: !serves };
  } catch (error) {
    throw sourceFailure(error, 'creating the slot', `recovering the slot ${slot}`);
  } finally {
    await closeSoon(connection);
  }
}

function lossOf(check: () => void): string | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'SOURCE_POSITION_LOST') return error.message;
    throw error;
  }
}

/** Before the slot: the log is decoded with the catalog of its time. */
async function havePublication(connection: PgConnection, { publication, tables }: PostgresSourceOptions): Promise<void> {
  if ((await readPublication(connection, publication)) !== null) return;
  await createPublication(connection, publication, tables.map(qualifiedName));
}

/** Places and versions of what is to come must be greater than those that the target knows, or something old would pass for newer. */
async function fillLog(connection: PgConnection, beyond: string): Promise<void> {
  const missing = BigInt(`0x${beyond}`) - BigInt(`0x${await endOfLog(connection)}`);
  if (missing > BigInt(FILLER_BYTES_MAX)) {
    throw new PipelineError(
      'CONFIG_INVALID',
      `the server's log ends ${missing} bytes before the lane's checkpoint: that is more than is filled up, for places have to go on growing. Begin anew, with another slot or with empty tables at the target: docs/slots.md says which, under "Another server"`,
    );
  }
  while ((await endOfLog(connection)) <= beyond)
    await connection.query(`select pg_catalog.pg_logical_emit_message(false, 'tidegate.filler', pg_catalog.repeat(' ', ${FILLER_BYTES}))`);
}

async function endOfLog(connection: PgConnection): Promise<string> {
  return fromLsn((await connection.query('select pg_catalog.pg_current_wal_insert_lsn()')).rows[0]?.[0] ?? '');
}
