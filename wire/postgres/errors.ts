/** What can go wrong between us and a PostgreSQL server. */

/**
 * What the server said no to (or warned of: PgConnection.onNotice). `code` is the SQLSTATE. `message` may be told to anybody, in logs, health and findings: the server's own
 * words, but for those that may hold values of rows. What it says beside them (details, which quote whole rows, hints and where it was) is not told anywhere.
 */
export class PgError extends Error {
  override readonly name = 'PgError';
  readonly code: string;
  readonly severity: string;
  readonly schema: string | null;
  readonly table: string | null;
  readonly column: string | null;
  readonly dataType: string | null;
  readonly constraint: string | null;
  /** The function in the server's code that says it: in every language the same. */
  readonly routine: string | null;
  /** The file that it is in: "md.c". */
  readonly file: string | null;
  /** Somebody's function or trigger said so, and not the server: under any code, and in any words. */
  readonly isRaised: boolean;

  constructor(fields: ReadonlyMap<string, string>) {
    super(tellable(fields));
    this.code = fields.get('C') ?? 'XX000';
    this.severity = fields.get('V') ?? fields.get('S') ?? 'ERROR';
    this.schema = fields.get('s') ?? null;
    this.table = fields.get('t') ?? null;
    this.column = fields.get('c') ?? null;
    this.dataType = fields.get('d') ?? null;
    this.constraint = fields.get('n') ?? null;
    this.routine = fields.get('R') ?? null;
    this.file = fields.get('F') ?? null;
    this.isRaised = isRaised(fields);
  }
}

/** What it says, with its SQLSTATE. */
export const withCode = ({ message, code }: PgError): string => (message.includes(`(${code}`) ? message : `${message} (${code})`);

/** Whether a server is too old for us: it lacks a parameter that each of our sessions sets. */
export const isTooOld = ({ code, message }: PgError): boolean => code === '42704' && message.includes('idle_session_timeout');
export const TOO_OLD = 'the server is older than PostgreSQL 14';

/** What RAISE and ASSERT of PL/pgSQL come from, and errors of functions in Python, Perl, Tcl and JavaScript. */
const RAISING = /^(?:exec_stmt_raise|exec_stmt_assert|PLy_|plperl_|croak_|pltcl_|plv8_|js_error)/;
const isRaised = (fields: ReadonlyMap<string, string>): boolean => RAISING.test(fields.get('R') ?? '');

/** Raised by what we made ourselves. */
const OURS = /^TG/;

/** Data exceptions, what functions in other languages say, internal errors of somebody's types and functions. */
const OF_VALUES = /^(?:22|38|39|P0|XX000)/;
/** Of these, those that name no value: of a length, a division by zero, a null. */
const OF_NONE: ReadonlySet<string> = new Set(['22001', '22002', '22004', '22012', 'P0002', 'P0003']);

/** What an error about a value says of it. */
export const VALUE_WORDS: Readonly<Record<string, string>> = {
  '22003': 'a number is out of the range of its column’s type',
  '22007': 'a date or time cannot be read as the type of its column',
  '22008': 'a date or time is out of range',
  '22021': 'a text has what its encoding lacks',
  '22P05': 'a text has what an encoding lacks',
  '22P02': 'a value cannot be read as the type of its column',
  '22P03': 'a value cannot be read as the type of its column',
};

/**
 * Whether an internal error is about the server's files, buffers, log or locks, and not about a value: a disk whose quota is reached says so (only a full
 * one has a code of its own), and then no row is at fault.
 */
export const isOfServersFiles = (file: string | null): boolean => file !== null && SERVER_FILES.test(file);

const SERVER_FILES =
  /^(?:md|smgr|bulk_write|fd|aio\w*|bufmgr|localbuf|buffile|freespace|hio|heapam\w*|indexam|genam|nbt\w+|xlog\w*|xact|slru|clog|multixact|varsup|relmapper|relcache|catcache|syscache|inval|lock|lmgr|lwlock|proc|procarray|tuplestore|logtape)\.c$/;

const OF_THE_LOG = /^(?:logical\w*|slot\w*|snapbuild|reorderbuffer|decode|pgoutput|walsender|origin|proto|repl_\w+)\.c$/;

function tellable(fields: ReadonlyMap<string, string>): string {
  const said = fields.get('M') ?? 'unknown error';
  const code = fields.get('C') ?? 'XX000';
  if (isRaised(fields)) return OURS.test(code) ? said : `a function or a trigger raised an error (${code})`;
  // Where the statement itself is at fault, what is quoted stands in it.
  if (!OF_VALUES.test(code) || OF_NONE.has(code) || fields.has('P')) return said;
  if (code === 'XX000') {
    const file = fields.get('F') ?? '';
    return isOfServersFiles(file) || OF_THE_LOG.test(file)
      ? said
      : `an internal error of a type, a function or the server (XX000, ${fields.get('R') ?? ''} in ${file})`;
  }
  return `${VALUE_WORDS[code] ?? 'a value does not fit'} (${code})`;
}

/** The connection could not be made, or is gone. */
export class PgConnectionError extends Error {
  override readonly name = 'PgConnectionError';
}

/** The fields of an ErrorResponse or NoticeResponse, by their letters. */
export function fieldsOf(bytes: Buffer, start: number, end: number): Map<string, string> {
  const fields = new Map<string, string>();
  let at = start;
  while (at < end && bytes[at] !== 0) {
    const stop = bytes.indexOf(0, at + 1);
    fields.set(String.fromCharCode(bytes[at] ?? 0), bytes.toString('utf8', at + 1, stop));
    at = stop + 1;
  }
  return fields;
}
