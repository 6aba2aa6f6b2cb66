/**
 * Which of the source's types the target has, and how cells of each travel there. Arrays and composites name the types inside them by OID, and those of
 * own types differ between servers; a server believes such an OID only where it is that of a built-in type, on both sides (array_recv in PostgreSQL's
 * arrayfuncs.c), so the bytes are left as they are.
 */
import type { Column } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteQualified } from '../../wire/postgres/ident.ts';
import type { PgColumnType } from '../../wire/postgres/row.ts';
import { moneyScale, OBJECT_TYPES, type PgType } from '../../wire/postgres/types.ts';
import { textArrayParameter } from './arrays.ts';

/** What the bytes of a cell become on their way, in bytes of its own. */
export type TranslateCell = (bytes: Buffer, offset: number, length: number) => Buffer;

/** How cells of one source column travel to this target. */
export interface Passage {
  /** The type that staged cells have, as SQL: the source's, where the target knows it. */
  readonly staged: string;
  /** Its OID here. */
  readonly oid: number;
  readonly translate: TranslateCell | null;
}

interface TypeHere {
  readonly oid: number;
  /** Of the array type over it. */
  readonly array: number;
  readonly schema: string;
  readonly name: string;
}

const TEXT = 25;
const TEXT_ARRAY = 1009;
const OID = 26;
const OID_ARRAY = 1028;
const INTERVAL = 1186;
const MONEY = 790;
/** Types whose empty value the server sends in a binary form that it does not read: int2vector, oidvector, tsquery. */
const UNREADABLE_WHEN_EMPTY: ReadonlySet<number> = new Set([22, 30, 3615]);
/** From here on intervals may be infinite; what that looks like in binary means something else to an older server. */
const INFINITE_INTERVALS = 17;

/** A type of the source that the target lacks, with nothing to stand for it. */
export interface LackingType {
  readonly schema: string;
  readonly name: string;
  readonly kind: PgType['kind'];
}

export class TargetTypes {
  readonly #sql: PgConnection;
  /** By the source's qualified name; null where there is none. */
  readonly #here = new Map<string, TypeHere | null>();
  /** Array types over fixed types, by the OID of the element. */
  readonly #arrays = new Map<number, number>();
  readonly #passages = new Map<PgColumnType, Passage>();

  constructor(sql: PgConnection) {
    this.#sql = sql;
  }

  forget(): void {
    this.#here.clear();
    this.#passages.clear();
  }

  /** Looks up everything inside the given types that is not the same on every server. Throws TARGET_SCHEMA where they cannot be kept here. */
  async lookUp(types: readonly PgColumnType[]): Promise<void> {
    const own = new Map<string, PgType>();
    const fixed = new Set<number>();
    const money = new Set<number>();
    const collect = (type: PgType): void => {
      if (isFixed(type)) fixed.add(type.oid);
      else if (!type.isArray && (this.#here.get(nameOf(type)) ?? null) === null) own.set(nameOf(type), type);
      if (type.oid === MONEY) money.add(type.scale ?? 2);
      if (type.inner !== null) collect(type.inner);
      for (const field of type.fields) collect(field.type);
    };
    for (const { type } of types) if (type !== undefined) collect(type);
    if (money.size > 0) await this.#checkMoney(money);
    if (own.size === 0) return;
    for (const [schema, name, oid, array, schemaHere, nameHere] of await typesByName(this.#sql, [...own.values()])) {
      const here = { oid: Number(oid), array: Number(array), schema: schemaHere ?? '', name: nameHere ?? '' };
      this.#here.set(`${schema}.${name}`, oid === null || oid === undefined ? null : here);
    }
    const { rows: arrays } = await this.#sql.query(`select oid, typarray from pg_type where oid = any($1::oid[])`, [
      `{${[...fixed].join(',')}}`,
    ]);
    for (const [oid, array] of arrays) this.#arrays.set(Number(oid), Number(array));
  }

  passage(type: PgColumnType): Passage {
    const known = this.#passages.get(type);
    if (known !== undefined) return known;
    const made = this.#makePassage(type);
    this.#passages.set(type, made);
    return made;
  }

  /** Why cells of a column cannot travel here, or why it cannot be made where `isMade`; null where they can. After `lookUp`. */
  lacking(column: Column, type: PgColumnType, isMade: boolean): LackingType | null {
    try {
      this.#makePassage(type); // Not kept: the table may bring what it is to be.
      if (isMade) this.columnType(column, type.type);
      return null;
    } catch (error) {
      if (!(error instanceof TypeLacking)) throw error;
      return error.type;
    }
  }

  /** What a column is created as: the source's own type where the target has it. */
  columnType(column: Column, type: PgType | undefined): string {
    if (type === undefined) return column.native;
    const element = type.isArray && type.inner !== null ? type.inner : type;
    if (OBJECT_TYPES.has(element.oid)) return this.#sqlType(type);
    const here = this.#here.get(nameOf(element));
    return isFixed(element) || here?.schema === element.schema ? column.native : this.#sqlType(type);
  }

  #makePassage(column: PgColumnType): Passage {
    // A type without a binary form comes as its text.
    if (column.format === 'text') return { staged: 'text', oid: TEXT, translate: null };
    const { type } = column;
    if (type === undefined) throw new PipelineError('BUG', `the source said nothing of the type ${column.oid}`);
    if (this.#goesAsText(type)) {
      return { staged: 'text', oid: TEXT, translate: (bytes, offset, length) => Buffer.from(type.text(bytes, offset, length)) };
    }
    const oid = this.#oid(type);
    if (oid === undefined) throw new TypeLacking(type);
    return { staged: this.#sqlType(type), oid, translate: isObjects(type) ? oidArray : null };
  }

  /** Its binary form is not read by this server as it is meant. */
  #goesAsText(type: PgType): boolean {
    if (type.kind === 'd' && type.inner !== null) return this.#goesAsText(type.inner);
    return UNREADABLE_WHEN_EMPTY.has(type.oid) || (type.oid === INTERVAL && this.#sql.majorVersion < INFINITE_INTERVALS);
  }

  /** The type's name here, as SQL. An enum that the target lacks travels as text, a domain as its base type. */
  #sqlType(type: PgType): string {
    if (type.isArray && type.inner !== null) return `${this.#sqlType(type.inner)}[]`;
    if (OBJECT_TYPES.has(type.oid)) return 'oid';
    if (isFixed(type)) return quoteQualified(type.schema, type.name);
    const here = this.#here.get(nameOf(type));
    if (here !== null && here !== undefined) return quoteQualified(here.schema, here.name);
    if (type.kind === 'd' && type.inner !== null) return this.#sqlType(type.inner);
    if (type.kind === 'e') return 'text';
    throw new TypeLacking(type);
  }

