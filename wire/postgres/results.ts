/** Answers to statements, read from the messages that they come in. */

export interface PgColumn {
  readonly name: string;
  readonly oid: number;
  readonly typmod: number;
}

export interface PgResult {
  readonly columns: readonly PgColumn[];
  /** Cells as the server's text. Where they were asked for in binary, use `raw`. */
  readonly rows: readonly (readonly (string | null)[])[];
  readonly raw: readonly (readonly (Buffer | null)[])[];
  /** The command tag: "INSERT 0 5". */
  readonly tag: string;
  /** Rows touched, from the tag; 0 where it names none. */
  readonly affected: number;
}

const EMPTY: readonly never[] = [];
export const NO_RESULT: PgResult = { columns: EMPTY, rows: EMPTY, raw: EMPTY, tag: '', affected: 0 };

/** One statement's answer after the other. */
export class ResultReader {
  #columns: readonly PgColumn[] = EMPTY;
  #rows: (readonly (string | null)[])[] = [];
  #raw: (readonly (Buffer | null)[])[] = [];

  describe(bytes: Buffer, at: number): void {
    this.#columns = columnsOf(bytes, at);
  }

  row(bytes: Buffer, start: number, binary: boolean): void {
    const count = bytes.readInt16BE(start);
    let at = start + 2;
    const texts: (string | null)[] = [];
    const raws: (Buffer | null)[] = [];
    for (let i = 0; i < count; i++) {
      const length = bytes.readInt32BE(at);
      at += 4;
      if (binary) raws.push(length < 0 ? null : Buffer.from(bytes.subarray(at, at + length)));
      else texts.push(length < 0 ? null : bytes.toString('utf8', at, at + length));
      if (length > 0) at += length;
    }
    if (binary) this.#raw.push(raws);
    else this.#rows.push(texts);
  }

  /** What came since the last one. */
  complete(tag: string): PgResult {
    const affected = Number(/(\d+)$/.exec(tag)?.[1] ?? 0);
    const result = { columns: this.#columns, rows: this.#rows, raw: this.#raw, tag, affected };
    this.forget();
    return result;
  }

  /** The statement failed: what came of its answer is worth nothing. */
  forget(): void {
    this.#columns = EMPTY;
    this.#rows = [];
    this.#raw = [];
  }
}

function columnsOf(bytes: Buffer, start: number): PgColumn[] {
  const columns: PgColumn[] = [];
  let at = start + 2;
  for (let i = bytes.readInt16BE(start); i > 0; i--) {
    const end = bytes.indexOf(0, at);
    const name = bytes.toString('utf8', at, end);
    columns.push({ name, oid: bytes.readUInt32BE(end + 7), typmod: bytes.readInt32BE(end + 13) });
    at = end + 19;
  }
  return columns;
}
