/**
 * Who writes which table: kept in the target, for two services need not know of each other. A table is claimed by the road that writes it (a source's lanes, and what
 * is released of them) before anything of it is written, and stays so while that road is away: another pipeline is refused by name.
 *
 * Roads may share a table where both keep row versions and bring the same table of a source: then it does not matter who comes first. A road takes a table over from one
 * that has ended: that of its own pipeline and dataset, whose slot or group has another name since, or that of a pipeline which the config says it takes over.
 */
import type { Batch } from '../../core/batch.ts';
import { ERRORS, PipelineError } from '../../core/errors.ts';
import type { Dataset, DatasetName, LaneId } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteQualified } from '../../wire/postgres/ident.ts';
import { textArrayParameter } from './arrays.ts';
import type { Layouts } from './layout.ts';

export interface ClaimOptions {
  /** The pipeline's lane, or what the names of all its lanes begin with, before a slash. */
  readonly road: LaneId;
  /** Whether the road still has the dataset: else its table is free. */
  readonly hasDataset: (dataset: DatasetName) => boolean;
  /** Pipelines that have ended, whose tables are this one's from now on. */
  readonly takesOver: readonly string[];
}

export interface TableClaimsParts {
  readonly sql: PgConnection;
  /** What the pipeline's sessions that write lanes are called. */
  readonly session: string;
  readonly pipeline: string;
  /** The target's name. */
  readonly target: string;
  readonly layouts: Layouts;
  readonly keepsVersions: boolean;
  readonly options: ClaimOptions;
}

interface Claim {
  readonly pipeline: string;
  readonly road: string;
  readonly dataset: string;
  readonly keepsVersions: boolean;
  readonly since: string;
  /** Whether a session of its lanes is there. */
  readonly isLive: boolean;
}

/** Sessions that write lanes of the road `c.road`. One whose beginning we may not see goes by its name: a number alone is soon that of another process. */
const SESSIONS_SQL = `select from tidegate.lanes l join pg_stat_activity a on a.pid = l.backend_pid
      and (a.backend_start = l.backend_start or (a.backend_start is null and starts_with(a.application_name, 'tidegate ')))
    where (l.lane = c.road or starts_with(l.lane, c.road || '/'))`;

const CLAIMS_SQL = `select c.schema, c.name, c.pipeline, c.road, c.dataset, c.versions, to_char(c.at, 'YYYY-MM-DD'), exists (${SESSIONS_SQL})
  from tidegate.table_claims c join unnest($1::text[], $2::text[]) w(schema, name) using (schema, name)`;

/** Claims keep a pipeline's name until their tables are written under another one, so what its sessions are called counts too. The server cuts long names off. */
const NAMESAKE_SQL = `select c.road from tidegate.table_claims c
  where c.pipeline = $1 and c.road <> $2 and exists (${SESSIONS_SQL} and a.application_name = $3::name::text) order by 1 limit 1`;

export class TableClaims {
  readonly #parts: TableClaimsParts;
  readonly #own = new Set<DatasetName>();

  constructor(parts: TableClaimsParts) {
    this.#parts = parts;
  }

