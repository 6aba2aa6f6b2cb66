/**
 * What the log has of old rows of a partitioned table: the columns of the replica identity of the partition that they are in. `alter table … replica identity` does not go
 * down to partitions, and each may have another one; but the server describes all rows by the identity of the table above them.
 */
import type { Asking } from '../../wire/postgres/kept-statements.ts';
import { arrayLiteral } from '../../wire/postgres/ident.ts';

/**
 * Partitions with rows of which old ones are in the log, and not whole. Of a partition whose identity is nothing, the server takes neither updates nor deletes. Not asked of
 * pg_partition_tree, which locks them: the log would wait for whoever changes one of them.
 */
const PARTLY_SQL = `with recursive below(oid) as (
      select $1::pg_catalog.oid union all select i.inhrelid from below b join pg_catalog.pg_inherits i on i.inhparent = b.oid where not i.inhdetachpending)
    select p.oid::pg_catalog.regclass::text from below l join pg_catalog.pg_class p on p.oid = l.oid
   where p.relkind <> 'p' and p.relreplident not in ('f', 'n')`;

const WITHOUT_SQL = `${PARTLY_SQL} and exists (select from pg_catalog.unnest($2::text[]) w(name) where not exists (
    select from pg_catalog.pg_index x, pg_catalog.unnest(x.indkey::pg_catalog.int2[]) with ordinality y(attnum, n)
      join pg_catalog.pg_attribute b on b.attnum = y.attnum
     where x.indrelid = p.oid and b.attrelid = p.oid and b.attname = w.name and y.n <= x.indnkeyatts
       and case p.relreplident when 'd' then x.indisprimary else x.indisreplident end))
   order by p.oid limit 1`;

/** A partition whose old rows come without some of these columns, as SQL; null where there is none. */
export async function partitionWithout(connection: Asking, oid: number, columns: readonly string[]): Promise<string | null> {
  const { rows } = await connection.query(WITHOUT_SQL, [String(oid), arrayLiteral(columns)]);
  return rows[0]?.[0] ?? null;
}

/** Whether old rows of some partitions come with the columns of their identity alone. */
export async function arePartly(connection: Asking, oid: number): Promise<boolean> {
  const { rows } = await connection.query(`select exists (${PARTLY_SQL})`, [String(oid)]);
  return rows[0]?.[0] === 't';
}
