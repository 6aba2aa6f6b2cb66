/** A target of a test's own, and sinks that write it. */
import { inject } from 'vitest';
import { type PostgresSink, postgresSink, type PostgresSinkOptions } from '../../sync/postgres/sink.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';

export interface Fixture extends AsyncDisposable {
  readonly url: string;
  readonly options: PostgresSinkOptions;
  readonly sql: PgConnection;
  sink(options?: Partial<PostgresSinkOptions>): Promise<PostgresSink>;
  rows(): Promise<unknown[]>;
}

/** A sink of the table `shop.items` as it is, which holds events one by one, unless `other` says otherwise. */
export const sinkOf = (url: string, other: Partial<PostgresSinkOptions> = {}): Promise<PostgresSink> =>
  postgresSink({
    name: 'store',
    url,
    schema: 'shop',
    tables: { create: false, widen: false },
    hold: () => 'event',
    scores: [],
    pipeline: 'p',
    ...other,
  });

/** A database of a test's own with what `setup` makes there, and sinks that write it. */
export async function fixture(...setup: readonly string[]): Promise<Fixture> {
  const database = await createDatabase(inject('targetServer'), 'sync');
  const sql = await PgConnection.connect({ url: database.url });
  for (const script of setup) await sql.script(script);
  const options: PostgresSinkOptions = {
    name: 'store',
    url: database.url,
    schema: 'shop',
    besideRowsMin: 1,
    tables: { create: true, widen: true },
    hold: () => 'key',
    scores: [],
    pipeline: 'p',
  };
  return {
    url: database.url,
    options,
    sql,
    sink: (other) => postgresSink({ ...options, ...other }),
    rows: async () => (await sql.query('select id, n, note from shop.items order by id')).rows.map(([id, n, note]) => [id, n, note]),
    async [Symbol.asyncDispose]() {
      await sql.close();
      await database[Symbol.asyncDispose]();
    },
  };
}
