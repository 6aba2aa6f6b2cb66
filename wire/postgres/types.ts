/**
 * The binary formats of PostgreSQL's types, and how a cell in them is read. Formats: the `…_send` functions in PostgreSQL's
 * src/backend/utils/adt; texts: their `…_out` functions with DateStyle ISO, IntervalStyle postgres and TimeZone UTC.
 */
import type { CellForm, CellReaders, ColumnType, ReadCellNumber, Value } from '../../core/event.ts';
import type { Asking } from './kept-statements.ts';
import { dateMicros, int2Number, int4Number, int8Number, numericNumber, oidNumber, timestampMicros } from './numbers.ts';
import { EXTENSION_TYPES } from './types-extension.ts';
import { boxText, circleText, lineText, lsegText, pathText, pointText, polygonText } from './types-geometric.ts';
import { arrayDecoder, compositeDecoder, multirangeDecoder, rangeDecoder, vectorDecoder } from './types-nested.ts';
import { inetText, macaddrText } from './types-network.ts';
import { float4, float4Text, float8, float8Text, int2, int4, int8, moneyDecoder, oid, xid8 } from './types-number.ts';
import { numericText } from './types-numeric.ts';
import { tsqueryText, tsvectorText } from './types-search.ts';
import { afterVersion, bitsText, charText, type DecodeText, lsnText, snapshotText, tidText, utf8, uuidText } from './types-text.ts';
import { dateText, intervalText, timestampText, timeText, timetzText } from './types-time.ts';

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
  /** Of money: how many of its digits are a fraction. */
  readonly scale?: number | undefined;
  /** Whether the server can send values in binary: it can not where the type, or one inside it, has no such form. */
  readonly isSendable: boolean;
  /** What rules go by. */
  readonly columnType: ColumnType;
  /** Whether there is a codec. Without one the bytes are passed on, and rules see them as they are. */
  readonly readable: boolean;
  readonly decode: Decode;
  /** The value as the server's text has it, for values that hold this one. Of money, whose text depends on the locale, the plain number. */
  readonly text: DecodeText;
}

const BOX = 603;
const MONEY = 790;
const MONEY_SCALE = 2;

const date: DecodeText = (bytes, offset) => dateText(bytes.readInt32BE(offset));
const time: DecodeText = (bytes, offset) => timeText(bytes.readBigInt64BE(offset));
const timetz: DecodeText = (bytes, offset) => timetzText(bytes.readBigInt64BE(offset), bytes.readInt32BE(offset + 8));
const timestamp: DecodeText = (bytes, offset) => timestampText(bytes.readBigInt64BE(offset), '');
const timestamptz: DecodeText = (bytes, offset) => timestampText(bytes.readBigInt64BE(offset), '+00');
const bool: Decode = (bytes, offset) => bytes[offset] === 1;
const interval: DecodeText = (bytes, offset) =>
  intervalText(bytes.readBigInt64BE(offset), bytes.readInt32BE(offset + 8), bytes.readInt32BE(offset + 12));

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
const FORMS = new Map<Decode, CellForm>([
  [int2, 'int2'],
  [int4, 'int4'],
  [int8, 'int8'],
  [float8, 'float8'],
  [timestamp, 'timestamp'],
  [timestamptz, 'timestamp'],
  [date, 'date'],
  [time, 'time'],
  [numericText, 'numeric'],
  [bool, 'bool'],
  [utf8, 'text'],
  [uuidText, 'uuid'],
]);

function readersOf(decode: Decode): CellReaders {
  return {
    number: NUMBERS.get(decode) ?? null,
    micros: MICROS.get(decode) ?? null,
    isText: decode === utf8,
    form: FORMS.get(decode) ?? null,
  };
}

/** Types that name an object by its number: regclass and its like. The number is the source's, so no other server knows what it means. */
export const OBJECT_TYPES: ReadonlySet<number> = new Set([24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 8326]);

