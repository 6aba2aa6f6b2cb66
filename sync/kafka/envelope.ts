/**
 * Changes as Debezium writes them: the envelope with what was before and after, keyed by the row's key. A key move is a delete of the old key, a
 * tombstone, and an insert of the new one, as Debezium has it.
 */
import { type ChangeEvent, type Dataset, partsOfName, type Row, UNCHANGED } from '../../core/event.ts';
import { placeDigits } from '../../core/position.ts';
import { type CellForms, type ConnectColumn, connectColumn } from './connect-columns.ts';
import { type ConnectSchema, type ConnectValue, Unwritable } from './connect-schema.ts';

export interface Shape {
  readonly key: StructSchema;
  readonly value: StructSchema;
  /** One for each column of the dataset. */
  readonly columns: readonly ConnectColumn[];
  /** Where the rows come from. */
  readonly place: { readonly source: string; readonly db: string; readonly schema: string; readonly table: string };
}

type StructSchema = ConnectSchema & { readonly fields: NonNullable<ConnectSchema['fields']> };
export type Struct = { readonly [field: string]: ConnectValue };

/** A record without its encoding. `value` null: a tombstone. */
export interface Written {
  readonly key: Struct | null;
  readonly value: Struct | null;
  readonly headers: Readonly<Record<string, Struct>>;
}

/** What cannot be written, for a finding: a cell, or with null for its column the whole. */
export class UnwritableCell extends Error {
  override readonly name = 'UnwritableCell';
  readonly column: string | null;
  constructor(column: string | null, message: string) {
    super(message);
    this.column = column;
  }
}

/** `name` begins the names of its schemas: the topic. `database`: of the source, where it is known. */
export function shapeOf(dataset: Dataset, name: string, forms: CellForms, database: string | null = null): Shape {
  const columns = dataset.columns.map((column) => connectColumn(column, forms));
  const isKey = (i: number): boolean => dataset.key.includes(i) && dataset.keyless !== true;
  const fields = dataset.columns.map((column, i) => {
    const schema = required(columns[i]?.schema);
    return { ...schema, optional: schema.optional && !isKey(i), field: column.name };
  });
  const row: ConnectSchema = { type: 'struct', optional: true, name: `${name}.Value`, fields };
  const { source, schema, table } = partsOfName(dataset.name);
  return {
    columns,
    place: { source, db: database ?? source, schema, table },
    key: {
      type: 'struct',
      optional: false,
      name: `${name}.Key`,
      fields: dataset.key.map((i) => ({ ...required(columns[i]?.schema), optional: false, field: dataset.columns[i]?.name ?? '' })),
    },
    value: {
      type: 'struct',
      optional: false,
      name: `${name}.Envelope`,
      version: 2,
      fields: [
        { ...row, field: 'before' },
        { ...row, field: 'after' },
        { ...SOURCE, field: 'source' },
        { ...TRANSACTION, field: 'transaction' },
        text('op'),
        long('ts_ms', true),
        long('ts_us', true),
        long('ts_ns', true),
      ],
    },
  };
}

