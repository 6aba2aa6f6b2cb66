/** A source whose tables are found by patterns, and its target: two databases, a config between them, and what is in both. */
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { BothEnds } from './changed-tables.ts';
import { ask, type TestConfig } from './services.ts';

export interface Ends extends AsyncDisposable {
  readonly sql: PgConnection;
  readonly lake: PgConnection;
  readonly config: TestConfig;
  /** All rows of a table at both ends, in order. */
  rows(side: 'source' | 'target', table: string): Promise<readonly (readonly (string | null)[])[]>;
  equal(table: string): Promise<void>;
}

export async function ends(sourceSql: string, source: Readonly<Record<string, unknown>>): Promise<Ends> {
  const both = await BothEnds.make('patterns');
  const { sql, lake } = both;
  await sql.script(sourceSql);
  const config = both.config({ publication: 'found', ...source });
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
  return { sql, lake, config, rows, equal, [Symbol.asyncDispose]: () => both[Symbol.asyncDispose]() };
}

export async function notes(url: string): Promise<readonly string[]> {
  const { pipelines } = (await ask(url, '/readyz')).json as { pipelines: readonly { notes: readonly string[] }[] };
  return pipelines.flatMap((pipeline) => pipeline.notes).toSorted();
}

export const table = (name: string): string => `create table public.${name} (id int primary key, v text)`;
