/** How a session is asked for, and what it says of itself to any server. */
import type { PgAddress } from './ident.ts';

export interface PgOptions {
  /**
   * `postgres://user:password@host:port/database?sslmode=disable|prefer|require|verify-full`. Several hosts (`host1:port,host2:port`) are tried in turn
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

/** What a session begins with. */
export function startupOf({ user, database }: PgAddress, options: PgOptions): Record<string, string> {
  return {
    user,
    database,
    client_encoding: 'UTF8',
    // What a role or a database has set for itself changes neither values nor what a statement sees.
    DateStyle: 'ISO, YMD',
    IntervalStyle: 'postgres',
    TimeZone: 'UTC',
    extra_float_digits: '3',
    bytea_output: 'hex',
    xmloption: 'content',
    array_nulls: 'on',
    default_transaction_isolation: 'read committed',
    application_name: options.applicationName ?? 'tidegate',
    ...(options.replication === undefined ? {} : { replication: options.replication }),
    ...options.settings,
  };
}

/** Who may take any time for a statement may take it for a transaction. PostgreSQL 17 and newer limit that as well; older ones refuse a login that names it. */
export const liftsTransactionTimeout = ({ settings, replication }: PgOptions, majorVersion: number): boolean =>
  settings?.['statement_timeout'] === '0' && replication === undefined && majorVersion >= 17;
