/** What can go wrong between us and a PostgreSQL server. */

/** What the server said no to (or warned of: PgConnection.onNotice). `code` is the SQLSTATE. */
export class PgError extends Error {
  override readonly name = 'PgError';
  readonly code: string;
  readonly severity: string;
  readonly detail: string | null;
  readonly hint: string | null;
  readonly position: string | null;
  readonly schema: string | null;
  readonly table: string | null;
  readonly column: string | null;
  readonly dataType: string | null;
  readonly constraint: string | null;
  /** The function in the server's code that says it: in every language the same. */
  readonly routine: string | null;
  /** The file that it is in: "md.c". */
  readonly file: string | null;

  constructor(fields: ReadonlyMap<string, string>) {
    super(fields.get('M') ?? 'unknown error');
    this.code = fields.get('C') ?? 'XX000';
    this.severity = fields.get('V') ?? fields.get('S') ?? 'ERROR';
    this.detail = fields.get('D') ?? null;
    this.hint = fields.get('H') ?? null;
    this.position = fields.get('P') ?? null;
    this.schema = fields.get('s') ?? null;
    this.table = fields.get('t') ?? null;
    this.column = fields.get('c') ?? null;
    this.dataType = fields.get('d') ?? null;
    this.constraint = fields.get('n') ?? null;
    this.routine = fields.get('R') ?? null;
    this.file = fields.get('F') ?? null;
  }
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
