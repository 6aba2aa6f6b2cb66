/** What keeps a target from taking rows, found out without changing anything. */
import { PipelineError, withCauses } from '../../core/errors.ts';
import type { Dataset } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { arrayLiteral, quoteIdent, quoteQualified } from '../../wire/postgres/ident.ts';
import { changesSessions, POOLED } from '../../wire/postgres/pooled.ts';
import { targetFailure } from './failures.ts';
import { hasIndex, indexSql, type WantedIndex, wantedIndex } from './keyed/asked-table.ts';
import { indexOf, Parents } from './keyed/parents.ts';
import { aliveSql, layoutProblems, Layouts, STAMP_TYPES } from './layout.ts';
import type { PostgresSinkOptions } from './sink.ts';
import { claimProblems } from './table-claims.ts';
import { KEY_INDEX_SQL, scoreColumns, takesValuesSql } from './tables.ts';

/** Paths are `targets.<name>.…`. */
export function probePostgresTarget(options: PostgresSinkOptions): Promise<Problem[]> {
  return probe(options, look);
}

/** The tables that these datasets go to, as they are by now. Paths are the same. */
export function probePostgresTables(options: PostgresSinkOptions, datasets: readonly Dataset[]): Promise<Problem[]> {
  return probe(options, async (sql, _, place) => {
    const problems: Problem[] = [];
    for (const dataset of datasets)
      problems.push(...(await lookAtTable(sql, options, dataset, place)), ...(await lookAtParents(sql, options, dataset, place)));
    problems.push(...(await lookAtClaims(sql, options, datasets, place)));
    return problems;
  });
}

async function lookAtClaims(
  sql: PgConnection,
  { pipeline, claims, rowVersions = null, schema, datasets: layouts }: PostgresSinkOptions,
  datasets: readonly Dataset[],
  place: string,
): Promise<readonly Problem[]> {
  if (claims === undefined) return [];
  const tables = new Layouts(schema, layouts);
  const own = datasets.map(({ name }) => ({ dataset: name, ...tables.tableOf(name) }));
  return claimProblems({ sql, pipeline, keepsVersions: rowVersions !== null, options: claims }, own, place);
}

async function probe(
  options: PostgresSinkOptions,
  work: (sql: PgConnection, options: PostgresSinkOptions, place: string) => Promise<Problem[]>,
): Promise<Problem[]> {
  const place = `targets.${options.name}`;
  try {
    await using sql = await PgConnection.connect({ url: options.url, applicationName: 'tidegate check', connectTimeoutMs: 5000 });
    if (await changesSessions(sql, options.url)) throw new PipelineError('CONFIG_INVALID', `the url of targets.${options.name} ${POOLED}`);
    return await work(sql, options, place);
  } catch (error) {
    const failure = targetFailure(error, `the target ${options.name} cannot be used`);
    if (!(failure instanceof PipelineError)) throw failure;
    return [{ severity: 'error', path: `${place}.url`, message: withCauses(failure), fix: failure.fix }];
  }
}