  /** Its OID here; undefined where there is no such type, and nothing to stand for it. */
  #oid(type: PgType): number | undefined {
    if (type.isArray && type.inner !== null) return this.#arrayOid(type, type.inner);
    if (OBJECT_TYPES.has(type.oid)) return OID;
    if (isFixed(type)) return type.oid;
    const here = this.#here.get(nameOf(type));
    if (here !== null && here !== undefined) return here.oid;
    if (type.kind === 'd' && type.inner !== null) return this.#oid(type.inner);
    return type.kind === 'e' ? TEXT : undefined;
  }

  #arrayOid(array: PgType, element: PgType): number | undefined {
    if (OBJECT_TYPES.has(element.oid)) return OID_ARRAY;
    if (isFixed(array)) return array.oid;
    if (isFixed(element)) return this.#arrays.get(element.oid);
    const here = this.#here.get(nameOf(element));
    if (here !== null && here !== undefined) return here.array;
    if (element.kind === 'd' && element.inner !== null && !element.inner.isArray) return this.#arrayOid(array, element.inner);
    return element.kind === 'e' ? TEXT_ARRAY : undefined;
  }

  /** money is a count of the smallest unit: how large that is has to be one thing on both sides. */
  async #checkMoney(scales: ReadonlySet<number>): Promise<void> {
    const here = await moneyScale(this.#sql);
    for (const scale of scales) {
      if (scale === here) continue;
      throw new PipelineError(
        'TARGET_SCHEMA',
        `money has ${scale} digits of a fraction at the source and ${here} here: set lc_monetary alike, or make the column numeric`,
      );
    }
  }
}

/** An extension's types may be in another schema here. Of each its schema and name, and where the target has it: its number, that of its array type, its schema and name there; else nulls. */
async function typesByName(sql: PgConnection, types: readonly LackingType[]): Promise<readonly (readonly (string | null)[])[]> {
  const { rows } = await sql.query(
    `select w.s, w.n, f.oid, f.typarray, f.nspname, f.typname from unnest($1::text[], $2::text[], $3::text[]) w(s, n, k)
     left join lateral (
       select t.oid, t.typarray, n.nspname, t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace
       where t.typname = w.n and (n.nspname = w.s or (w.k = 'b' and exists (
         select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')))
       order by n.nspname = w.s desc limit 1) f on true`,
    [({ schema }: LackingType) => schema, ({ name }: LackingType) => name, ({ kind }: LackingType) => kind].map((part) =>
      textArrayParameter(types.map(part)),
    ),
  );
  return rows;
}

/** Those that it still lacks. */
export async function stillLacking(sql: PgConnection, types: readonly LackingType[]): Promise<readonly LackingType[]> {
  if (types.length === 0) return types;
  const rows = await typesByName(sql, types);
  return types.filter(({ schema, name }) => rows.some(([s, n, oid]) => s === schema && n === name && oid === null));
}

const nameOf = ({ schema, name }: PgType): string => `${schema}.${name}`;

class TypeLacking extends PipelineError {
  readonly type: LackingType;

  constructor(type: PgType) {
    const { schema, name, kind } = type.isArray && type.inner !== null ? type.inner : type;
    super('TARGET_SCHEMA', lackingText({ schema, name }));
    this.type = { schema, name, kind };
  }
}

export const lackingText = ({ schema, name }: Pick<LackingType, 'schema' | 'name'>): string =>
  `the target has no type ${schema}.${name}: create it there as the source has it (or the extension that brings it)`;

/** Whether every server has the type under its OID (below FirstGenbkiObjectId in PostgreSQL's transam.h). */
const isFixed = ({ oid }: PgType): boolean => oid < 10_000;

/** Whether another server may lack the type, or one inside it. */
export const isOwn = (type: PgType): boolean =>
  !isFixed(type) || (type.inner !== null && isOwn(type.inner)) || type.fields.some((field) => isOwn(field.type));

const isObjects = ({ isArray, inner }: PgType): boolean => isArray && inner !== null && OBJECT_TYPES.has(inner.oid);

/** An array of regclass and its like as one of oid: the type of its elements is the third word. */
function oidArray(bytes: Buffer, offset: number, length: number): Buffer {
  const copy = Buffer.from(bytes.subarray(offset, offset + length));
  copy.writeUInt32BE(OID, 8);
  return copy;
}
