/**
 * A pooler of transactions gives each transaction whatever session of the server is free. What we keep in a session (settings, temporary tables, statements, locks) is then sometimes there and
 * sometimes not, and with the settings what rows mean, or which of them are seen. A pooler of sessions is none to us.
 */
import { PgConnection, PgConnectionError } from './connection.ts';

export const POOLED = 'is a pooler of transactions, in front of sessions that change: give the server itself, or a pooler of sessions';

/** How long two sessions at a time are waited for: a pooler with fewer has others wait. */
const WAIT_MS = 3000;

/** Whether a session at `url` is another one after a transaction, as far as that can be seen; `connection` is one. */
export async function changesSessions(connection: PgConnection, url: string): Promise<boolean> {
  // A server tells the number of the session as it begins, and a pooler one of its own.
  if ((await pidOf(connection)) === String(connection.backendPid)) return false;
  const ending = AbortSignal.timeout(WAIT_MS);
  const connect = (): Promise<PgConnection> => PgConnection.connect({ url, applicationName: 'tidegate look' }, ending);
  try {
    await using one = await connect();
    await using other = await connect();
    const cut = (): void => {
      one.destroy();
      other.destroy();
    };
    ending.addEventListener('abort', cut, { once: true });
    // Whether the pooler gives the session that has rested longest or shortest: after one of the two orders each gets the other's.
    return (await areExchanged(one, other, [one, other])) || (await areExchanged(one, other, [other, one]));
  } catch (error) {
    if (error instanceof PgConnectionError && ending.aborted) return false;
    throw error;
  }
}

/** Whether two transactions that are open at the same time have other sessions than the two before, which end in this order. */
async function areExchanged(one: PgConnection, other: PgConnection, ending: readonly PgConnection[]): Promise<boolean> {
  const begun = async (): Promise<readonly (string | null)[]> => {
    await one.script('begin');
    await other.script('begin');
    return [await pidOf(one), await pidOf(other)];
  };
  const before = await begun();
  for (const connection of ending) await connection.script('commit');
  const after = await begun();
  for (const connection of ending) await connection.script('commit');
  return before.some((pid, i) => pid !== after[i]);
}

async function pidOf(connection: PgConnection): Promise<string | null> {
  return (await connection.query('select pg_catalog.pg_backend_pid()')).rows[0]?.[0] ?? null;
}
