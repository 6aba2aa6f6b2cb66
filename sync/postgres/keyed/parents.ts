/** The tables that references name, by their dataset's name alone: the lane may never have written a row of theirs. */
import { PipelineError } from '../../../core/errors.ts';
import type { Dataset } from '../../../core/event.ts';
import type { Parent } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { arrayLiteral, quoteIdent, quoteQualified } from '../../../wire/postgres/ident.ts';
import { aliveSql, type Layouts } from '../layout.ts';
import type { AskedTable, WantedIndex } from './asked-table.ts';

export interface ParentTable extends AskedTable {
  /** The target's names. */
  readonly names: readonly string[];
}

/** Domains are compared as what they are made of, and whole numbers as the widest of them: those of the other table may be wider. */
const COLUMNS_SQL = `
  select a.attname, case when b.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then 'bigint' else format_type(b.oid, null) end
  from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
  where a.attrelid = to_regclass($1) and a.attname = any($2::text[]) and not a.attisdropped`;

export class Parents {
  readonly #layouts: Layouts;
  readonly #known = new Map<string, ParentTable>();

  constructor(layouts: Layouts) {
    this.#layouts = layouts;
  }

  /** Null where there is no such table yet, and so no row of it. */
  async of(sql: PgConnection, parent: Parent): Promise<ParentTable | null> {
    const id = JSON.stringify([parent.dataset, parent.columns]);
    const known = this.#known.get(id) ?? (await this.#look(sql, parent));
    if (known !== null) this.#known.set(id, known);
    return known;
  }

  /** Somebody changed the tables. */
  forget(): void {
    this.#known.clear();
  }

  async #look(sql: PgConnection, parent: Parent): Promise<ParentTable | null> {
    const layout = this.#layouts.of(datasetOf(parent));
    const qualified = quoteQualified(layout.schema, layout.table);
    const names = layout.names.map((name, i) => name ?? missing(qualified, parent.columns[i] ?? ''));
    const { rows } = await sql.query(COLUMNS_SQL, [qualified, arrayLiteral(names)]);
    const types = new Map(rows.map(([name, type]) => [name, type]));
    if (types.size === 0 && (await sql.query('select to_regclass($1)', [qualified])).rows[0]?.[0] === null) return null;
    const alive = aliveSql(layout, 't');
    return {
      qualified,
      names,
      columns: names.map((name) => ({ name: quoteIdent(name), cast: castOf(types.get(name) ?? missing(qualified, name)) })),
      andAlive: alive === null ? '' : ` and ${alive}`,
    };
  }
}

/** What finds the rows that are named. */
export const indexOf = ({ qualified, names }: ParentTable): WantedIndex => ({ qualified, columns: names, last: null });

/** Without a length a cast to it would be one to a single character. */
const castOf = (type: string): string => (type === 'character' ? 'bpchar' : type);

/** Of a dataset nothing counts here but what its columns are called. */
const datasetOf = ({ dataset, columns }: Parent): Dataset => ({
  name: dataset,
  version: 0,
  columns: columns.map((name) => ({ name, type: 'text', native: '', nullable: true })),
  key: [],
});

function missing(qualified: string, column: string): never {
  throw new PipelineError('TARGET_SCHEMA', `${qualified} at the target lacks the column ${column}, which a rule of references names`);
}
