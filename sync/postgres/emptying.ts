/**
 * Tables are emptied where the source emptied its own: several in one statement, for tables that refer to each other cannot be emptied one by one. Where another
 * table of the target refers to one, PostgreSQL refuses to truncate it, whatever its rows: its rows are deleted then, as one by one they would be, and the foreign
 * key does what it is there for.
 */
import type { ChangeEvent, DatasetName } from '../../core/event.ts';
import { quoteIdent, quoteLiteral } from '../../wire/postgres/ident.ts';
import { Format, type FrontendWriter } from '../../wire/postgres/messages.ts';
import { aliveSql, STAMP_TYPES } from './layout.ts';
import { stampText } from './stamps.ts';
import type { Table } from './tables.ts';

/** A table to be emptied, and by what. */
interface Emptied {
  readonly truncate: Pick<Table, 'qualified' | 'layout'>;
  readonly index: number;
  readonly event: ChangeEvent;
}

export interface Emptying extends Emptied {
  /** Those that are emptied in the same statement, as SQL names them. */
  readonly along: readonly string[];
}

/** Of one plan, in the order of its steps. */
export class EmptiedTables {
  /** The tables of the first statement, and those that come along with it. */
  #along: string[] | null = null;
  readonly #begun = new Set<DatasetName>();

  /** The step that empties the table; null where an earlier one does. */
  add(dataset: DatasetName, emptied: Emptied): Emptying | null {
    // Rows that are kept when they are deleted, or were written before in the same plan, have to be there by then.
    const mayGoFirst = aliveSql(emptied.truncate.layout, 't') === null && !this.#begun.has(dataset);
    if (!mayGoFirst) return { ...emptied, along: [] };
    if (this.#along !== null) {
      this.#along.push(emptied.truncate.qualified);
      return null;
    }
    this.#along = [];
    return { ...emptied, along: this.#along };
  }

  /** Something of the table is written by the plan. */
  begun(dataset: DatasetName): void {
    this.#begun.add(dataset);
  }
}

export function emitEmptying(writer: FrontendWriter, { truncate: table, along, index, event }: Emptying, verdicts: Uint8Array): void {
  const alive = aliveSql(table.layout, 't');
  if (alive === null) {
    writer
      .parse('', emptySql([table.qualified, ...along]))
      .bind('', '', [], Format.Text)
      .execute();
    return;
  }
  const { isHistory } = table.layout;
  const stamps = table.layout.stamps.filter(({ stamp }) => !isHistory || stamp === 'validTo');
  const set = stamps.map(({ name }, i) => `${quoteIdent(name)} = $${i + 1}`).join(', ');
  const oids = stamps.map(({ stamp }) => STAMP_TYPES[stamp].oid);
  const values = stamps.map(({ stamp }) => stampText(isHistory ? 'validFrom' : stamp, event, verdicts[index]));
  writer.parse('', `update ${table.qualified} t set ${set} where ${alive}`, oids).bind('', '', values, Format.Text).execute();
}

/** Which way it goes is for the server to see in the statement itself: foreign keys come and go. All are deleted from at once, so that only what refers to them from elsewhere is in the way. */
function emptySql(tables: readonly string[]): string {
  const others = tables.slice(1).map((table, i) => `e${i} as (delete from ${table})`);
  const deletes = `${others.length === 0 ? '' : `with ${others.join(', ')} `}delete from ${tables[0] ?? ''}`;
  return `do ${quoteLiteral(`begin
    if exists (
      with recursive emptied (oid) as (
        select unnest(array[${tables.map(quoteLiteral).join(', ')}]::regclass[])::oid
        union select i.inhrelid from pg_catalog.pg_inherits i join emptied e on i.inhparent = e.oid)
      select from pg_catalog.pg_constraint c
      where c.contype = 'f' and c.confrelid in (select oid from emptied) and c.conrelid not in (select oid from emptied))
    then ${deletes};
    else truncate ${tables.join(', ')};
    end if;
  end`)}`;
}
