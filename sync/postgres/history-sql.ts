/**
 * Statements of tables that keep every version of a row: a version is added open, and closed when the next one comes or the row goes. At most one
 * version of a key is open.
 */
import { quoteIdent } from '../../wire/postgres/ident.ts';
import type { Form, StagedColumn } from './statements.ts';
import { andAlive } from './tables.ts';

/** The SQL of a staged column's value: a parameter, or a column of the staging table `s`. */
type ValueSql = (column: StagedColumn, index: number) => string;

/** One after the other. `from`: ` from stage s`, or nothing where values are parameters. Of a partial form the last adds a version for each that it closes. */
export function historyStatements(form: Form, columns: readonly StagedColumn[], value: ValueSql, from: string): string[] {
  switch (form.kind) {
    case 'bury':
    case 'delete':
      return [close(form, columns, value, from, 'key')];
    case 'upsert':
    case 'append':
      return [close(form, columns, value, from, 'after'), add(form, columns, value, from)];
    case 'partial':
      return [follow(form, columns, value, from)];
    case 'move':
      // Of whole rows that move, the old key is a deletion and the new one a row of its own.
      return [makeRoom(form, columns, value), follow(form, columns, value, from)];
  }
}

function add({ table }: Form, columns: readonly StagedColumn[], value: ValueSql, from: string): string {
  return `insert into ${table.qualified} (${columns.map(({ target }) => target).join(', ')}) select ${columns.map(value).join(', ')}${from}`;
}

function close(form: Form, columns: readonly StagedColumn[], value: ValueSql, from: string, key: 'key' | 'after'): string {
  const { table } = form;
  return `update ${table.qualified} t set ${closed(form, columns, value)}${from} where ${matches(form, columns, value, key, 't')}${andAlive(table, 't')}`;
}

/** Closes the open version, and adds one that has its cells where the new one brings none. */
function follow(form: Form, columns: readonly StagedColumn[], value: ValueSql, from: string): string {
  const { table } = form;
  const brought = columns.flatMap((column, i) => (column.cell.from === 'key' ? [] : [{ target: column.target, sql: value(column, i) }]));
  const kept = table.columns
    .flatMap((column) => (column === null ? [] : [quoteIdent(column.name)]))
    .filter((name) => !brought.some(({ target }) => target === name))
    .map((name) => ({ target: name, sql: `t.${name}` }));
  const all = [...brought, ...kept];
  return `with closed as (${close(form, columns, value, from, 'key')} returning ${all.map(({ sql }, i) => `${sql} as c${i}`).join(', ')})
    insert into ${table.qualified} (${all.map(({ target }) => target).join(', ')}) select * from closed`;
}

/** Where a row moves to, nothing else may be open; not the row itself, whose key may only be spelled in another way. */
function makeRoom(form: Form, columns: readonly StagedColumn[], value: ValueSql): string {
  const { table } = form;
  const isOld = matches(form, columns, value, 'key', 't');
  const isThere = `select 1 from ${table.qualified} o where ${matches(form, columns, value, 'key', 'o')}${andAlive(table, 'o')}`;
  return `${close(form, columns, value, '', 'after')} and not (${isOld}) and exists (${isThere})`;
}

function closed({ table }: Form, columns: readonly StagedColumn[], value: ValueSql): string {
  const to = table.layout.stamps.find(({ stamp }) => stamp === 'validTo');
  const at = columns.findIndex(({ cell }) => cell.from === 'stamp' && cell.stamp === 'validFrom');
  const column = columns[at];
  return `${quoteIdent(to?.name ?? '')} = ${column === undefined ? 'null' : value(column, at)}`;
}

function matches({ table }: Form, columns: readonly StagedColumn[], value: ValueSql, from: 'key' | 'after', alias: string): string {
  return table.dataset.key
    .map((key) => {
      const at = columns.findIndex(({ cell }) => cell.from === from && cell.column === key);
      const column = columns[at];
      return column === undefined ? 'false' : `${alias}.${column.target} = ${value(column, at)}`;
    })
    .join(' and ');
}
