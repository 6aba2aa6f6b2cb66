/** Databases of a test's own on the shared servers. */
import { randomBytes } from 'node:crypto';
import { PgConnection } from '../../wire/postgres/connection.ts';

export interface TestDatabase extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
}

/** Makes a database with a unique name on the server at `serverUrl` (a superuser's); disposing drops it, whoever is still connected, with its slots. `options` as SQL. */
export async function createDatabase(serverUrl: string, prefix = 't', options = ''): Promise<TestDatabase> {
  const name = `${prefix}_${randomBytes(5).toString('hex')}`;
  await using admin = await PgConnection.connect({ url: serverUrl });
  await admin.script(`create database "${name}" template template0 ${options}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return {
    name,
    url: url.href,
    async [Symbol.asyncDispose]() {
      await using again = await PgConnection.connect({ url: serverUrl });
      await again.query('select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active', [name]);
      for (let tries = 0; tries < 100; tries++) {
        const { rows } = await again.query('select slot_name, active from pg_replication_slots where database = $1', [name]);
        if (rows.length === 0) break;
        for (const [slot, active] of rows) if (active === 'f') await again.query('select pg_drop_replication_slot($1)', [slot ?? '']);
        if (rows.some(([, active]) => active === 't')) await again.query('select pg_sleep(0.02)');
      }
      await again.script(`drop database if exists "${name}" with (force)`);
    },
  };
}
