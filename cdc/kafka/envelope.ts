/** What is read of Debezium's envelope where it lies, whatever it is written in (avro-envelope.ts, json-envelope.ts). */
import type { PgRow } from '../../wire/postgres/row.ts';

/** What of a source block tells where a change stands; null where it says nothing. */
const PLACE = ['connector', 'file', 'gtid', 'lsn', 'pos', 'row', 'sequence', 'snapshot', 'ts_ms'] as const;
export type SourcePlace = Record<(typeof PLACE)[number], string | number | null>;

/** One for all records of a schema, and true until the next. */
export interface ReadEnvelope {
  op: string;
  before: PgRow | null;
  after: PgRow | null;
  readonly source: SourcePlace;
}

export interface Envelope {
  /** Null for a record that is left to others: nothing of it is read then. */
  read(bytes: Buffer, from: number, to: number): ReadEnvelope | null;
}

export const isPlace = (name: string): name is keyof SourcePlace => (PLACE as readonly string[]).includes(name);

export const emptyEnvelope = (): ReadEnvelope => ({
  op: '',
  before: null,
  after: null,
  source: { connector: null, file: null, gtid: null, lsn: null, pos: null, row: null, sequence: null, snapshot: null, ts_ms: null },
});

/** Texts that hardly ever change from record to record: the last one is kept, and compared byte by byte. */
export class KeptText {
  #bytes = Buffer.alloc(0);
  #text = '';

  /** `parse`: what it means, where that is not the bytes themselves. */
  read(bytes: Buffer, from: number, length: number, parse: (() => string) | null = null): string {
    if (!this.#isSame(bytes, from, length)) {
      this.#bytes = Buffer.from(bytes.subarray(from, from + length));
      this.#text = parse === null ? this.#bytes.toString() : parse();
    }
    return this.#text;
  }

  #isSame(bytes: Buffer, from: number, length: number): boolean {
    const known = this.#bytes;
    if (known.length !== length) return false;
    for (let i = 0; i < length; i++) if (known[i] !== bytes[from + i]) return false;
    return true;
  }
}