async function look(sql: PgConnection, options: PostgresSinkOptions, place: string): Promise<Problem[]> {
  const { tables, pipeline } = options;
  const problems: Problem[] = [];
  const error = (path: string, message: string, fix: string): void => {
    problems.push({ severity: 'error', path, message, fix });
  };
  const { rows } = await sql.query(
    `select current_user, current_setting('server_version_num')::int, pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on',
       has_database_privilege(current_database(), 'create'), has_database_privilege(current_database(), 'temporary'),
       coalesce((select has_schema_privilege(oid, 'usage, create') from pg_namespace where nspname = 'tidegate')::text, 'none'),
       pg_catalog.pg_encoding_to_char((select encoding from pg_catalog.pg_database where datname = current_database()))`,
  );
  const [user, version, isReadOnly, mayCreate, mayStage, ours, encoding] = rows[0] ?? [];
  if (Number(version) < 140_000)
    error(`${place}.url`, 'the target is older than PostgreSQL 14', 'Use PostgreSQL 14 or newer as the target.');
  if (isReadOnly === 't') error(`${place}.url`, 'the target takes no writes', 'Point the url at the primary.');
  if (encoding !== 'UTF8' && encoding !== 'SQL_ASCII')
    problems.push({
      severity: 'warning',
      path: `${place}.url`,
      message: `the target is in ${encoding ?? 'another encoding'}: rows with texts that it lacks are held, and a key that it lacks halts the pipeline`,
      fix: 'Use a target in UTF8, unless the source has no other characters.',
    });
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
  if (options.replicationRole === 'replica') {
    const isKnown = Number(version) >= 150_000;
    const may = isKnown
      ? `has_parameter_privilege('session_replication_role', 'set')`
      : `(select rolsuper from pg_roles where rolname = current_user)`;
    const { rows: allowed } = await sql.query(`select ${may}`);
    if (allowed[0]?.[0] !== 't')
      error(
        `${place}.replicationRole`,
        `${user} may not set session_replication_role`,
        isKnown
          ? `Run on the target: grant set on parameter session_replication_role to ${quoteIdent(user ?? '')};`
          : 'Before PostgreSQL 15 only a superuser may: leave replicationRole out, or write as one.',
      );
  }
  const own = [...(options.datasets?.values() ?? [])].map((layout, i) => [`.layouts[${i}].schema`, layout.schema] as const);
  for (const [path, schema] of [['.schema', options.schema] as const, ...own]) {
    if (schema === null) continue;
    const { rows: found } = await sql.query(
      `select has_schema_privilege(oid, 'usage'), has_schema_privilege(oid, 'create') from pg_namespace where nspname = $1`,
      [schema],
    );
    const [mayUse = 'none', mayAdd] = found[0] ?? [];
    if (mayUse === 'none' && (!tables.create || mayCreate !== 't'))
      error(
        `${place}${path}`,
        `the target has no schema ${schema}, and ${tables.create ? `${user} may not create one` : 'tables.create is off'}`,
        `Run on the target: create schema ${quoteIdent(schema)} authorization ${quoteIdent(user ?? '')};`,
      );
    else if (mayUse === 'f' || (mayAdd === 'f' && tables.create))
      error(
        `${place}${path}`,
        `${user} may not ${mayUse === 'f' ? 'use' : 'create tables in'} the schema ${schema}`,
        `Run on the target: grant usage${tables.create ? ', create' : ''} on schema ${quoteIdent(schema)} to ${quoteIdent(user ?? '')};`,
      );
  }
  // Somebody may have made the schema for us, with nothing in it yet.
  const known = ours === 'true' && (await sql.query("select to_regclass('tidegate.lanes') is not null")).rows[0]?.[0] === 't';
  if (known) {
    const { rows: lanes } = await sql.query(
      `select l.lane from tidegate.lanes l join pg_stat_activity a on a.pid = l.backend_pid and a.backend_start = l.backend_start
       where a.application_name = $1::name::text`, // The server cuts long names off.
      [`tidegate ${pipeline} lane`],
    );
    if (lanes.length > 0)
      problems.push(
        running(
          pipeline,
          options.claims?.road,
          lanes.map(([lane]) => lane ?? ''),
        ),
      );
  }
  return problems;
}

/** `lanes`: those that are there under the pipeline's name; that of released rows has no slash. */
function running(pipeline: string, road: string | undefined, lanes: readonly string[]): Problem {
  const other = road === undefined ? undefined : lanes.find((lane) => lane.includes('/') && lane !== road && !lane.startsWith(`${road}/`));
  const isOurs = other === undefined;
  return {
    severity: 'warning',
    path: `pipelines.${pipeline}`,
    message: isOurs ? 'the pipeline is running, here or elsewhere' : `a pipeline of this name is running by another lane, ${other}`,
    fix: isOurs
      ? 'Nothing to do if that is meant: a second instance would wait for the slot.'
      : 'This one would wait for its end. Where it is of another service, give one of the two another name.',
  };
}

const NEEDED = ['select', 'insert', 'update', 'delete', 'truncate'] as const;

