/** The nouns of a change: where it came from, what it did, and where it stands in its source's order. */

declare const brand: unique symbol;
/** A string that only its own constructor makes, so that a lane can't be passed where a dataset is meant. */
type Named<Name extends string> = string & { readonly [brand]: { readonly [N in Name]: true } };

/** `database.schema.table`. The first part is the name of the source in the config, not the database's own. */
export type DatasetName = Named<'dataset'>;

/** The parts of a name, `source.schema.table`: that of the table itself may hold dots. */
export function partsOfName(dataset: DatasetName): { readonly source: string; readonly schema: string; readonly table: string } {
  const [source = '', schema = '', ...table] = dataset.split('.');
  return { source, schema, table: table.join('.') };
}
/** One totally ordered stream: a topic partition or a replication slot. Order is promised within a lane, never across lanes. */
export type LaneId = Named<'lane'>;
/** A place in a lane, written so that comparing two as strings compares the places (see position.ts). */
export type Position = Named<'position'>;
/** A commit's place in the source's own order, written the same way. A row keeps the version it was last changed at. */
export type Version = Named<'version'>;

/**
 * A cell as decoded. `UNCHANGED` stands for a column that the source did not send (a Postgres TOAST value).
 * By the column's `type`: boolean: boolean. integer: number, or bigint beyond ±(2^53-1). float: number.
 * decimal: its decimal text, every digit kept ('12.50', 'NaN', 'Infinity'). text: string. json: the JSON text.
 * timestamp, date, time: ISO text as PostgreSQL writes it in UTC ('2026-11-24 13:45:00.123456+00', '2026-11-24',
 * 'infinity', '0044-03-15 BC'), microseconds kept. bytes: Uint8Array. other: the source's text form where there is a
 * codec, else the encoded bytes.
 */
export type Value = null | boolean | number | bigint | string | Uint8Array | typeof UNCHANGED;
export const UNCHANGED: unique symbol = Symbol('unchanged');

/** Cells in the order of `dataset.columns`: names are looked up once per rule, never once per row. */
export interface Row {
  /** The cell as a JavaScript value. An encoded cell is decoded when it is first read, and never otherwise. */
  value(column: number): Value;
  /** The cells as the source encoded them, for a target that takes those bytes as they are; null where there are none. */
  readonly encoded: EncodedRow | null;
}

/** Lengths in `EncodedRow.cells` that are no lengths. */
export const CELL_NULL = -1;
export const CELL_UNCHANGED = -2;

/** One row among many in a shared buffer. What nobody reads is copied from the source's socket to the target's, and nothing else. */
export interface EncodedRow {
  readonly encoding: 'postgres';
  readonly bytes: Uint8Array;
  /** Two numbers a cell, its offset in `bytes` and its length: cell i at [at + 2i] and [at + 2i + 1]. Length -1 is null, -2 is `UNCHANGED`. */
  readonly cells: Int32Array;
  readonly at: number;
  /** How the cells of each column are written: one array for all rows of a relation, so that what is made of it can be kept by its identity. */
  readonly types: readonly EncodedType[];
}

/**
 * How the cells of one column are written, for those who read them where they lie: no value is made, nothing is looked up. The readers say
 * nothing but what `Row.value` says, and hold for the `binary` format only; without `type`, and of all other cells, ask `value`.
 */
export interface EncodedType {
  readonly format: 'binary' | 'text';
  readonly type?: CellReaders | undefined;
}

/** Throw a RangeError for bytes that are no value, as `value` does. Null where such cells can't be read so. */
export interface CellReaders {
  /** An integer, float or decimal as the nearest double. NaN where there is none, or where only `value` can tell. */
  readonly number: ReadCellNumber | null;
  /** A date or timestamp as microseconds since 2000-01-01 (UTC), a time as microseconds since midnight. NaN: ask `value`. */
  readonly micros: ReadCellNumber | null;
  /** The bytes are the value itself, in UTF-8. */
  readonly isText: boolean;
  /** How its bytes lie, for those who judge every digit of it without making a value; null for all forms but these. */
  readonly form: CellForm | null;
}
/**
 * `int2`, `int4`, `int8`, `float8`: as they are, the most significant byte first. `timestamp`: microseconds since 2000-01-01 as an int8, `date`:
 * days as an int4; their extremes are the infinities. `time`: microseconds since midnight as an int8. `numeric`: four words (the number of
 * digits, the weight of the first, the sign: 0, 0x4000 for minus, else NaN and infinities, the digits shown behind the point), then its
 * digits to the base of 10,000, a word each. `bool`: a byte. `text`: UTF-8. `uuid`: 16 bytes.
 */