type Builtin = readonly [oid: number, name: string, type: ColumnType, decode: Decode, text?: DecodeText];
const BUILTINS: readonly Builtin[] = [
  [16, 'bool', 'boolean', bool],
  [17, 'bytea', 'bytes', (bytes, offset, length) => Buffer.from(bytes.subarray(offset, offset + length))],
  [18, 'char', 'text', charText],
  [19, 'name', 'text', utf8],
  [20, 'int8', 'integer', int8],
  [21, 'int2', 'integer', int2],
  [22, 'int2vector', 'other', vectorDecoder(2)],
  [23, 'int4', 'integer', int4],
  [24, 'regproc', 'integer', oid],
  [25, 'text', 'text', utf8],
  [26, 'oid', 'integer', oid],
  [27, 'tid', 'other', tidText],
  [28, 'xid', 'integer', oid],
  [29, 'cid', 'integer', oid],
  [30, 'oidvector', 'other', vectorDecoder(4)],
  [114, 'json', 'json', utf8],
  [142, 'xml', 'text', utf8],
  [600, 'point', 'other', pointText],
  [601, 'lseg', 'other', lsegText],
  [602, 'path', 'other', pathText],
  [603, 'box', 'other', boxText],
  [604, 'polygon', 'other', polygonText],
  [628, 'line', 'other', lineText],
  [650, 'cidr', 'text', inetText],
  [700, 'float4', 'float', float4, float4Text],
  [701, 'float8', 'float', float8, float8Text],
  [705, 'unknown', 'text', utf8],
  [718, 'circle', 'other', circleText],
  [774, 'macaddr8', 'text', macaddrText],
  [790, 'money', 'decimal', moneyDecoder(2)],
  [829, 'macaddr', 'text', macaddrText],
  [869, 'inet', 'text', inetText],
  [1042, 'bpchar', 'text', utf8],
  [1043, 'varchar', 'text', utf8],
  [1082, 'date', 'date', date],
  [1083, 'time', 'time', time],
  [1114, 'timestamp', 'timestamp', timestamp],
  [1184, 'timestamptz', 'timestamp', timestamptz],
  [1186, 'interval', 'other', interval],
  [1266, 'timetz', 'time', timetz],
  [1560, 'bit', 'text', bitsText],
  [1562, 'varbit', 'text', bitsText],
  [1700, 'numeric', 'decimal', numericText],
  [1790, 'refcursor', 'text', utf8],
  [2202, 'regprocedure', 'integer', oid],
  [2203, 'regoper', 'integer', oid],
  [2204, 'regoperator', 'integer', oid],
  [2205, 'regclass', 'integer', oid],
  [2206, 'regtype', 'integer', oid],
  [2950, 'uuid', 'text', uuidText],
  [2970, 'txid_snapshot', 'other', snapshotText],
  [3220, 'pg_lsn', 'text', lsnText],
  [3614, 'tsvector', 'other', tsvectorText],
  [3615, 'tsquery', 'other', tsqueryText],
  [3734, 'regconfig', 'integer', oid],
  [3769, 'regdictionary', 'integer', oid],
  [3802, 'jsonb', 'json', afterVersion],
  [4072, 'jsonpath', 'text', afterVersion],
  [4089, 'regnamespace', 'integer', oid],
  [4096, 'regrole', 'integer', oid],
  [4191, 'regcollation', 'integer', oid],
  [5038, 'pg_snapshot', 'other', snapshotText],
  [5069, 'xid8', 'other', xid8],
];

const builtins = new Map(BUILTINS.map(([typeOid, ...rest]) => [typeOid, base(typeOid, ...rest)]));

/** A built-in scalar type by its OID, which every server has; undefined for all others. */
export function builtinType(typeOid: number): PgType | undefined {
  return builtins.get(typeOid);
}

function base(typeOid: number, name: string, columnType: ColumnType, decode: Decode, asText: DecodeText = textBy(decode)): PgType {
  return {
    oid: typeOid,
    schema: 'pg_catalog',
    name,
    kind: 'b',
    inner: null,
    isArray: false,
    fields: [],
    delimiter: typeOid === BOX ? ';' : ',',
    isSendable: true,
    columnType,
    readable: true,
    decode,
    text: asText,
    ...readersOf(decode),
  };
}

/** money of a server with an uncommon lc_monetary. */
function moneyType(scale: number): PgType {
  return scale === MONEY_SCALE ? (builtins.get(MONEY) as PgType) : { ...base(MONEY, 'money', 'decimal', moneyDecoder(scale)), scale };
}

/** The text of what has none of its own. */
function textBy(decode: Decode): DecodeText {
  return (bytes, offset, length) => {
    const value = decode(bytes, offset, length);
    if (typeof value === 'boolean') return value ? 't' : 'f';
    return value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : String(value);
  };
}

/** The types that `select` finds and all that is inside them (elements, base types, fields), as `wanted (oid)` of the statement that follows. */
export const withInnerTypes = (select: string): string => `with recursive wanted(oid) as (
       ${select}
       union
       select inner_oid from wanted w join pg_catalog.pg_type t on t.oid = w.oid
       left join pg_catalog.pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
       cross join lateral (
         select t.typelem where t.typelem <> 0 union all select t.typbasetype where t.typbasetype <> 0
         union all select r.rngsubtype where t.typtype = 'r' union all select r.rngtypid where t.typtype = 'm'
         union all select a.atttypid from pg_catalog.pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
       ) i(inner_oid))`;

/**
 * Describes types by OID as one server's catalog has them now, with everything inside them (elements, base types, fields). An OID that
 * is gone is left out. At most two queries, whatever the number of types.
 */
