/** Connections to the source, whose failures have codes. */
import { PipelineError } from '../../core/errors.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { changesSessions, POOLED } from '../../wire/postgres/pooled.ts';
import { sourceFailure } from './failures.ts';

/** What our sessions at a source are called there. */
const applicationName = (source: string): string => `tidegate ${source}`;

/** Connects as the source's own parts do; what fails has a code. */
export async function connectSource(
  name: string,
  url: string,
  replication: boolean,
  settings: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<PgConnection> {
  try {
    return await PgConnection.connect(
      { url, applicationName: applicationName(name), settings, ...(replication ? { replication: 'database' } : {}) },
      signal,
    );
  } catch (error) {
    if (error instanceof TypeError) throw new PipelineError('CONFIG_INVALID', `sources.${name}.url: ${error.message}`, { cause: error });
    throw sourceFailure(error, 'connecting', `connecting to ${name}`);
  }
}

/** Throws CONFIG_INVALID where the session is another one with the next transaction. */
export async function refusePooler(name: string, url: string, connection: PgConnection): Promise<void> {
  let changes: boolean;
  try {
    changes = await changesSessions(connection, url);
  } catch (error) {
    throw sourceFailure(error, 'connecting', `connecting to ${name}`);
  }
  if (changes) throw new PipelineError('CONFIG_INVALID', `the url of sources.${name} ${POOLED}`);
}

/** What a session may use for decoding where nobody said anything of it: half of what the server keeps of its tables in memory, within these. */
const DECODING_KB = { min: 64 * 1024, max: 256 * 1024 };
const DECODING_SQL = `select pg_catalog.set_config('logical_decoding_work_mem',
    least(${DECODING_KB.max}, greatest(${DECODING_KB.min}, b.setting::bigint * (pg_catalog.current_setting('block_size')::bigint / 1024) / 2))::text || 'kB', false)
  from pg_catalog.pg_settings m, pg_catalog.pg_settings b
  where m.name = 'logical_decoding_work_mem' and m.source = 'default' and b.name = 'shared_buffers'`;

/**
 * Lets the session that reads a slot use as much memory for the changes of open transactions as a server of its size can spare. What anybody set for the
 * server, the database, the role or this session stands.
 */
export async function useDecodingMemory(name: string, connection: PgConnection): Promise<void> {
  try {
    await connection.script(DECODING_SQL);
  } catch (error) {
    connection.destroy();
    throw sourceFailure(error, 'connecting', `connecting to ${name}`);
  }
}

/** A connection that the server does not close within a second is cut. */
export async function closeSoon(connection: PgConnection): Promise<void> {
  const cut = setTimeout(() => connection.destroy(), 1000);
  await connection.close().catch(() => {}); // It is gone, which is all that is wanted.
  clearTimeout(cut);
}