export type CellForm = 'int2' | 'int4' | 'int8' | 'float8' | 'timestamp' | 'date' | 'time' | 'numeric' | 'bool' | 'text' | 'uuid';
export type ReadCellNumber = (bytes: Uint8Array, offset: number, length: number) => number;

/** A row of plain values, as sources other than Postgres and most tests make it. */
export class ValueRow implements Row {
  readonly #values: readonly Value[];
  readonly encoded = null;

  constructor(...values: readonly Value[]) {
    this.#values = values;
  }

  value(column: number): Value {
    return this.#values[column] ?? null;
  }
}

export type ColumnType = 'boolean' | 'integer' | 'float' | 'decimal' | 'text' | 'timestamp' | 'date' | 'time' | 'json' | 'bytes' | 'other';

export interface Column {
  readonly name: string;
  /** What rules, features and targets of another kind go by. */
  readonly type: ColumnType;
  /** The source's own name of the type ("numeric(12,2)", "public.order_status[]"), for a target of the same kind. */
  readonly native: string;
  readonly nullable: boolean;
  /** Stays when the column is renamed, and is another when it is dropped and made anew. Left out where the source does not say for sure. */
  readonly id?: number;
  readonly declared?: Declared;
}

/** What the source declares of a column beside its type, for targets whose own schemas say so. Nothing else goes by it. */
export interface Declared {
  /** No row of this shape has a null there. `Column.nullable` is of the present, and may be ahead of the log. */
  readonly required?: true;
  /** Those of an enum, or of an array's elements, in their order. */
  readonly labels?: readonly string[];
  /** What a domain comes down to, as the source names it. */
  readonly base?: string;
  /** The expression of its default, as the source shows it. */
  readonly default?: string;
}

/** A table as it looked when the event was made. A schema change makes a new Dataset (a new object) with the next version. */
export interface Dataset {
  readonly name: DatasetName;
  readonly version: number;
  readonly columns: readonly Column[];
  /** Indices into `columns` that identify a row. */
  readonly key: readonly number[];
  /** Nothing tells rows apart any more: `key` names every column, which is only good enough to hold them. */
  readonly keyless?: true;
  /** Tells the table from others that have had its name, or will: `Column.id` is of one table. Left out where the source has no such number. */
  readonly table?: number;
  /**
   * What the source could not read, as it came: records under the table's name that have none of its columns. They are held, by whoever judges, and
   * never touch the target's table; the column `problem` says why.
   */
  readonly undecoded?: true;
}

/** What a change did. The union narrows `before` and `after`; at run time every event has one shape. */
type Change =
  | { readonly op: 'read' | 'insert'; readonly before: null; readonly after: Row }
  | { readonly op: 'update'; readonly before: Row | null; readonly after: Row }
  | { readonly op: 'delete'; readonly before: Row | null; readonly after: null }
  /** Every row of the dataset is gone. Its `key` is the empty string, and it concerns every key. */
  | { readonly op: 'truncate'; readonly before: null; readonly after: null };
export type Operation = Change['op'];

export type ChangeEvent = Change & {
  readonly dataset: Dataset;
  /** The key's cells as canonical text: equal keys are equal strings (see `keyOf`). */
  readonly key: string;
  /**
   * The key the row had before, where an update changed it; else null. Such a key move deletes the row at `movedFrom` and
   * writes the one at `key`, as one event: it is judged, applied or held whole. UNCHANGED cells are those of the row at `movedFrom`.
   */
  readonly movedFrom: string | null;
  /** The commit, and this event's place within it. A replayed event keeps both, whatever lane brings it. */
  readonly version: Version;
  readonly ordinal: number;
  readonly committedAtMs: number;
};

/** Where a lane resumes. A later checkpoint of a lane compares greater. */
export interface Checkpoint {
  readonly lane: LaneId;
  readonly position: Position;
}

/**
 * The canonical text of a key: its cells as text, in the order of `dataset.key`. One column: the text itself; several: a JSON
 * array of the texts. Bytes are written as lower-case hex.
 */
export function keyOf(dataset: Dataset, row: Row): string {
  const only = dataset.key[0];
  if (dataset.key.length === 1 && only !== undefined) return keyPart(row.value(only));
  return JSON.stringify(dataset.key.map((column) => keyPart(row.value(column))));
}

function keyPart(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex');
  return String(value);
}

/** The id of one change, wherever it turns up: holding the same event twice holds it once. */
export function eventId(event: ChangeEvent): string {
  return `${event.dataset.name}/${event.key}@${event.version}#${event.ordinal}`;
}

/** Version and ordinal as one string that sorts in the source's order: what a row's version is compared by. */
export function versionOf(event: Pick<ChangeEvent, 'version' | 'ordinal'>): string {
  return `${event.version}#${event.ordinal.toString(16).padStart(8, '0')}`;
}