async function lookAtTable(sql: PgConnection, options: PostgresSinkOptions, dataset: Dataset, place: string): Promise<Problem[]> {
  const { schema, datasets, tables, scores } = options;
  const index = [...(datasets?.keys() ?? [])].indexOf(dataset.name);
  const layoutPlace = `${place}.layouts[${index}]`;
  const own = datasets?.get(dataset.name);
  const written = scores.filter((score) => score.dataset === dataset.name).map(({ write }) => write);
  const faults = own === undefined ? [] : layoutProblems(dataset, own, written);
  if (faults.length > 0) return faults.map((fault) => ({ ...fault, path: `${layoutPlace}.${fault.path}` }));

  const layout = new Layouts(schema, datasets).of(dataset);
  const table = quoteQualified(layout.schema, layout.table);
  const path = index < 0 ? `${place}.tables` : layoutPlace;
  const problems: Problem[] = [];
  const error = (message: string, fix: string): void => {
    problems.push({ severity: 'error', path, message, fix });
  };
  const { rows } = await sql.query(
    `select current_user, pg_has_role(c.relowner, 'usage'), ${NEEDED.map((one) => `has_table_privilege(c.oid, '${one}')`).join(', ')}
       from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2`,
    [layout.schema, layout.table],
  );
  const [user, owns, ...may] = rows[0] ?? [];
  if (user === undefined) {
    if (!tables.create) error(`the target has no table ${table} for ${dataset.name}`, 'Create it, or set tables.create to true.');
    return problems;
  }
  const lacking = NEEDED.filter((_, i) => may[i] !== 't');
  if (lacking.length > 0)
    error(
      `${user} may not ${lacking.join(', ')} on ${table}`,
      `Run on the target: grant ${lacking.join(', ')} on ${table} to ${quoteIdent(user ?? '')};`,
    );
  const wanted = [
    ...dataset.columns.map(({ native }, i) => ({ name: layout.names[i] ?? null, type: native })),
    ...written.flatMap(scoreColumns),
    ...layout.stamps.map(({ stamp, name }) => ({ name, type: STAMP_TYPES[stamp].type })),
  ];
  const { rows: present } = await sql.query(
    `select a.attname, a.attidentity = 'a', a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '' from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped`,
    [layout.schema, layout.table],
  );
  const missing = wanted.filter(({ name }) => name !== null && !present.some(([found]) => found === name));
  if (missing.length > 0 && !(tables.widen && owns === 't')) {
    const why = tables.widen ? `${user} does not own the table` : 'tables.widen is off';
    const adding = missing.map(({ name, type }) => `add column ${quoteIdent(name ?? '')} ${type}`).join(', ');
    error(
      `${table} lacks ${missing.map(({ name }) => name).join(', ')}, and ${why}`,
      `Run on the target, as the owner: alter table ${table} ${adding};`,
    );
  }
  const made = present.flatMap(([name, isIdentity]) => (isIdentity === 't' && layout.names.includes(name ?? '') ? [name ?? ''] : []));
  if (made.length > 0)
    error(
      `${table} makes the values of ${made.join(', ')} itself`,
      `Run on the target: ${made.map((name) => `${takesValuesSql(table, name)};`).join(' ')}`,
    );
  const unwritten = present.flatMap(([name, , needsValue]) =>
    needsValue === 't' && !wanted.some((column) => column.name === name) ? [name ?? ''] : [],
  );
  if (unwritten.length > 0)
    error(
      `${table} wants a value of ${unwritten.join(', ')}, which nothing writes: every row would be held`,
      `Run on the target: alter table ${table} ${unwritten.map((name) => `alter column ${quoteIdent(name)} drop not null`).join(', ')}; or give it a default.`,
    );
  const key = dataset.key.map((i) => layout.names[i] ?? '');
  if (key.every((name) => present.some(([found]) => found === name))) {
    const { rows: indexed } = await sql.query(KEY_INDEX_SQL, [table, arrayLiteral(key), layout.isHistory]);
    const open = layout.isHistory ? ` where ${aliveSql(layout, '')}` : '';
    if (indexed.length === 0)
      error(
        `${table} has no ${layout.isHistory ? 'unique index of the open versions' : 'primary key or unique index'} on ${key.join(', ')}`,
        `Run on the target: create unique index on ${table} (${key.map(quoteIdent).join(', ')})${open};`,
      );
  }
  problems.push(
    ...(await lackingIndices(sql, options, dataset, table, layout.names, path)),
    ...(await inTheWay(sql, options, table, path)),
  );
  return problems;
}