export async function describeTypes(connection: Asking, oids: Iterable<number>): Promise<ReadonlyMap<number, PgType>> {
  const found = new Map<number, PgType>();
  const unknown = [...new Set(oids)].filter((typeOid) => {
    const known = typeOid === MONEY ? undefined : builtins.get(typeOid);
    if (known !== undefined) found.set(typeOid, known);
    return known === undefined;
  });
  if (unknown.length === 0) return found;
  const { rows } = await connection.query(
    `${withInnerTypes('select unnest($1::oid[])')}
     select t.oid, n.nspname, t.typname, t.typtype,
       case when t.typtype = 'd' then t.typbasetype when t.typtype = 'r' then r.rngsubtype when t.typtype = 'm' then r.rngtypid else t.typelem end,
       exists (select from pg_type e where e.oid = t.typelem and e.typarray = t.oid), t.typdelim,
       (select json_agg(json_build_array(a.attname, a.atttypid::int8) order by a.attnum) from pg_attribute a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped),
       t.typsend <> 0
     from (select distinct oid from wanted) w join pg_type t on t.oid = w.oid join pg_namespace n on n.oid = t.typnamespace
     left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)`,
    [`{${unknown.join(',')}}`],
  );
  const raw = new Map(rows.map((row) => [Number(row[0]), row]));
  if (raw.has(MONEY)) found.set(MONEY, moneyType(await moneyScale(connection)));
  const build = (typeOid: number, depth: number): PgType | undefined => {
    const known = found.get(typeOid) ?? builtins.get(typeOid);
    if (known !== undefined) return known;
    const row = raw.get(typeOid);
    if (row === undefined || depth > 16) return undefined;
    const [, schema, name, kind, innerOid, isArray, delimiter, fieldsJson, isSendable] = row;
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
      isSendable === 't',
      fields.length === fieldList.length,
    );
    found.set(typeOid, type);
    return type;
  };
  for (const typeOid of unknown) build(typeOid, 0);
  return found;
}

/** How many digits of this server's money are a fraction. */
export async function moneyScale(connection: Asking): Promise<number> {
  return Number((await connection.query('select scale(1::money::numeric)')).rows[0]?.[0]);
}

type Shape = Omit<PgType, 'columnType' | 'readable' | 'decode' | 'text' | 'isSendable' | keyof CellReaders>;

/** `isSendable` is said of the type itself; what is inside it counts as well. */
function derive(shape: Shape, isSendable: boolean, whole: boolean): PgType {
  const { inner, fields } = shape;
  const sendable = isSendable && inner?.isSendable !== false && fields.every(({ type }) => type.isSendable);
  const readable = (columnType: ColumnType, decode: Decode, text: DecodeText = textBy(decode)): PgType => ({
    ...shape,
    isSendable: sendable,
    columnType,
    readable: true,
    decode,
    text,
    ...readersOf(decode),
  });
  if (shape.kind === 'e') return readable('text', utf8, utf8);
  if (inner?.readable === true) {
    if (shape.kind === 'd') return readable(inner.columnType, inner.decode, inner.text);
    if (shape.isArray) return readable('other', arrayDecoder(inner, shape.delimiter));
    if (shape.kind === 'r') return readable('other', rangeDecoder(inner));
    if (shape.kind === 'm') return readable('other', multirangeDecoder(inner));
  }
  if (shape.kind === 'c' && whole && fields.every(({ type }) => type.readable)) {
    return readable(
      'other',
      compositeDecoder(
        fields.map(({ type }) => type),
        builtinType,
      ),
    );
  }
  const known = shape.kind === 'b' ? EXTENSION_TYPES[shape.name] : undefined;
  if (known !== undefined) return readable(known.columnType, known.decode, known.decode);
  return { ...readable('other', rawBytes), readable: false };
}

/** A type as plain JSON: what has to be kept beside cells so that they can be read later. Built-in scalars are their OID. */
export type PgTypeTree =
  | number
  | (Pick<PgType, 'oid' | 'schema' | 'name' | 'kind' | 'isArray' | 'delimiter' | 'scale'> & {
      readonly inner: PgTypeTree | null;
      readonly fields: readonly { readonly name: string; readonly type: PgTypeTree }[];
    });

export function treeOf(type: PgType): PgTypeTree {
  if (builtins.has(type.oid) && type.scale === undefined) return type.oid;
  const { oid: typeOid, schema, name, kind, isArray, delimiter, scale } = type;
  const fields = type.fields.map((field) => ({ name: field.name, type: treeOf(field.type) }));
  const inner = type.inner === null ? null : treeOf(type.inner);
  return { oid: typeOid, schema, name, kind, isArray, delimiter, inner, fields, ...(scale === undefined ? {} : { scale }) };
}

/** The inverse of `treeOf`. */
export function typeOf(tree: PgTypeTree): PgType {
  if (typeof tree === 'number') return builtins.get(tree) ?? base(tree, String(tree), 'other', rawBytes);
  if (tree.scale !== undefined) return moneyType(tree.scale);
  const fields = tree.fields.map((field) => ({ name: field.name, type: typeOf(field.type) }));
  return derive({ ...tree, inner: tree.inner === null ? null : typeOf(tree.inner), fields }, true, true);
}

/** Raw bytes of a cell nobody can read: what a rule sees of a type without a codec. */
export function rawBytes(bytes: Buffer, offset: number, length: number): Value {
  return Buffer.from(bytes.subarray(offset, offset + length));
}
