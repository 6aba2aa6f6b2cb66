/** Items of the quarantine that wait for a change of their table. */
import { type Finding, isOfSchema } from '../../core/batch.ts';
import type { Quarantined } from '../../core/contracts.ts';
import { versionOf } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';

/** The finding of an event that was made when the table had another key: nobody can say which row it is of. */
export const SCHEMA_KEY_RULE = 'schema.former_key';

/** Whether an item is held for its dataset's sake. */
export const isParkedItem = (findings: readonly Finding[]): boolean =>
  findings.some((finding) => finding.stage === 'sync' && isOfSchema(finding) && finding.rule !== SCHEMA_KEY_RULE);

/**
 * Counts items that were just held onto the change they wait for. Answers those that wait for none any more: it was approved after they were judged. In
 * a transaction that has the pipeline's turn.
 */
export async function noteParked(sql: PgConnection, pipeline: string, items: readonly Quarantined[]): Promise<readonly string[]> {
  const parked = items.filter(({ findings }) => isParkedItem(findings));
  if (parked.length === 0) return [];
  const { rows } = await sql.query(
    `select dataset, min(id), min(version) from tidegate.schema_changes where pipeline = $1 and status in ('held', 'rejected') and rule <> '' group by 1`,
    [pipeline],
  );
  const open = new Map(rows.map(([dataset, id, version]) => [dataset, { id: id ?? '', version: version ?? '', count: 0 }]));
  const free: string[] = [];
  for (const { id, event } of parked) {
    const change = open.get(event.dataset.name);
    if (change === undefined || versionOf(event) < change.version) free.push(id);
    else change.count++;
  }
  for (const { id, count } of open.values())
    if (count > 0) await sql.query('update tidegate.schema_changes set held = held + $2 where id = $1', [id, count]);
  return free;
}
