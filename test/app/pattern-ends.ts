/** A source whose tables are found by patterns, and its target: two databases, a config between them, and what is in both. */
import { inject } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ask, configFolder, type TestConfig } from './services.ts';

export interface Ends extends AsyncDisposable {
  readonly sql: PgConnection;
  readonly lake: PgConnection;
  readonly config: TestConfig;
  /** All rows of a table at both ends, in order. */
  rows(side: 'source' | 'target', table: string): Promise<readonly (readonly (string | null)[])[]>;
  equal(table: string): Promise<void>;
}

export async function ends(sourceSql: string, source: Readonly<Record<string, unknown>>): Promise<Ends> {
  const stack = new AsyncDisposableStack();
  const from = stack.use(await createDatabase(inject('sourceServer'), 'patterns'));
  const to = stack.use(await createDatabase(inject('targetServer'), 'patterns'));
  const sql = stack.use(await PgConnection.connect({ url: from.url }));
  const lake = stack.use(await PgConnection.connect({ url: to.url }));
  await sql.script(sourceSql);
  const shop = { kind: 'postgres', url: from.url, slot: from.name, publication: 'found', ...source };
  const config = stack.use(configFolder({ sources: { shop } }, {}, { source: from.url, target: to.url }));
  const rows: Ends['rows'] = async (side, table) => {
    const found =
      side === 'source' ? sql.query(`select * from public.${table} order by id`) : lake.query(`select * from shop.${table} order by id`);
    return (await found.catch(() => ({ rows: [['no such table']] }))).rows as (string | null)[][];
  };
  const equal = (table: string): Promise<void> =>
    eventually(
      async () => JSON.stringify(await rows('source', table)) === JSON.stringify(await rows('target', table)),
      `${table} is the same at both ends`,
      60_000,
    );
  return { sql, lake, config, rows, equal, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

export async function notes(url: string): Promise<readonly string[]> {
  const { pipelines } = (await ask(url, '/readyz')).json as { pipelines: readonly { notes: readonly string[] }[] };
  return pipelines.flatMap((pipeline) => pipeline.notes).toSorted();
}

export const table = (name: string): string => `create table public.${name} (id int primary key, v text)`;
