/**
 * Statements of tables that keep every version of a row: a version is added open, and closed when the next one comes or the row goes. At most one
 * version of a key is open.
 */
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { type Form, type GivenSql, isSame, type StagedColumn, written } from './statements.ts';
import { andAlive } from './tables.ts';

/** One after the other. `from`: ` from stage s`, or nothing where values are parameters. Of a partial form the last adds a version for each that it closes. */
export function historyStatements(form: Form, columns: readonly StagedColumn[], given: GivenSql, from: string): string[] {
  switch (form.kind) {
    case 'bury':
    case 'delete':
      return [close(form, columns, given, from, 'key')];
    case 'upsert':
    case 'append':
      return [close(form, columns, given, from, 'after'), add(form, columns, given, from)];
    case 'partial':
      return [follow(form, columns, given, from)];
    case 'move':
      // Of whole rows that move, the old key is a deletion and the new one a row of its own.
      return [makeRoom(form, columns, given), follow(form, columns, given, from)];
  }
}

function add({ table }: Form, columns: readonly StagedColumn[], given: GivenSql, from: string): string {
  return `insert into ${table.qualified} (${columns.map(({ target }) => target).join(', ')}) select ${columns.map((column, i) => written(given(column, i), column)).join(', ')}${from}`;
}

function close(form: Form, columns: readonly StagedColumn[], given: GivenSql, from: string, key: 'key' | 'after'): string {
  const { table } = form;
  return `update ${table.qualified} t set ${closed(form, columns, given)}${from} where ${matches(form, columns, given, key, 't')}${andAlive(table, 't')}`;
}

/** Closes the open version, and adds one that has its cells where the new one brings none. */
function follow(form: Form, columns: readonly StagedColumn[], given: GivenSql, from: string): string {
  const { table } = form;
  const brought = columns.flatMap((column, i) =>
    column.cell.from === 'key' ? [] : [{ target: column.target, sql: written(given(column, i), column) }],
  );
  const kept = table.columns
    .flatMap((column) => (column === null ? [] : [quoteIdent(column.name)]))
    .filter((name) => !brought.some(({ target }) => target === name))
    .map((name) => ({ target: name, sql: `t.${name}` }));
  const all = [...brought, ...kept];
  return `with closed as (${close(form, columns, given, from, 'key')} returning ${all.map(({ sql }, i) => `${sql} as c${i}`).join(', ')})
    insert into ${table.qualified} (${all.map(({ target }) => target).join(', ')}) select * from closed`;
}

/** Where a row moves to, nothing else may be open; not the row itself, whose key may only be spelled in another way. */
function makeRoom(form: Form, columns: readonly StagedColumn[], given: GivenSql): string {
  const { table } = form;
  const isOld = matches(form, columns, given, 'key', 't');
  const isThere = `select 1 from ${table.qualified} o where ${matches(form, columns, given, 'key', 'o')}${andAlive(table, 'o')}`;
  return `${close(form, columns, given, '', 'after')} and not (${isOld}) and exists (${isThere})`;
}

function closed({ table }: Form, columns: readonly StagedColumn[], given: GivenSql): string {
  const to = table.layout.stamps.find(({ stamp }) => stamp === 'validTo');
  const at = columns.findIndex(({ cell }) => cell.from === 'stamp' && cell.stamp === 'validFrom');
  const column = columns[at];
  return `${quoteIdent(to?.name ?? '')} = ${column === undefined ? 'null' : given(column, at)}`;
}

function matches({ table }: Form, columns: readonly StagedColumn[], given: GivenSql, from: 'key' | 'after', alias: string): string {
  return table.dataset.key
    .map((key) => {
      const at = columns.findIndex(({ cell }) => cell.from === from && cell.column === key);
      const column = columns[at];
      return column === undefined ? 'false' : isSame(alias, column, given(column, at));
    })
    .join(' and ');
}
