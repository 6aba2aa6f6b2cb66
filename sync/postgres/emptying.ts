/** Tables are emptied where the source emptied its own: several in one statement, for tables that refer to each other cannot be emptied one by one. */
import type { ChangeEvent, DatasetName } from '../../core/event.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
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
      .parse('', `truncate ${[table.qualified, ...along].join(', ')}`)
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
