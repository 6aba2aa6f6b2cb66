/** Tables that the config does not name: those of the source that its patterns fit, and which of them can be followed. */
import type { Position } from '../../core/event.ts';
import type { Asking } from '../../wire/postgres/kept-statements.ts';
import { keylessText, readTable, splitTable } from './catalog.ts';
import { parsePlace, progressOf } from './lane-position.ts';
import type { PostgresSourceOptions } from './source.ts';

/** `hold`: somebody is asked before they are followed; `quarantine`: they are followed, and their rows held until somebody has agreed. */
export type NewTablesPolicy = 'accept' | 'hold' | 'quarantine' | 'ignore';

export interface TablePatterns {
  /** As `schema.table`, where `*` stands for any characters and `?` for one. */
  readonly patterns: readonly string[];
  readonly except: readonly string[];
  /** What becomes of tables that were not there when the lane began. */
  readonly newTables: NewTablesPolicy;
  /** What the target calls a table: no two may have one name there. */
  readonly writtenAs: (table: string) => string;
}

export interface FoundTables {
  /** `schema.table`, in order. */
  readonly tables: readonly string[];
  readonly left: readonly LeftTable[];
}

/** One that a pattern fits, and that cannot be followed as it is. */
export interface LeftTable {
  readonly table: string;
  readonly why: string;
}

export interface Search {
  readonly publication: string;
  readonly patterns: TablePatterns;
  /** Those of the config. */
  readonly named: readonly string[];
  /** Those that are followed already: nothing is asked of them. */
  readonly known: (table: string) => boolean;
  /** Only this one is looked for; left out, all. */
  readonly only?: string;
}

/** Whether a table is one that the patterns fit. Those of the system and of Tidegate never are. */
export function tableMatcher({ patterns, except }: Pick<TablePatterns, 'patterns' | 'except'>): (table: string) => boolean {
  const [fits, excepts] = [patterns, except].map((globs) => globs.map(globMatcher)) as [TableTest[], TableTest[]];
  return (table) => {
    const { schema } = splitTable(table);
    if (schema.startsWith('pg_') || schema === 'information_schema' || schema === 'tidegate') return false;
    return fits.some((fit) => fit(table)) && !excepts.some((fit) => fit(table));
  };
}

type TableTest = (table: string) => boolean;

function globMatcher(pattern: string): TableTest {
  const { schema, name } = splitTable(pattern);
  const [ofSchema, ofName] = [globRegExp(schema), globRegExp(name)];
  return (table) => {
    const split = splitTable(table);
    return ofSchema.test(split.schema) && ofName.test(split.name);
  };
}

function globRegExp(glob: string): RegExp {
  const source = glob
    .replaceAll(/[\\^$.|+()[\]{}]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 'su');
}

/**
 * What there is now. A table that is followed stays so whatever else is there; of others that would go to one table of the target, the first by name is taken.
 * Where the publication lacks a table, it has to be one that we may add.
 */
export async function findTables(connection: Asking, search: Search): Promise<FoundTables> {
  const { patterns, named, known, publication } = search;
  const fits = tableMatcher(patterns);
  const candidates = (await candidateTables(connection, search)).filter(({ table }) => fits(table) && !named.includes(table));
  const taken = new Map(named.map((table) => [patterns.writtenAs(table), table]));
  const unusable = await whyUnusable(
    connection,
    candidates.flatMap(({ table, why }) => (known(table) || why !== null ? [] : [table])),
    publication,
  );
  const tables: string[] = [];
  const left: LeftTable[] = [];
  for (const candidate of candidates.toSorted((a, b) => Number(known(b.table)) - Number(known(a.table)))) {
    const { table } = candidate;
    const other = taken.get(patterns.writtenAs(table));
    const why =
      other === undefined
        ? known(table)
          ? null
          : (candidate.why ?? unusable.get(table) ?? null)
        : `the target has ${other} under the same name: give one of them another by a layout`;
    if (why === GONE) continue;
    if (why === null) {
      taken.set(patterns.writtenAs(table), table);
      tables.push(table);
    } else left.push({ table, why });
  }
  return { tables: tables.toSorted(), left };
}

