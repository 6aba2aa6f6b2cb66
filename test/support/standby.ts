/** A standby of an embedded server that copies its failover slots: from a copy of its data folder, for there is no pg_basebackup among the embedded programs. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from './eventually.ts';

/** The physical slot at the primary. */
export const STANDBY_SLOT = 'standby';
/** What a standby makes of its own, or gets from the primary; of a primary at work, also what may be gone before it is copied. */
const LEFT_OUT = /^(postmaster\.(pid|opts)|(pg_wal|pg_replslot|pg_logical\/snapshots)\/.+|.*pgsql_tmp.*)$/;

/** With the settings of its primary, beside those that it follows it by. */
export async function startStandby(primary: EmbeddedServer, settings: Readonly<Record<string, string>> = {}): Promise<EmbeddedServer> {
  await using sql = await PgConnection.connect({ url: primary.url() });
  await sql.query('select pg_create_physical_replication_slot($1, true)', [STANDBY_SLOT]);
  const following = {
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
    primary_slot_name: STANDBY_SLOT,
    hot_standby_feedback: 'on',
    sync_replication_slots: 'on',
    wal_receiver_status_interval: '1s',
    wal_retrieve_retry_interval: '200ms',
  };
  // Of whom the primary waits for is none of the standby's, which would wait for itself once it is promoted.
  const { synchronized_standby_slots: _, ...inherited } = primary.settings;
  return await startEmbeddedPostgres({ ...inherited, ...following, ...settings }, undefined, undefined, async (folder) => {
    await sql.query("select pg_backup_start('standby', true)");
    cpSync(primary.folder, folder, { recursive: true, filter: (path) => !LEFT_OUT.test(relative(primary.folder, path)) });
    const label = (await sql.query('select labelfile from pg_backup_stop(false)')).rows[0]?.[0] ?? '';
    writeFileSync(join(folder, 'backup_label'), label);
    writeFileSync(join(folder, 'standby.signal'), '');
    for (const part of ['pg_wal/archive_status', 'pg_wal/summaries']) mkdirSync(join(folder, part), { recursive: true });
  });
}

/** Whether the standby has a copy of a slot that would serve. It looks only every half a minute where it was quiet, unless it is woken. */
export async function syncSlots(standby: EmbeddedServer): Promise<boolean> {
  await using sql = await PgConnection.connect({ url: standby.url() });
  await sql.query('select pg_reload_conf()');
  return (await sql.query('select 1 from pg_replication_slots where synced and not temporary')).rows.length > 0;
}

/** Has commits wait for a standby of this name, '' for none. Answers once new sessions do. */
export async function waitForStandbys(server: EmbeddedServer, name: string): Promise<void> {
  await using sql = await PgConnection.connect({ url: server.url(), settings: { synchronous_commit: 'local' } });
  await sql.script(`alter system set synchronous_standby_names = '${name}'`);
  await sql.script('select pg_reload_conf()');
  await eventually(async () => {
    await using again = await PgConnection.connect({ url: server.url() });
    return (await again.query('show synchronous_standby_names')).rows[0]?.[0] === name;
  }, 'the server has it');
}
