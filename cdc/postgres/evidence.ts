/** Whether a table is in the catalog as it was: what describes it takes a dozen queries, and before each chunk of a copy it has mostly not changed. */
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteLiteral } from '../../wire/postgres/ident.ts';
import { withInnerTypes } from '../../wire/postgres/types.ts';
import { splitTable } from './catalog.ts';

/** Oids below are of what comes with the server (FirstNormalObjectId in access/transam.h), and stays as it is. */
const FIRST_OWN_OID = 16384;

/** Of this session: planning it takes most of its time. */
const NAME = 'tidegate_evidence';
const prepared = new WeakSet<PgConnection>();

/**
 * SQL for one text: the transactions that last wrote the catalog's rows of the table, of its columns, defaults, indexes and comments, of its types and what is inside
 * them, and of what the publication has of it. Rows of the catalog are written in place for statistics alone, so where the text is the same, all of these are. No row
 * where there is no such table. For this connection only.
 */
export async function evidenceSql(connection: PgConnection, table: string, publication: string): Promise<string> {
  if (!prepared.has(connection)) {
    await connection.script(`prepare ${NAME} (name, name, name) as ${evidence(connection.majorVersion)}`);
    prepared.add(connection);
  }
  const { schema, name } = splitTable(table);
  return `execute ${NAME} (${[schema, name, publication].map(quoteLiteral).join(', ')})`;
}

function evidence(majorVersion: number): string {
  const types = `${withInnerTypes('select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped')}
    select pg_catalog.string_agg(pg_catalog.concat_ws(':', t.oid, t.xmin, s.xmin,
      ${writersOf('pg_attribute', 'attnum', 'r.attrelid = t.typrelid and r.attnum > 0')}, ${writersOf('pg_enum', 'oid', 'r.enumtypid = t.oid')}), ',' order by t.oid)
      from wanted w join pg_catalog.pg_type t on t.oid = w.oid join pg_catalog.pg_namespace s on s.oid = t.typnamespace where t.oid >= ${FIRST_OWN_OID}`;
  const parts = [
    'c.oid, c.xmin, p.oid, p.xmin',
    writersOf('pg_attribute', 'attnum', 'r.attrelid = c.oid and r.attnum > 0'),
    writersOf('pg_attrdef', 'adnum', 'r.adrelid = c.oid'),
    writersOf('pg_index', 'indexrelid', 'r.indrelid = c.oid'),
    writersOf('pg_description', 'objsubid', "r.objoid = c.oid and r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass"),
    writersOf(
      'pg_publication_rel',
      'oid',
      'r.prpubid = p.oid and r.prrelid in (select c.oid union all select a.relid from pg_catalog.pg_partition_ancestors(c.oid) a)',
    ),
    ...(majorVersion < 15 ? [] : [writersOf('pg_publication_namespace', 'oid', 'r.pnpubid = p.oid')]),
    // Their replica identities.
    `(select pg_catalog.string_agg(l.oid || ':' || l.xmin || l.relreplident::text, ',' order by l.oid)
        from pg_catalog.pg_partition_tree(case c.relkind when 'p' then c.oid end) t join pg_catalog.pg_class l on l.oid = t.relid where t.isleaf)`,
    `(${types})`,
  ];
  return `select pg_catalog.json_build_array(${parts.join(', ')})::text
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_publication p on p.pubname = $3
   where n.nspname = $1 and c.relname = $2`;
}

const writersOf = (catalog: string, id: string, where: string): string =>
  `(select pg_catalog.string_agg(r.${id} || ':' || r.xmin, ',' order by r.${id}) from pg_catalog.${catalog} r where ${where})`;
