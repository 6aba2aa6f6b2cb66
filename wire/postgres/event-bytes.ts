/**
 * A change as bytes that lose nothing, for the quarantine: a header in JSON (the dataset as it looked then, key, version, types), then the
 * cells of both rows as the source encoded them, or as tagged values where they were not encoded. The first byte is the format's version.
 */
import { CELL_NULL, type ChangeEvent, type Dataset, type Row, UNCHANGED, type Value, ValueRow, versionOf } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import { type PgColumnType, type PgRelation, PgRow } from './row.ts';
import { builtinType, type PgType, type PgTypeTree, rawBytes, treeOf, typeOf } from './types.ts';

const FORMAT = 1;

interface PackedColumn {
  readonly oid: number;
  readonly typmod: number;
  readonly format: 'binary' | 'text';
  readonly type: PgTypeTree | null;
}

interface Header {
  readonly op: ChangeEvent['op'];
  readonly dataset: Dataset;
  readonly key: string;
  readonly movedFrom: string | null;
  readonly version: ChangeEvent['version'];
  readonly ordinal: number;
  readonly committedAtMs: number;
  readonly before: 'none' | 'encoded' | 'values';
  readonly after: 'none' | 'encoded' | 'values';
  /** Of the encoded rows; null where there is none. */
  readonly types: readonly PackedColumn[] | null;
}

/** Lossless: `unpackEvent` gives an event whose rows read the same and, where they were encoded, hold the same bytes. */
export function packEvent(event: ChangeEvent): Buffer {
  const encoded = event.after instanceof PgRow ? event.after : event.before instanceof PgRow ? event.before : null;
  const header: Header = {
    op: event.op,
    dataset: event.dataset,
    key: event.key,
    movedFrom: event.movedFrom,
    version: event.version,
    ordinal: event.ordinal,
    committedAtMs: event.committedAtMs,
    before: formOf(event.before),
    after: formOf(event.after),
    types:
      encoded === null
        ? null
        : encoded.relation.types.map((type) => ({
            oid: type.oid,
            typmod: type.typmod,
            format: type.format,
            type: type.type === undefined ? null : treeOf(type.type),
          })),
  };
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(5);
  head[0] = FORMAT;
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json, packRow(event.before, event.dataset), packRow(event.after, event.dataset)]);
}

/** Datasets met so far, so that events of one dataset share one object: what is compiled for it is compiled once. */
export type EventFamilies = Map<string, { readonly dataset: Dataset; readonly relation: PgRelation | null }>;

/** What is known by now of the columns of an event's dataset, as it was at its version (`versionOf`). */
export type DatasetThen = (dataset: Dataset, version: string) => Dataset;

/** Throws BUG for bytes that `packEvent` did not make. */
export function unpackEvent(
  packed: Uint8Array,
  families: EventFamilies = new Map(),
  then: DatasetThen = (dataset) => dataset,
): ChangeEvent {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  if (bytes[0] !== FORMAT) throw new PipelineError('BUG', `a held event has format ${bytes[0]}, this version reads ${FORMAT}`);
  const length = bytes.readUInt32BE(1);
  const header = JSON.parse(bytes.toString('utf8', 5, 5 + length)) as Header; // Written by packEvent.
  const { dataset, relation } = familyOf({ dataset: then(header.dataset, versionOf(header)), types: header.types }, families);
  const reader = { bytes, at: 5 + length };
  const before = unpackRow(header.before, reader, dataset, relation);
  const after = unpackRow(header.after, reader, dataset, relation);
  const { op, key, movedFrom, version, ordinal, committedAtMs } = header;
  return { op, before, after, dataset, key, movedFrom, version, ordinal, committedAtMs } as ChangeEvent; // op and rows were consistent when it was packed.
}

function familyOf(
  { dataset, types }: Pick<Header, 'dataset' | 'types'>,
  families: EventFamilies,
): { dataset: Dataset; relation: PgRelation | null } {
  const name = JSON.stringify([dataset, types]);
  const known = families.get(name);
  if (known !== undefined) return known;
  const made = { dataset, relation: types === null ? null : { dataset, types: types.map(unpackType) } };
  families.set(name, made);
  return made;
}

function unpackType(packed: PackedColumn): PgColumnType {
  const type: PgType | undefined = packed.type === null ? builtinType(packed.oid) : typeOf(packed.type);
  const decode = packed.format === 'text' ? textCell : (type?.decode ?? rawBytes);
  return { oid: packed.oid, typmod: packed.typmod, format: packed.format, decode, ...(type === undefined ? {} : { type }) };
}

const textCell = (bytes: Buffer, offset: number, length: number): string => bytes.toString('utf8', offset, offset + length);

const formOf = (row: Row | null): Header['after'] => (row === null ? 'none' : row instanceof PgRow ? 'encoded' : 'values');

function packRow(row: Row | null, dataset: Dataset): Buffer {
  if (row === null) return Buffer.alloc(0);
  const parts: Buffer[] = [];
  for (let column = 0; column < dataset.columns.length; column++) {
    const length = Buffer.alloc(4);
    if (row instanceof PgRow) {
      const at = row.cells[row.at + 2 * column] ?? 0;
      const size = row.cells[row.at + 2 * column + 1] ?? CELL_NULL;
      length.writeInt32BE(size);
      parts.push(length);
      if (size > 0) parts.push(row.bytes.subarray(at, at + size));
    } else {
      const cell = packValue(row.value(column));
      length.writeInt32BE(cell.length);
      parts.push(length, cell);
    }
  }
  return Buffer.concat(parts);
}

function unpackRow(
  form: Header['after'],
  reader: { bytes: Buffer; at: number },
  dataset: Dataset,
  relation: PgRelation | null,
): Row | null {
  if (form === 'none') return null;
  const count = dataset.columns.length;
  const cells = new Int32Array(2 * count);
  const values: Value[] = [];
  for (let column = 0; column < count; column++) {
    const size = reader.bytes.readInt32BE(reader.at);
    reader.at += 4;
    cells[2 * column] = reader.at;
    cells[2 * column + 1] = size;
    if (form === 'values') values.push(unpackValue(reader.bytes.subarray(reader.at, reader.at + size)));
    if (size > 0) reader.at += size;
  }
  if (form === 'values') return new ValueRow(...values);
  if (relation === null) throw new PipelineError('BUG', 'a held event has encoded cells and no types');
  return new PgRow(relation, reader.bytes, cells, 0);
}

/** A tag byte and the value's text or bytes: n null, u unchanged, t / f, d number, i bigint, s string, b bytes. */
function packValue(value: Value): Buffer {
  if (value === null) return Buffer.from('n');
  if (value === UNCHANGED) return Buffer.from('u');
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.from('b'), value]);
  if (typeof value === 'boolean') return Buffer.from(value ? 't' : 'f');
  if (typeof value === 'number') return Buffer.from(`d${Object.is(value, -0) ? '-0' : String(value)}`);
  return Buffer.from(typeof value === 'bigint' ? `i${value}` : `s${value}`);
}

function unpackValue(bytes: Buffer): Value {
  const body = (): string => bytes.toString('utf8', 1);
  switch (String.fromCharCode(bytes[0] ?? 0)) {
    case 'n':
      return null;
    case 'u':
      return UNCHANGED;
    case 't':
      return true;
    case 'f':
      return false;
    case 'd':
      return Number(body());
    case 'i':
      return BigInt(body());
    case 's':
      return body();
    case 'b':
      return Buffer.from(bytes.subarray(1));
    default:
      throw new PipelineError('BUG', 'a held event has a cell of an unknown kind');
  }
}