const text = (field: string, optional = false) => ({ type: 'string', optional, field }) as const;
const long = (field: string, optional = false) => ({ type: 'int64', optional, field }) as const;
const SOURCE: ConnectSchema = {
  type: 'struct',
  optional: false,
  name: 'io.debezium.connector.postgresql.Source',
  version: 1,
  fields: [
    text('version'),
    text('connector'),
    text('name'),
    long('ts_ms'),
    {
      type: 'string',
      optional: true,
      name: 'io.debezium.data.Enum',
      version: 1,
      parameters: { allowed: 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental' },
      default: 'false',
      field: 'snapshot',
    },
    text('db'),
    text('sequence', true),
    long('ts_us', true),
    long('ts_ns', true),
    text('schema'),
    text('table'),
    long('txId', true),
    long('lsn', true),
    long('xmin', true),
    text('origin', true),
    long('origin_lsn', true),
  ],
};

const TRANSACTION: ConnectSchema = {
  type: 'struct',
  optional: true,
  name: 'event.block',
  version: 1,
  fields: [text('id'), long('total_order'), long('data_collection_order')],
};

const OPS = { read: 'r', insert: 'c', update: 'u', delete: 'd', truncate: 't' } as const;

/** The records of one change, in order: they are one whole. Throws UnwritableCell. */
export function recordsOf(event: ChangeEvent, shape: Shape, context: EnvelopeContext): readonly Written[] {
  const { dataset, op, before, after } = event;
  const row = after ?? before;
  const value = (as: keyof typeof OPS, was: Row | null, is: Row | null): Struct => envelope(event, shape, context, as, was, is, 'throw');
  if (row === null) return [{ key: null, value: value(op, null, null), headers: {} }];
  const key = keyStruct(row, dataset, shape);
  if (op === 'delete')
    return [
      { key, value: value('delete', before, null), headers: {} },
      { key, value: null, headers: {} },
    ];
  if (event.movedFrom === null || before === null || key === null) return [{ key, value: value(op, before, after), headers: {} }];
  const oldKey = structOf(before, dataset, shape, dataset.key, 'throw');
  return [
    { key: oldKey, value: value('delete', before, null), headers: { '__debezium.newkey': key } },
    { key: oldKey, value: null, headers: { '__debezium.newkey': key } },
    { key, value: value('insert', null, after), headers: { '__debezium.oldkey': oldKey } },
  ];
}

export interface EnvelopeContext {
  /** Of this service. */
  readonly version: string;
  readonly nowMs: number;
  /** Whether changes tell which place they have in their transaction. */
  readonly transactions: boolean;
}

/** A change as one record, a key move too, for people and their tools: a cell that cannot be read or written is null. */
export function shownRecord(event: ChangeEvent, shape: Shape, context: EnvelopeContext): Pick<Written, 'key' | 'value'> {
  const { op, before, after } = event;
  const row = after ?? before;
  return {
    key: row === null ? null : keyStruct(row, event.dataset, shape, 'null'),
    value: envelope(event, shape, context, op, before, after, 'null'),
  };
}

/**
 * What becomes of a cell that cannot be written. `none`: of one that the source did not send as well, for what it says of a row before is seldom more than its key. It is
 * null there, or what Debezium makes up for a column that cannot be.
 */
type OnUnwritable = 'throw' | 'null' | 'none';

function envelope(
  event: ChangeEvent,
  shape: Shape,
  { version, nowMs, transactions }: EnvelopeContext,
  op: keyof typeof OPS,
  before: Row | null,
  after: Row | null,
  onUnwritable: OnUnwritable,
): Struct {
  const { dataset } = event;
  return {
    before: before === null ? null : structOf(before, dataset, shape, null, 'none'),
    after: after === null ? null : structOf(after, dataset, shape, null, onUnwritable),
    source: sourceOf(event, shape.place, version),
    transaction: transactions ? transactionOf(event) : null,
    op: OPS[op],
    ts_ms: nowMs,
    ts_us: micros(nowMs),
    ts_ns: nanos(nowMs),
  };
}

const micros = (ms: number): number => ms * 1000;
/** More digits than a number has. */
const nanos = (ms: number): bigint | null => (Number.isFinite(ms) ? BigInt(Math.trunc(ms)) * 1_000_000n : null);

/**
 * Both places are that among all changes of the transaction: a change keeps it whenever it is written, in whatever batch or release, and numbers in between are those
 * of other tables and of what is held. A row that was read from its table is of no transaction.
 */
function transactionOf({ op, version, ordinal }: ChangeEvent): Struct | null {
  const commit = op === 'read' ? null : lsnOf(version);
  return commit === null ? null : { id: String(commit), total_order: ordinal + 1, data_collection_order: ordinal + 1 };
}

const lsnOf = (version: ChangeEvent['version']): bigint | null =>
  /^[0-9a-f]{16}/.test(version) ? BigInt(`0x${placeDigits(version)}`) : null;

function keyStruct(row: Row, dataset: Dataset, shape: Shape, onUnwritable: OnUnwritable = 'throw'): Struct | null {
  return dataset.keyless === true ? null : structOf(row, dataset, shape, dataset.key, onUnwritable);
}

function structOf(row: Row, dataset: Dataset, { columns }: Shape, only: readonly number[] | null, onUnwritable: OnUnwritable): Struct {
  const struct: Record<string, ConnectValue> = {};
  const count = only?.length ?? dataset.columns.length;
  for (let at = 0; at < count; at++) {
    const i = only?.[at] ?? at;
    const name = dataset.columns[i]?.name ?? '';
    const column = required(columns[i]);
    try {
      const value = row.value(i);
      struct[name] = onUnwritable === 'none' && (value === UNCHANGED || value === null) ? column.unknown : column.encode(value);
    } catch (error) {
      if (onUnwritable !== 'throw') {
        struct[name] = onUnwritable === 'none' ? column.unknown : null;
        continue;
      }
      if (error instanceof Unwritable) throw new UnwritableCell(name, error.message);
      if (error instanceof RangeError) throw new UnwritableCell(name, 'cannot be read');
      throw error;
    }
  }
  return struct;
}

function sourceOf({ op, version, committedAtMs }: ChangeEvent, { source, db, schema, table }: Shape['place'], tidegate: string): Struct {
  return {
    version: tidegate,
    connector: 'postgresql',
    name: source,
    ts_ms: committedAtMs,
    snapshot: op === 'read' ? 'true' : 'false',
    db,
    sequence: null,
    ts_us: micros(committedAtMs),
    ts_ns: nanos(committedAtMs),
    schema,
    table,
    txId: null,
    lsn: lsnOf(version),
    xmin: null,
    origin: null,
    origin_lsn: null,
  };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError('a dataset has a column for each of its cells');
  return value;
}

/** As JsonConverter writes it: whole numbers with all their digits, bytes as base64, what is no number as text. */
export function jsonOf(value: ConnectValue): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Number.isFinite(value) ? (Object.is(value, -0) ? '-0.0' : String(value)) : `"${value}"`;
  if (typeof value === 'string') return JSON.stringify(value);
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString('base64')}"`;
  if (isList(value)) return `[${value.map(jsonOf).join(',')}]`;
  const fields = Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}:${jsonOf(one)}`);
  return `{${fields.join(',')}}`;
}

const isList = (value: ConnectValue): value is readonly ConnectValue[] => Array.isArray(value);