  /** What the road has claimed before; what it has left is free from here on. Throws TARGET_BUSY where it would go on beside another one of its pipeline's name. */
  async load(): Promise<void> {
    const { sql, pipeline, layouts, keepsVersions, options } = this.#parts;
    const { rows } = await sql.query('select schema, name, pipeline, dataset, versions from tidegate.table_claims where road = $1', [
      options.road,
    ]);
    this.#own.clear();
    const left: (readonly [string, string])[] = [];
    for (const [schema, name, by, of, versions] of rows) {
      const dataset = (of ?? '') as DatasetName; // Written by us from one.
      const place = options.hasDataset(dataset) ? layouts.tableOf(dataset) : null;
      if (place?.schema !== schema || place?.table !== name) left.push([schema ?? '', name ?? '']);
      else if (by === pipeline && (versions === 't') === keepsVersions) this.#own.add(dataset);
    }
    if (left.length > 0)
      await sql.query(
        'delete from tidegate.table_claims c using unnest($2::text[], $3::text[]) w(schema, name) where c.road = $1 and c.schema = w.schema and c.name = w.name',
        [options.road, textArrayParameter(left.map(([schema]) => schema)), textArrayParameter(left.map(([, name]) => name))],
      );
    // One that has none yet is told when it takes its first, by what it knows of that table.
    if (this.#own.size > 0) await this.#refuseBesideNamesake();
  }

  /** Whether all tables of a batch are the road's, without asking. */
  has(batch: Batch): boolean {
    return this.#missing(batch).size === 0;
  }

  /**
   * Claims the tables of a batch. Throws TARGET_TABLE_CLAIMED where one is another's, and TARGET_BUSY where another road of this pipeline's name has not ended yet, be
   * it that of one of them or not. A transaction of its own.
   */
  async take(batch: Batch): Promise<void> {
    const missing = [...this.#missing(batch)];
    if (missing.length === 0) return;
    const { sql, layouts } = this.#parts;
    const tables = missing.map((dataset) => ({ dataset, ...layouts.tableOf(dataset) }));
    await sql.script('begin');
    try {
      await sql.query("select pg_advisory_xact_lock(hashtext('tidegate.table_claims'))");
      const ended = (await claimsOn(sql, tables)).filter(({ own, claim }) => this.#settle(own, claim));
      for (const { own, claim } of ended)
        await sql.query('delete from tidegate.table_claims where schema = $1 and name = $2 and road = $3', [
          own.schema,
          own.table,
          claim.road,
        ]);
      await this.#refuseBesideNamesake();
      await this.#write(tables);
      await sql.script('commit');
    } catch (error) {
      if (sql.open) await sql.script('rollback');
      throw error;
    }
    for (const dataset of missing) this.#own.add(dataset);
  }

  /** What is held and released goes by the pipeline's name: two services with one name would write each other's released rows, and pass over their own. */
  async #refuseBesideNamesake(): Promise<void> {
    const { sql, session, pipeline, target, options } = this.#parts;
    const { rows } = await sql.query(NAMESAKE_SQL, [pipeline, options.road, session]);
    const road = rows[0]?.[0] ?? null;
    if (road === null) return;
    throw new PipelineError(
      'TARGET_BUSY',
      `writing to ${target} by ${options.road}: a pipeline ${pipeline} does so by another lane, ${road}, which is not at its end; if that is another service's, give one of the two another name`,
    );
  }

  async #write(tables: readonly OwnTable[]): Promise<void> {
    const { sql, pipeline, keepsVersions, options } = this.#parts;
    const texts = (of: (table: OwnTable) => string) => textArrayParameter(tables.map(of));
    await sql.query(
      `insert into tidegate.table_claims (schema, name, road, pipeline, dataset, versions)
       select w.schema, w.name, $3, $4, w.dataset, $5 from unnest($1::text[], $2::text[], $6::text[]) w(schema, name, dataset)
       on conflict (schema, name, road) do update set pipeline = excluded.pipeline, dataset = excluded.dataset, versions = excluded.versions`,
      [texts(({ schema }) => schema), texts(({ table }) => table), options.road, pipeline, keepsVersions, texts(({ dataset }) => dataset)],
    );
  }

  /** Rows of a run stay no objects. */
  #missing(batch: Batch): ReadonlySet<DatasetName> {
    const { run, found } = batch;
    const missing = new Set<DatasetName>();
    const look = (name: DatasetName): void => {
      if (!this.#own.has(name)) missing.add(name);
    };
    for (const { dataset } of found) look(dataset.name);
    if (run !== null) {
      look(run.dataset.name);
      return missing;
    }
    let last: Dataset | null = null;
    for (const { dataset } of batch.events) {
      if (dataset === last) continue;
      last = dataset;
      if (dataset.undecoded !== true) look(dataset.name);
    }
    return missing;
  }

  /** Whether a claim on one of our tables makes room for ours; false where it may stay. */
  #settle(own: OwnTable, claim: Claim): boolean {
    const judged = judge(this.#parts, own, claim);
    if (judged === 'beside' || judged === 'ended') return judged === 'ended';
    const doing = `writing ${placeOf(own)} at ${this.#parts.target}, for the pipeline ${this.#parts.pipeline}`;
    const whose = wordsOf(claim);
    if (judged === 'ending') throw new PipelineError('TARGET_BUSY', `${doing}: ${whose} by another lane, which is not at its end`);
    throw new PipelineError('TARGET_TABLE_CLAIMED', `${doing}: ${whose}${judged === 'live' ? ', and still does' : ''}`);
  }
}

interface OwnTable {
  readonly dataset: DatasetName;
  readonly schema: string;
  readonly table: string;
}

/** `ended`, `ending`: that of an earlier road of our pipeline, or of one that it takes over. `live`: one that it is to take over, and that goes on. */
function judge(
  { pipeline, keepsVersions, options }: Pick<TableClaimsParts, 'pipeline' | 'keepsVersions' | 'options'>,
  own: OwnTable,
  claim: Claim,
): 'beside' | 'ended' | 'ending' | 'live' | 'refused' {
  if (claim.road === options.road) return 'beside';
  if (keepsVersions && claim.keepsVersions && sourceTable(claim.dataset) === sourceTable(own.dataset)) return 'beside';
  const isSuccessor = claim.pipeline === pipeline && claim.dataset === own.dataset;
  if (!isSuccessor && !options.takesOver.includes(claim.pipeline)) return 'refused';
  if (!claim.isLive) return 'ended';
  return isSuccessor ? 'ending' : 'live';
}

const placeOf = ({ schema, table }: OwnTable): string => quoteQualified(schema, table);

const wordsOf = ({ pipeline, road, dataset, since }: Claim): string =>
  `the pipeline ${pipeline} (${road}) has written ${dataset} there since ${since}`;

function claimFrom([, , pipeline, road, dataset, versions, since, isLive]: readonly (string | null)[]): Claim {
  return {
    pipeline: pipeline ?? '',
    road: road ?? '',
    dataset: dataset ?? '',
    keepsVersions: versions === 't',
    since: since ?? '',
    isLive: isLive === 't',
  };
}

/** Why a lane would be refused one of its tables, found out without claiming any. */
export async function claimProblems(
  parts: Pick<TableClaimsParts, 'sql' | 'pipeline' | 'keepsVersions' | 'options'>,
  tables: readonly OwnTable[],
  path: string,
): Promise<readonly Problem[]> {
  const known = await parts.sql.query("select to_regclass('tidegate.table_claims')");
  if ((known.rows[0]?.[0] ?? null) === null) return [];
  const claims = await claimsOn(parts.sql, tables);
  return claims.flatMap(({ own, claim }): readonly Problem[] => {
    const judged = judge(parts, own, claim);
    if (judged !== 'refused' && judged !== 'live') return [];
    return [{ severity: 'error', path, message: `${placeOf(own)} is taken: ${wordsOf(claim)}`, fix: ERRORS.TARGET_TABLE_CLAIMED.fix }];
  });
}

async function claimsOn(sql: PgConnection, tables: readonly OwnTable[]): Promise<readonly { own: OwnTable; claim: Claim }[]> {
  const { rows } = await sql.query(CLAIMS_SQL, [
    textArrayParameter(tables.map(({ schema }) => schema)),
    textArrayParameter(tables.map(({ table }) => table)),
  ]);
  return rows.flatMap((row) => {
    const own = tables.find(({ schema, table }) => row[0] === schema && row[1] === table);
    return own === undefined ? [] : [{ own, claim: claimFrom(row) }];
  });
}

/** `schema.table` at the source, whatever the source is called. */
const sourceTable = (dataset: string): string => dataset.slice(dataset.indexOf('.') + 1);