interface Candidate {
  readonly table: string;
  readonly why: string | null;
}

const GONE = 'gone';

/**
 * Tables that come under their own name. Partitions do not where their table is published as one, which is how Tidegate makes a publication; and the
 * partitioned table does not where it isn't. Not asked of pg_publication_tables, which locks all of them. `schemas` is known since PostgreSQL 15.
 */
const candidatesSql = (schemas: boolean): string => `
  select n.nspname || '.' || c.relname, pg_catalog.strpos(n.nspname, '.') > 0,
         pg_catalog.has_table_privilege(c.oid, 'select') and pg_catalog.has_schema_privilege(n.oid, 'usage'),
         p.oid is null or p.puballtables
           or exists (select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid
                         and r.prrelid in (select c.oid union all select a.relid from pg_catalog.pg_partition_ancestors(c.oid) a))
           ${schemas ? 'or exists (select from pg_catalog.pg_publication_namespace m where m.pnpubid = p.oid and m.pnnspid = n.oid)' : ''},
         pg_catalog.pg_has_role(c.relowner, 'usage') and coalesce(pg_catalog.pg_has_role(p.pubowner, 'usage'), true), p.oid is null
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_publication p on p.pubname = $1
   where c.relkind in ('r', 'p') and c.relpersistence <> 't'
     and case when coalesce(p.pubviaroot, true) then not c.relispartition else c.relkind = 'r' end
     and ($2 = '' or n.nspname || '.' || c.relname = $2)
   order by n.nspname || '.' || c.relname collate "C"`;

async function candidateTables(connection: Asking, { publication, only = '' }: Search): Promise<readonly Candidate[]> {
  const { rows } = await connection.query(candidatesSql(connection.majorVersion >= 15), [publication, only]);
  return rows.map(([table, hasDot, mayRead, isPublished, mayAdd, isUnmade]) => ({
    table: table ?? '',
    why:
      hasDot === 't'
        ? 'there is a dot in the name of its schema'
        : mayRead !== 't'
          ? `the role may not read it: grant select on it (and usage on its schema)`
          : isPublished !== 't' && mayAdd !== 't'
            ? `it is not in the publication ${publication}, and the role may not add it`
            : isUnmade === 't' && mayAdd !== 't'
              ? 'the role does not own it, and so may not publish it'
              : null,
  }));
}

const TABLES_AT_ONCE = 50;

/** Those that cannot be followed, and why. Some are asked for at once, without waiting for the answers of those before. */
async function whyUnusable(connection: Asking, tables: readonly string[], publication: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (let from = 0; from < tables.length; from += TABLES_AT_ONCE) {
    const some = tables.slice(from, from + TABLES_AT_ONCE);
    const whys = await Promise.all(some.map((table) => unusableFor(connection, table, publication)));
    for (const [i, table] of some.entries()) if (typeof whys[i] === 'string') found.set(table, whys[i]);
  }
  return found;
}

/** Null where it can be followed. */
async function unusableFor(connection: Asking, table: string, publication: string): Promise<string | null> {
  const found = await readTable(connection, table, publication, 'not asked');
  if (found === null) return GONE;
  if (!found.isLogged) return 'its changes are not in the log, for it is unlogged';
  return found.keyNames.length === 0 ? keylessText(connection, found) : null;
}

/** Those of the config, and those that its patterns find now. */
export async function allTables(
  connection: Asking,
  { tables, patterns = null, publication }: Pick<PostgresSourceOptions, 'tables' | 'patterns' | 'publication'>,
): Promise<readonly string[]> {
  if (patterns === null) return tables;
  return [...tables, ...(await findTables(connection, { publication, patterns, named: tables, known: () => false })).tables];
}

/** Without those that patterns find, and that the lane has not taken up (yet). */
export function tablesOfLane(position: Position | null, tables: readonly string[], named: readonly string[]): readonly string[] {
  const mark = position === null ? null : parsePlace(position).snapshot;
  return tables.filter((table) => named.includes(table) || progressOf(mark, table) !== null);
}
