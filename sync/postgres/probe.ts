/** What keeps a target from taking rows, found out without changing anything. */
import { PipelineError } from '../../core/errors.ts';
import type { Problem } from '../../core/problems.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { targetFailure } from './failures.ts';
import type { PostgresSinkOptions } from './sink.ts';

/** Paths are `targets.<name>.…`. */
export async function probePostgresTarget(options: PostgresSinkOptions): Promise<Problem[]> {
  const place = `targets.${options.name}`;
  try {
    await using sql = await PgConnection.connect({ url: options.url, applicationName: 'tidegate check', connectTimeoutMs: 5000 });
    return await look(sql, options, place);
  } catch (error) {
    const failure = targetFailure(error, `the target ${options.name} cannot be used`);
    if (!(failure instanceof PipelineError)) throw failure;
    const cause = failure.cause instanceof Error ? `: ${failure.cause.message}` : '';
    return [{ severity: 'error', path: `${place}.url`, message: `${failure.message}${cause}`, fix: failure.fix }];
  }
}

async function look(sql: PgConnection, { schema, tables, pipeline }: PostgresSinkOptions, place: string): Promise<Problem[]> {
  const problems: Problem[] = [];
  const error = (path: string, message: string, fix: string): void => {
    problems.push({ severity: 'error', path, message, fix });
  };
  const { rows } = await sql.query(
    `select current_user, current_setting('server_version_num')::int, pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on',
       has_database_privilege(current_database(), 'create'), has_database_privilege(current_database(), 'temporary'),
       coalesce((select has_schema_privilege(oid, 'usage, create') from pg_namespace where nspname = 'tidegate')::text, 'none'),
       coalesce((select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = $1)::text, 'none'),
       coalesce((select has_schema_privilege(oid, 'create') from pg_namespace where nspname = $1)::text, 'none')`,
    [schema],
  );
  const [user, version, isReadOnly, mayCreate, mayStage, ours, theirs, mayAdd] = rows[0] ?? [];
  if (Number(version) < 140_000)
    error(`${place}.url`, 'the target is older than PostgreSQL 14', 'Use PostgreSQL 14 or newer as the target.');
  if (isReadOnly === 't') error(`${place}.url`, 'the target takes no writes', 'Point the url at the primary.');
  if (mayStage !== 't')
    error(place, `${user} may not make temporary tables`, `Run on the target: grant temporary on database … to ${user};`);
  if (ours === 'none' && mayCreate !== 't')
    error(
      place,
      `there is no schema tidegate yet, and ${user} may not create one`,
      `Run on the target: create schema tidegate authorization ${user};`,
    );
  else if (ours === 'false')
    error(place, `${user} may not use the schema tidegate`, `Run on the target: grant usage, create on schema tidegate to ${user};`);
  if (theirs === 'none' && (!tables.create || mayCreate !== 't'))
    error(
      `${place}.schema`,
      `the target has no schema ${schema}, and ${tables.create ? `${user} may not create one` : 'tables.create is off'}`,
      `Run on the target: create schema ${schema} authorization ${user};`,
    );
  else if (theirs === 'false' || (mayAdd === 'false' && tables.create))
    error(
      `${place}.schema`,
      `${user} may not ${theirs === 'false' ? 'use' : 'create tables in'} the schema ${schema}`,
      `Run on the target: grant usage${tables.create ? ', create' : ''} on schema ${schema} to ${user};`,
    );
  if (ours === 'true') {
    const { rows: lanes } = await sql.query(
      `select l.lane from tidegate.lanes l join pg_stat_activity a on a.pid = l.backend_pid and a.backend_start = l.backend_start
       where a.application_name = $1`,
      [`tidegate ${pipeline} lane`],
    );
    if (lanes.length > 0)
      problems.push({
        severity: 'warning',
        path: `pipelines.${pipeline}`,
        message: 'the pipeline is running, here or elsewhere',
        fix: 'Nothing to do if that is meant: a second instance would wait for the slot.',
      });
  }
  return problems;
}