/** What keeps rows from being written and says nothing of it, or from any of them. */
async function inTheWay(sql: PgConnection, { replicationRole }: PostgresSinkOptions, table: string, path: string): Promise<Problem[]> {
  const { rows } = await sql.query(
    `select quote_ident(current_user), row_security_active(c.oid),
       (select string_agg(quote_ident(rulename), ', ' order by rulename) from pg_rewrite where ev_class = c.oid and ev_type <> '1' and is_instead and ev_enabled in ('A', $2))
       from pg_class c where c.oid = $1::text::regclass`,
    [table, replicationRole === 'replica' ? 'R' : 'O'],
  );
  const [user, hasPolicies, rules] = rows[0] ?? [];
  const problems: Problem[] = [];
  const warning = (message: string, fix: string): void => void problems.push({ severity: 'warning', path, message, fix });
  if (hasPolicies === 't')
    warning(
      `policies hold on ${table} for ${user}: a row that they hide from it stays where it is to be deleted, and nobody is told`,
      `Let it see and write every row, or run on the target: alter role ${user} bypassrls;`,
    );
  if (typeof rules === 'string')
    warning(
      `the rules ${rules} on ${table} do something else instead of what is written there, and nobody is told; one for insert or update may stop the lane`,
      'Make them triggers, or have replicationRole: replica.',
    );
  return problems;
}

/** Without an index each question of a rule reads the whole table. Where tables are made, so are these. */
async function lackingIndices(
  sql: PgConnection,
  { tables, keyed }: PostgresSinkOptions,
  dataset: Dataset,
  table: string,
  names: readonly (string | null)[],
  path: string,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const rule of tables.create ? [] : (keyed?.(dataset) ?? [])) {
    const wanted = wantedIndex(rule, table, names);
    if (wanted === null || (await hasIndex(sql, wanted))) continue;
    problems.push(withoutIndex(wanted, rule.id, dataset, path));
  }
  return problems;
}

/** The tables that rules of references name: whether their columns are written, and found by an index. */
async function lookAtParents(sql: PgConnection, options: PostgresSinkOptions, dataset: Dataset, place: string): Promise<Problem[]> {
  const { schema, datasets, tables, keyed } = options;
  const parents = new Parents(new Layouts(schema, datasets));
  const problems: Problem[] = [];
  for (const { id, question } of keyed?.(dataset) ?? []) {
    if (question.kind !== 'reference') continue;
    const { parent } = question;
    const index = [...(datasets?.keys() ?? [])].indexOf(parent.dataset);
    const path = index < 0 ? `${place}.tables` : `${place}.layouts[${index}]`;
    try {
      const table = await parents.of(sql, parent);
      if (table === null || tables.create || (await hasIndex(sql, indexOf(table)))) continue;
      problems.push(withoutIndex(indexOf(table), id, dataset, path));
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      const fix = `Have ${parent.columns.join(', ')} of ${parent.dataset} written, or remove the rule ${id} of ${dataset.name}.`;
      problems.push({ severity: tables.widen && index < 0 ? 'warning' : 'error', path, message: error.message, fix });
    }
  }
  return problems;
}

const withoutIndex = (wanted: WantedIndex, rule: string, dataset: Dataset, path: string): Problem => ({
  severity: 'warning',
  path,
  message: `${wanted.qualified} has no index on ${wanted.columns.join(', ')}, and the rule ${rule} of ${dataset.name} asks it with every batch`,
  fix: `Run on the target: ${indexSql(wanted)};`,
});
