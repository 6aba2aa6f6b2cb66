/** What an error of the target means: a row it will never take, or a reason to wait, or to ask. */
import { type ErrorCode, PipelineError } from '../../core/errors.ts';
import { PgConnectionError, PgError } from '../../wire/postgres/connection.ts';
import { isOfServersFiles, isTooOld, TOO_OLD, VALUE_WORDS } from '../../wire/postgres/errors.ts';
import { POOLED } from '../../wire/postgres/pooled.ts';
import { FENCED, KEY_TAKEN, OUT_OF_TURN } from './migrations.ts';

/**
 * Whether an error can be a row's own fault: data exceptions (22), a query of a trigger or a policy that finds too much (21) or a trigger's own way that ends nowhere
 * (20, 2F005), integrity constraints (23), a view's check option (44), functions in other languages (38, 39), limits of a row (54), a policy that does not take it, and
 * errors that a trigger raised (P0, and whatever code of its own it chose). Only then is it worth looking for the row.
 */
export function isRefusal(error: unknown): error is PgError {
  if (!(error instanceof PgError)) return false;
  return (
    ROWS_OWN.has(error.code.slice(0, 2)) ||
    error.code === '2F005' ||
    error.code === '42804' ||
    error.code === '428C9' ||
    // What a type's own input says of bytes that it cannot read.
    error.code === '08P01' ||
    (error.code === '42501' && error.routine === 'ExecWithCheckOptions') ||
    (error.code === 'XX000' && !isOfServersFiles(error.file)) ||
    (error.isRaised && !isMeantForUs(error))
  );
}

const ROWS_OWN: ReadonlySet<string> = new Set(['20', '21', '22', '23', '38', '39', '44', '54', 'P0']);

/** Raised by what we made ourselves, or by who wants to have it tried again (40). */
const isMeantForUs = ({ code }: PgError): boolean => code === FENCED || code === OUT_OF_TURN || code.startsWith('40');

/** The batch was sent ahead, and the one before it is not in: nothing of it took effect. */
export const isOutOfTurn = (error: unknown): boolean => error instanceof PgError && error.code === OUT_OF_TURN;

/** The coded failure for an error of the target while `doing` something. Passes PipelineErrors on. */
export function targetFailure(error: unknown, doing: string): unknown {
  if (error instanceof PipelineError) return error;
  if (error instanceof PgConnectionError) return new PipelineError('TARGET_UNREACHABLE', doing, { cause: error });
  if (!(error instanceof PgError)) return error;
  // Of rows it is a refusal. What is left are keys that are to be held, and names.
  if (LACKING.has(error.code)) return new PipelineError('TARGET_SCHEMA', `${doing}, ${LACKING_TEXT}`, { cause: error });
  if (NOT_HERE.has(error.code)) return new PipelineError('CONFIG_INVALID', `${doing}, whose url ${POOLED}`, { cause: error });
  if (isTooOld(error)) return new PipelineError('CONFIG_INVALID', `${doing}: ${TOO_OLD}`, { cause: error });
  return new PipelineError(codeOf(error.code), doing, { cause: error });
}

/** A statement that we prepared is gone, or was there before: see pooled.ts. */
const NOT_HERE: ReadonlySet<string> = new Set(['26000', '42P05']);
const LACKING: ReadonlySet<string> = new Set(['22P05', '22021']);
const LACKING_TEXT = 'whose encoding lacks characters of a key or a name: they need a target in UTF8';

function codeOf(state: string): ErrorCode {
  if (state === FENCED) return 'LEASE_LOST';
  if (state === OUT_OF_TURN) return 'BUG';
  if (state === '25006') return 'TARGET_READ_ONLY';
  if (state.startsWith('28') || state === '3D000') return 'TARGET_AUTH';
  if (state === '42501') return 'TARGET_PRIVILEGE';
  // Undefined or mismatching tables, columns, types, functions: somebody changed the target's tables beneath us.
  if (state.startsWith('42') || state === '0A000' || state === '3F000' || state === '55000') return 'TARGET_SCHEMA';
  // Limits of the server (54), too many columns above all: of rows they are refusals, here they are of tables.
  if (state.startsWith('54')) return 'TARGET_SCHEMA';
  if (state.startsWith('53')) return 'TARGET_FULL';
  // Deadlocks and serialization, locks, statements that somebody cancelled.
  if (state.startsWith('40') || state === '55P03' || state === '57014') return 'TARGET_BUSY';
  // Connections (08), intervention (57), I/O (58): they pass.
  return 'TARGET_UNREACHABLE';
}

/**
 * Why the target refused a row. The database's own words where they name columns and constraints and never a value (it keeps values for
 * the detail), else words of ours.
 */
export function refusalText(error: PgError): string {
  const { code, message, column, constraint, table } = error;
  if (code === KEY_TAKEN) return `the target refused the row: its type or collation does not tell the key from others (${code})`;
  const isServers = !error.isRaised;
  if (isServers && (code.startsWith('23') || code === '22001')) return `the target refused the row: ${message} (${code})`;
  const why = !isServers || code.startsWith('P0') ? 'a trigger raised an exception' : (REFUSALS[code] ?? 'the row does not fit');
  const of = [
    column === null ? '' : `column ${column}`,
    constraint === null ? '' : `constraint ${constraint}`,
    table === null ? '' : `table ${table}`,
  ].filter((part) => part !== '');
  return `the target refused the row: ${why} (${[code, ...of].join(', ')})`;
}

const REFUSALS: Readonly<Record<string, string>> = {
  ...VALUE_WORDS,
  '22021': 'a text has characters that the encoding of the target lacks',
  '22P05': 'a text has characters that the encoding of the target lacks',
  '21000': 'a query of a trigger, a rule or a policy finds more than one row',
  '42501': 'a policy does not take it',
  '44000': 'the view does not take it',
};
