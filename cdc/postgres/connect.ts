/** Connections to the source, whose failures have codes. */
import { PipelineError } from '../../core/errors.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
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

/** A connection that the server does not close within a second is cut. */
export async function closeSoon(connection: PgConnection): Promise<void> {
  const cut = setTimeout(() => connection.destroy(), 1000);
  await connection.close().catch(() => {}); // It is gone, which is all that is wanted.
  clearTimeout(cut);
}
