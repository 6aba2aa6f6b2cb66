/** What went wrong at the source, as one of the coded errors that an operator (or the backoff) knows what to do with. */
import { type ErrorCode, PipelineError } from '../../core/errors.ts';
import { isTooOld, PgConnectionError, PgError, TOO_OLD, withCode } from '../../wire/postgres/errors.ts';

/** What was being done: some SQLSTATEs mean different things to different commands. */
export type Doing =
  'connecting' | 'reading the catalog' | 'creating the publication' | 'creating the slot' | 'streaming' | 'reading a chunk' | 'dropping';

/** `message` says what was being done to what. Errors that already have a code pass through. */
export function sourceFailure(error: unknown, doing: Doing, message: string): PipelineError {
  if (error instanceof PipelineError) return error;
  if (error instanceof PgError && error.code === '08P01' && doing === 'connecting')
    return new PipelineError('CONFIG_INVALID', `${message}: a pooler is no server that could be read: give the server itself`, {
      cause: error,
    });
  if (error instanceof PgError && isTooOld(error)) return new PipelineError('CONFIG_INVALID', `${message}: ${TOO_OLD}`, { cause: error });
  if (error instanceof PgError) {
    // The server's own words are of use to the operator, and hold no values of rows in any of the classes below.
    return new PipelineError(codeOf(error, doing), `${message}: ${withCode(error)}`, { cause: error });
  }
  if (error instanceof PgConnectionError) return new PipelineError('SOURCE_UNREACHABLE', `${message}: ${error.message}`, { cause: error });
  return new PipelineError('BUG', `${message} failed in a way that was not foreseen`, { cause: error });
}

function codeOf(error: PgError, doing: Doing): ErrorCode {
  const state = error.code;
  switch (state) {
    case '28P01':
    case '28000':
      return 'SOURCE_AUTH';
    case '3D000':
      return 'CONFIG_INVALID';
    case '55006':
      return 'SOURCE_SLOT_ACTIVE';
    case '53400':
      return 'SOURCE_SLOTS_FULL';
    case '53300':
      // Of "too many clients" another moment may be rid; too many walsenders is a setting.
      return /wal_?senders/i.test(error.message) ? 'SOURCE_SLOTS_FULL' : 'SOURCE_UNREACHABLE';
    case '42501':
      return doing === 'creating the publication' ? 'SOURCE_PUBLICATION_MISSING' : 'SOURCE_PRIVILEGE';
    case '22021':
    case '22P05':
      // A text that has no UTF-8, for ever: of a server in SQL_ASCII, which takes any bytes.
      return 'CONFIG_INVALID';
    case '42710':
    case '23505':
      // Another instance has just made it, and goes on with it.
      return 'SOURCE_SLOT_ACTIVE';
    case '42883':
      // A column of a type without a binary form, inside another type: catalog.ts tells it by name where it is known before.
      return doing === 'streaming' ? 'CONFIG_INVALID' : 'BUG';
    case '42P01':
    case '3F000':
      return 'SOURCE_TABLE_MISSING';
    case '42704':
      // The slot; or the publication, which is there now and was not when the log was written.
      if (doing === 'streaming') return 'SOURCE_POSITION_LOST';
      return doing === 'creating the publication' ? 'SOURCE_PUBLICATION_MISSING' : 'SOURCE_UNREACHABLE';
    case '58P01':
      return 'SOURCE_POSITION_LOST';
    case '55000':
      if (/wal_level/.test(error.message)) return 'SOURCE_WAL_LEVEL';
      if (doing === 'creating the slot') return /max_replication_slots/.test(error.message) ? 'SOURCE_SLOTS_FULL' : 'SOURCE_WAL_LEVEL';
      if (doing === 'creating the publication') return 'SOURCE_PUBLICATION_MISSING'; // It is for all tables: there is nothing to add.
      return doing === 'streaming' ? 'SOURCE_POSITION_LOST' : 'SOURCE_UNREACHABLE';
    default:
      // Class 42: our own statement is wrong. The rest (a server that stops, no memory, a deadlock) may be over in a while.
      return state.startsWith('42') ? 'BUG' : 'SOURCE_UNREACHABLE';
  }
}
