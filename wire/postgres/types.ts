/**
 * The binary formats of PostgreSQL's types, and how a cell in them is read. Formats: the `…_send` functions in PostgreSQL's
 * src/backend/utils/adt; texts: their `…_out` functions with DateStyle ISO, IntervalStyle postgres and TimeZone UTC.
 */
import type { CellReaders, ColumnType, ReadCellNumber, Value } from '../../core/event.ts';
import type { PgConnection } from './connection.ts';
import { dateMicros, int2Number, int4Number, int8Number, numericNumber, oidNumber, timestampMicros } from './numbers.ts';
import { dateText, intervalText, timestampText, timeText, timetzText } from './types-time.ts';
import { numericText } from './types-numeric.ts';

export type Decode = (bytes: Buffer, offset: number, length: number) => Value;

/** What a type is on one server. */
export interface PgType extends CellReaders {
  readonly oid: number;
  /** Schema and name as the catalog has them: pg_catalog, int4. */
  readonly schema: string;
  readonly name: string;
  /** typtype: b base, c composite, d domain, e enum, r range, m multirange, p pseudo. */
  readonly kind: 'b' | 'c' | 'd' | 'e' | 'r' | 'm' | 'p';
  /** The element type of an array, the base type of a domain, the subtype of a range; else null. */
  readonly inner: PgType | null;
  readonly isArray: boolean;
  /** Fields of a composite, in order, dropped ones left out. */
  readonly fields: readonly { readonly name: string; readonly type: PgType }[];
  readonly delimiter: string;
  /** What rules go by. */
  readonly columnType: ColumnType;
  /** Whether there is a codec. Without one the bytes are passed on, and rules see them as they are. */
  readonly readable: boolean;
  readonly decode: Decode;
}

const text: Decode = (bytes, offset, length) => bytes.toString('utf8', offset, offset + length);
const int4: Decode = (bytes, offset) => bytes.readInt32BE(offset);
const oid: Decode = (bytes, offset) => bytes.readUInt32BE(offset);
const int8: Decode = (bytes, offset) => {
  const high = bytes.readInt32BE(offset);
  const low = bytes.readUInt32BE(offset + 4);
  if (high >= -0x200000 && high < 0x200000) {
    const value = high * 0x1_0000_0000 + low;
    if (Number.isSafeInteger(value)) return value;
  }
  return (BigInt(high) << 32n) | BigInt(low);
};
const uuid: Decode = (bytes, offset) => {
  const hex = bytes.toString('hex', offset, offset + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};
const bits: Decode = (bytes, offset) => {
  const count = bytes.readInt32BE(offset);
  let digits = '';
  for (let i = 0; i < count; i++) digits += ((bytes[offset + 4 + (i >> 3)] ?? 0) >> (7 - (i & 7))) & 1;
  return digits;
};
const macaddr: Decode = (bytes, offset, length) =>
  Array.from({ length }, (_, i) => bytes.toString('hex', offset + i, offset + i + 1)).join(':');
const lsn: Decode = (bytes, offset) =>
  `${bytes.readUInt32BE(offset).toString(16).toUpperCase()}/${bytes
    .readUInt32BE(offset + 4)
    .toString(16)
    .toUpperCase()}`;
const versioned: Decode = (bytes, offset, length) => bytes.toString('utf8', offset + 1, offset + length); // jsonb, jsonpath: a version byte first

/** inet and cidr: family, prefix length, is_cidr, address length, address. */
const inet: Decode = (bytes, offset) => {
  const prefix = bytes[offset + 1] ?? 0;
  const isCidr = bytes[offset + 2] === 1;
  const size = bytes[offset + 3] ?? 0;
  const address = bytes.subarray(offset + 4, offset + 4 + size);
  const shown = size === 4 ? address.join('.') : ipv6Text(address);
  return isCidr || prefix !== size * 8 ? `${shown}/${prefix}` : shown;
};

/** RFC 5952 with PostgreSQL's own habits: the longest run of zero groups as `::`, an embedded IPv4 address written out. */
function ipv6Text(address: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { at: i, length: j - i };
  }
  const embedded = best.at === 0 && (best.length === 6 || (best.length === 5 && groups[5] === 0xffff));
  const shown = embedded ? groups.slice(0, 6) : groups;
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  let result = best.at < 0 ? hex(shown) : `${hex(shown.slice(0, best.at))}::${hex(shown.slice(best.at + best.length))}`;
  if (embedded) result += `${result.endsWith(':') ? '' : ':'}${address.subarray(12).join('.')}`;
  return result;
}

