/** How a session is asked for, and what it says of itself to any server. */
import { type PgAddress, quoteIdent, quoteLiteral } from './ident.ts';

export interface PgOptions {
  /**
   * `postgres://user:password@host:port/database?sslmode=disable|prefer|require|verify-ca|verify-full`. Several hosts (`host1:port,host2:port`) are tried in turn
   * until one answers that is no standby; see `parsePgServers`.
   */
  readonly url: string;
  readonly applicationName?: string;
  /** `database` opens a walsender for logical replication. */
  readonly replication?: 'database';
  /** Until the login is complete. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Further settings of the session ("statement_timeout": "0"). */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What a role or a database has set for itself changes neither values nor what a statement sees. */
const OWN: Readonly<Record<string, string>> = {
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  xmloption: 'content',
  array_nulls: 'on',
  default_transaction_isolation: 'read committed',
};

/** Settings of several values: as one text in a SET these would be one value, whose name has a comma in it. */
const LISTS: ReadonlySet<string> = new Set(['search_path', 'DateStyle']);

/** What a session begins with: all that it is to be, or with `isBare` no more than any pooler knows. */
export function startupOf({ user, database }: PgAddress, options: PgOptions, isBare: boolean): Record<string, string> {
  const { replication, applicationName = 'tidegate', settings } = options;
  const who = { user, database, client_encoding: 'UTF8', application_name: applicationName };
  if (replication !== undefined) return { ...who, replication, ...OWN, ...settings };
  return isBare ? who : { ...who, ...OWN, ...settings };
}

/**
 * What the session is set to once more when we are let in: poolers leave out in silence what it began with, or refuse that. Null for replication, which no pooler passes on. These are no queries: one of them
 * needs no snapshot, which a standby does not give everybody.
 */
export function settingsSql({ replication, settings }: PgOptions): string | null {
  if (replication !== undefined) return null;
  return Object.entries({ ...OWN, ...settings })
    .map(([name, value]) => `set ${quoteIdent(name)} = ${(LISTS.has(name) ? value.split(/, */) : [value]).map(quoteLiteral).join(', ')}`)
    .join('; ');
}

/** Who may take any time for a statement may take it for a transaction. PostgreSQL 17 and newer limit that as well; older ones know nothing of it. */
export const liftsTransactionTimeout = ({ settings, replication }: PgOptions, majorVersion: number): boolean =>
  settings?.['statement_timeout'] === '0' && replication === undefined && majorVersion >= 17;
