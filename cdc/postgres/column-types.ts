/**
 * The types of the columns that the log describes. The log is of the past: a type may have been dropped since, as one is that makes room for another of its name. It is
 * what it was while it was there, where that is known; else it is an enum where the column has one now, for those are what is replaced so, and a text otherwise.
 */
import type { Asking } from '../../wire/postgres/kept-statements.ts';
import { describeTypes, type PgType } from '../../wire/postgres/types.ts';
import type { RelationMessage } from './pgoutput.ts';

export interface ColumnTypeFacts {
  /** As SQL. */
  readonly native: string;
  /** The type has a binary form, so that pgoutput (and a chunk) sends that; else its text. */
  readonly binary: boolean;
  readonly type: PgType | undefined;
}

const TEXT: ColumnTypeFacts = { native: 'text', binary: false, type: undefined };

export class ColumnTypes {
  /** Types that may be dropped, by their numbers. */
  readonly #known = new Map<number, ColumnTypeFacts>();

  /** In the order of the columns. `present` is the table in the catalog, null where it is gone. */
  async of(connection: Asking, { columns }: RelationMessage, present: RelationMessage | null): Promise<readonly ColumnTypeFacts[]> {
    const found = await factsOf(connection, columns);
    const isUnknown = found.some((fact, i) => fact === null && !this.#known.has(columns[i]?.typeOid ?? 0));
    const theirs = isUnknown && present !== null ? await factsOf(connection, present.columns) : [];
    return columns.map(({ name, typeOid }, i) => {
      const fact = found[i] ?? null;
      if (fact === null) {
        const now = theirs[present?.columns.findIndex((column) => column.name === name) ?? -1] ?? null;
        return this.#known.get(typeOid) ?? (isOfLabels(now?.type) && now !== null ? now : TEXT);
      }
      if (typeOid >= FIRST_OWN) this.#known.set(typeOid, fact);
      return fact;
    });
  }
}

/** FirstNormalObjectId in PostgreSQL's transam.h. */
const FIRST_OWN = 16_384;

/** An enum, or an array of one: its binary form is its labels. */
const isOfLabels = (type: PgType | undefined): boolean => type?.kind === 'e' || (type?.isArray === true && type.inner?.kind === 'e');

/** Null for types that are gone. */
async function factsOf(connection: Asking, columns: RelationMessage['columns']): Promise<readonly (ColumnTypeFacts | null)[]> {
  const { rows } = await connection.query(
    `select pg_catalog.format_type(u.oid, u.typmod), t.typsend <> 0
       from unnest($1::pg_catalog.oid[], $2::pg_catalog.int4[]) with ordinality u(oid, typmod, n)
       left join pg_catalog.pg_type t on t.oid = u.oid order by u.n`,
    [`{${columns.map(({ typeOid }) => typeOid).join(',')}}`, `{${columns.map(({ typmod }) => typmod).join(',')}}`],
  );
  const types = await describeTypes(
    connection,
    columns.map(({ typeOid }) => typeOid),
  );
  return rows.map(([native, binary], i) =>
    typeof binary === 'string' ? { native: native ?? 'unknown', binary: binary === 't', type: types.get(columns[i]?.typeOid ?? 0) } : null,
  );
}