/** The shortest text that reads back as the same float4, as the server writes it. */
export function float4Number(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

const float4: Decode = (bytes, offset) => float4Number(bytes.readFloatBE(offset));
const float8: Decode = (bytes, offset) => bytes.readDoubleBE(offset);
const int2: Decode = (bytes, offset) => bytes.readInt16BE(offset);
const date: Decode = (bytes, offset) => dateText(bytes.readInt32BE(offset));
const time: Decode = (bytes, offset) => timeText(bytes.readBigInt64BE(offset));
const timestamp: Decode = (bytes, offset) => timestampText(bytes.readBigInt64BE(offset), '');
const timestamptz: Decode = (bytes, offset) => timestampText(bytes.readBigInt64BE(offset), '+00');

/** What can be read off the bytes that a decoder decodes, so that domains and enums have it too. */
const NUMBERS = new Map<Decode, ReadCellNumber>([
  [int2, int2Number],
  [int4, int4Number],
  [int8, int8Number],
  [oid, oidNumber],
  [numericText, numericNumber],
]);
const MICROS = new Map<Decode, ReadCellNumber>([
  [date, dateMicros],
  [time, timestampMicros],
  [timestamp, timestampMicros],
  [timestamptz, timestampMicros],
]);

function readersOf(decode: Decode): CellReaders {
  return { number: NUMBERS.get(decode) ?? null, micros: MICROS.get(decode) ?? null, isText: decode === text };
}

type Builtin = readonly [oid: number, name: string, type: ColumnType, decode: Decode];
const BUILTINS: readonly Builtin[] = [
  [16, 'bool', 'boolean', (bytes, offset) => bytes[offset] === 1],
  [17, 'bytea', 'bytes', (bytes, offset, length) => Buffer.from(bytes.subarray(offset, offset + length))],
  [18, 'char', 'text', text],
  [19, 'name', 'text', text],
  [20, 'int8', 'integer', int8],
  [21, 'int2', 'integer', int2],
  [23, 'int4', 'integer', int4],
  [25, 'text', 'text', text],
  [26, 'oid', 'integer', oid],
  [28, 'xid', 'integer', oid],
  [114, 'json', 'json', text],
  [142, 'xml', 'text', text],
  [650, 'cidr', 'text', inet],
  [700, 'float4', 'float', float4],
  [701, 'float8', 'float', float8],
  [705, 'unknown', 'text', text],
  [774, 'macaddr8', 'text', macaddr],
  [829, 'macaddr', 'text', macaddr],
  [869, 'inet', 'text', inet],
  [1042, 'bpchar', 'text', text],
  [1043, 'varchar', 'text', text],
  [1082, 'date', 'date', date],
  [1083, 'time', 'time', time],
  [1114, 'timestamp', 'timestamp', timestamp],
  [1184, 'timestamptz', 'timestamp', timestamptz],
  [
    1186,
    'interval',
    'other',
    (bytes, offset) => intervalText(bytes.readBigInt64BE(offset), bytes.readInt32BE(offset + 8), bytes.readInt32BE(offset + 12)),
  ],
  [1266, 'timetz', 'time', (bytes, offset) => timetzText(bytes.readBigInt64BE(offset), bytes.readInt32BE(offset + 8))],
  [1560, 'bit', 'text', bits],
  [1562, 'varbit', 'text', bits],
  [1700, 'numeric', 'decimal', numericText],
  [2950, 'uuid', 'text', uuid],
  [3220, 'pg_lsn', 'text', lsn],
  [3802, 'jsonb', 'json', versioned],
  [4072, 'jsonpath', 'text', versioned],
];

const builtins = new Map(BUILTINS.map(([typeOid, name, type, decode]) => [typeOid, base(typeOid, 'pg_catalog', name, type, decode)]));

/** A built-in scalar type by its OID, which every server has; undefined for all others. */
export function builtinType(typeOid: number): PgType | undefined {
  return builtins.get(typeOid);
}

function base(typeOid: number, schema: string, name: string, columnType: ColumnType, decode: Decode): PgType {
  return {
    oid: typeOid,
    schema,
    name,
    kind: 'b',
    inner: null,
    isArray: false,
    fields: [],
    delimiter: ',',
    columnType,
    readable: true,
    decode,
    ...readersOf(decode),
  };
}

/**
 * Describes types by OID as one server's catalog has them now, with everything inside them (elements, base types, fields). An OID that
 * is gone is left out. One or two queries, whatever the number of types.
 */
export async function describeTypes(connection: PgConnection, oids: Iterable<number>): Promise<ReadonlyMap<number, PgType>> {
  const found = new Map<number, PgType>();
  const unknown = [...new Set(oids)].filter((typeOid) => {
    const known = builtins.get(typeOid);
    if (known !== undefined) found.set(typeOid, known);
    return known === undefined;
  });
  if (unknown.length === 0) return found;
  const { rows } = await connection.query(
    `with recursive wanted(oid) as (
       select unnest($1::oid[])
       union
       select inner_oid from wanted w join pg_type t on t.oid = w.oid
       left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
       cross join lateral (
         select t.typelem where t.typelem <> 0 union all select t.typbasetype where t.typbasetype <> 0
         union all select r.rngsubtype where t.typtype = 'r' union all select r.rngtypid where t.typtype = 'm'
         union all select a.atttypid from pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
       ) i(inner_oid))
     select t.oid, n.nspname, t.typname, t.typtype,
       case when t.typtype = 'd' then t.typbasetype when t.typtype = 'r' then r.rngsubtype when t.typtype = 'm' then r.rngtypid else t.typelem end,
       t.typcategory = 'A' and t.typelem <> 0 and t.typlen = -1, t.typdelim,
       (select json_agg(json_build_array(a.attname, a.atttypid::int8) order by a.attnum) from pg_attribute a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
     from (select distinct oid from wanted) w join pg_type t on t.oid = w.oid join pg_namespace n on n.oid = t.typnamespace
     left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)`,
    [`{${unknown.join(',')}}`],
  );
  const raw = new Map(rows.map((row) => [Number(row[0]), row]));
  const build = (typeOid: number, depth: number): PgType | undefined => {
    const known = builtins.get(typeOid) ?? found.get(typeOid);
    if (known !== undefined) return known;
    const row = raw.get(typeOid);
    if (row === undefined || depth > 16) return undefined;
    const [, schema, name, kind, innerOid, isArray, delimiter, fieldsJson] = row;
    const inner = Number(innerOid) === 0 ? undefined : build(Number(innerOid), depth + 1);
    const fieldList = (fieldsJson === null || fieldsJson === undefined ? [] : JSON.parse(fieldsJson)) as [string, number][]; // Made by the query above.
    const fields = fieldList.flatMap(([fieldName, fieldOid]) => {
      const type = build(fieldOid, depth + 1);
      return type === undefined ? [] : [{ name: fieldName, type }];
    });
    const type = derive(
      {
        oid: typeOid,
        schema: schema ?? '',
        name: name ?? '',
        kind: (kind ?? 'b') as PgType['kind'],
        inner: inner ?? null,
        isArray: isArray === 't',
        fields,
        delimiter: delimiter ?? ',',
      },
      fields.length === fieldList.length,
    );
    found.set(typeOid, type);
    return type;
  };
  for (const typeOid of unknown) build(typeOid, 0);
  return found;
}

function derive(shape: Omit<PgType, 'columnType' | 'readable' | 'decode' | keyof CellReaders>, whole: boolean): PgType {
  const { inner } = shape;
  const readable = (columnType: ColumnType, decode: Decode): PgType => ({
    ...shape,
    columnType,
    readable: true,
    decode,
    ...readersOf(decode),
  });
  if (shape.kind === 'e') return readable('text', text);
  if (inner?.readable === true) {
    if (shape.kind === 'd') return readable(inner.columnType, inner.decode);
    if (shape.isArray) return readable('other', arrayDecoder(inner, shape.delimiter));
    if (shape.kind === 'r') return readable('other', rangeDecoder(inner));
    if (shape.kind === 'm') return readable('other', multirangeDecoder(inner));
  }
  if (shape.kind === 'c' && whole && shape.fields.every(({ type }) => type.readable)) {
    return readable('other', compositeDecoder(shape.fields.map(({ type }) => type)));
  }
  if (shape.name === 'citext') return readable('text', text);
  if (shape.name === 'ltree' || shape.name === 'lquery') return readable('text', versioned);
  return { ...shape, columnType: 'other', readable: false, decode: rawBytes, ...readersOf(rawBytes) };
}

/** A value inside an array, range or composite, as the server's text has it before quoting. */
function innerText(type: PgType, bytes: Buffer, offset: number, length: number): string {
  const value = type.decode(bytes, offset, length);
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (typeof value === 'number' && Object.is(value, -0)) return '-0';
  return typeof value === 'number' ? numberText(value) : String(value);
}

/** A float as the server prints it: like JavaScript, but with the exponent at two digits and its own words for the specials. */
function numberText(value: number): string {
  const shown = String(value);
  const exponent = /^(.*)e([+-])(\d+)$/.exec(shown);
  if (exponent === null) return shown;
  return `${exponent[1]}e${exponent[2]}${(exponent[3] ?? '').padStart(2, '0')}`;
}

/** ndim, flags, element OID, per dimension its length and lower bound, then the elements. Text as array_out writes it. */
function arrayDecoder(element: PgType, delimiter: string): Decode {
  return (bytes, start) => {
    const dimensions = bytes.readInt32BE(start);
    if (dimensions === 0) return '{}';
    const lengths: number[] = [];
    const lowers: number[] = [];
    let at = start + 12;
    for (let i = 0; i < dimensions; i++, at += 8) {
      lengths.push(bytes.readInt32BE(at));
      lowers.push(bytes.readInt32BE(at + 4));
    }
    const level = (depth: number): string => {
      const parts: string[] = [];
      for (let i = lengths[depth] ?? 0; i > 0; i--) {
        if (depth + 1 < dimensions) parts.push(level(depth + 1));
        else {
          const length = bytes.readInt32BE(at);
          at += 4;
          if (length < 0) parts.push('NULL');
          else {
            parts.push(quoteElement(innerText(element, bytes, at, length), delimiter));
            at += length;
          }
        }
      }
      return `{${parts.join(delimiter)}}`;
    };
    const bounds = lowers.every((lower) => lower === 1)
      ? ''
      : `${lowers.map((lower, i) => `[${lower}:${lower + (lengths[i] ?? 0) - 1}]`).join('')}=`;
    return bounds + level(0);
  };
}

function quoteElement(shown: string, delimiter: string): string {
  const quote = shown === '' || shown.toUpperCase() === 'NULL' || /["\\{}\s]/.test(shown) || shown.includes(delimiter);
  return quote ? `"${shown.replaceAll(/["\\]/g, '\\$&')}"` : shown;
}

/** A flags byte (1 empty, 2 lower inclusive, 4 upper inclusive, 8 lower infinite, 16 upper infinite), then the bounds with their lengths. */
function rangeDecoder(subtype: PgType): Decode {
  return (bytes, start) => {
    const flags = bytes[start] ?? 0;
    if ((flags & 1) !== 0) return 'empty';
    let at = start + 1;
    const bound = (infinite: number): string => {
      if ((flags & infinite) !== 0) return '';
      const length = bytes.readInt32BE(at);
      const shown = innerText(subtype, bytes, at + 4, length);
      at += 4 + length;
      return shown === '' || /["\\()[\],\s]/.test(shown) ? `"${shown.replaceAll(/["\\]/g, '$&$&')}"` : shown;
    };
    const lower = bound(8);
    const upper = bound(16);
    return `${(flags & 2) === 0 ? '(' : '['}${lower},${upper}${(flags & 4) === 0 ? ')' : ']'}`;
  };
}

function multirangeDecoder(range: PgType): Decode {
  return (bytes, start) => {
    const parts: string[] = [];
    let at = start + 4;
    for (let i = bytes.readInt32BE(start); i > 0; i--) {
      const length = bytes.readInt32BE(at);
      parts.push(innerText(range, bytes, at + 4, length));
      at += 4 + length;
    }
    return `{${parts.join(',')}}`;
  };
}

/** Field count, then per field its OID, length and bytes. Text as record_out writes it. */
function compositeDecoder(fields: readonly PgType[]): Decode {
  return (bytes, start) => {
    const parts: string[] = [];
    let at = start + 4;
    for (const field of fields) {
      const length = bytes.readInt32BE(at + 4);
      at += 8;
      if (length < 0) {
        parts.push('');
        continue;
      }
      const shown = innerText(field, bytes, at, length);
      at += length;
      parts.push(shown === '' || /["\\(),\s]/.test(shown) ? `"${shown.replaceAll(/["\\]/g, '$&$&')}"` : shown);
    }
    return `(${parts.join(',')})`;
  };
}

/** A type as plain JSON: what has to be kept beside cells so that they can be read later. Built-in scalars are their OID. */
export type PgTypeTree =
  | number
  | (Pick<PgType, 'oid' | 'schema' | 'name' | 'kind' | 'isArray' | 'delimiter'> & {
      readonly inner: PgTypeTree | null;
      readonly fields: readonly { readonly name: string; readonly type: PgTypeTree }[];
    });

export function treeOf(type: PgType): PgTypeTree {
  if (builtins.has(type.oid)) return type.oid;
  const { oid: typeOid, schema, name, kind, isArray, delimiter } = type;
  const fields = type.fields.map((field) => ({ name: field.name, type: treeOf(field.type) }));
  return { oid: typeOid, schema, name, kind, isArray, delimiter, inner: type.inner === null ? null : treeOf(type.inner), fields };
}

/** The inverse of `treeOf`. */
export function typeOf(tree: PgTypeTree): PgType {
  if (typeof tree === 'number') return builtins.get(tree) ?? base(tree, 'pg_catalog', String(tree), 'other', rawBytes);
  const fields = tree.fields.map((field) => ({ name: field.name, type: typeOf(field.type) }));
  return derive({ ...tree, inner: tree.inner === null ? null : typeOf(tree.inner), fields }, true);
}

/** Raw bytes of a cell nobody can read: what a rule sees of a type without a codec. */
export function rawBytes(bytes: Buffer, offset: number, length: number): Value {
  return Buffer.from(bytes.subarray(offset, offset + length));
}
