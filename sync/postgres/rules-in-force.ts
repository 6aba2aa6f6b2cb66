/**
 * Which revision of a dataset's rules each process that reads lanes has in force, said by the processes themselves. Several of them may have different rule files, for as long as somebody
 * changes these one by one, or by mistake: what one has staged by its rules is not for another to publish by others.
 */
import type { DatasetName } from '../../core/event.ts';
import { textArrayParameter } from './arrays.ts';
import type { Turns } from './turns.ts';

/** As long as windows are kept that nobody asks for any more. A process says so several times within that. */
const SAID_WITHIN = "interval '2 minutes'";
const KEPT = "interval '30 days'";
/** Who has not said so for this long is not merely standing still. */
const GONE = "interval '1 hour'";

/** What a process had before, and what those had that read no more. */
const LEFT_SQL = `update tidegate.rules_in_force r set said_at = '-infinity'
  where pipeline = $1 and said_at > '-infinity' and case when process = $2
    then not exists (select from unnest($3::text[], $4::text[]) g(dataset, revision) where g.dataset = r.dataset and g.revision = r.revision)
    else $5::boolean end`;

const SAY_SQL = `insert into tidegate.rules_in_force as r (pipeline, process, dataset, revision)
    select $1, $2, dataset, revision from unnest($3::text[], $4::text[]) g(dataset, revision) order by dataset
  on conflict (pipeline, dataset, revision, process) do update set said_at = excluded.said_at,
    taken_at = case when r.said_at = '-infinity' then excluded.taken_at else r.taken_at end`;

/** Of those that are gone the last one that took a revision up says all that there is to know of it: each start of a process adds one. */
const FORGET_SQL = `delete from tidegate.rules_in_force r where pipeline = $1 and (
  said_at < clock_timestamp() - ${SAID_WITHIN} and taken_at < clock_timestamp() - ${KEPT}
    and not exists (select from tidegate.lots l where l.pipeline = $1 and l.dataset = r.dataset and l.staged > 0 and r.revision = any(l.revisions))
  or said_at < clock_timestamp() - ${GONE} and exists (
    select from tidegate.rules_in_force n where n.pipeline = $1 and n.dataset = r.dataset and n.revision = r.revision and n.taken_at > r.taken_at))`;

/** A process without rules for a dataset has this revision of them. */
export const NO_RULES = '';

/**
 * Notes of each lot that waits for its window why it is not for this process to settle, whose revisions are `own` ($2 and $3): another one has the revision in force that staged a
 * row of it, or had it and took it up after this one's.
 */
export const MARK_LOTS_SQL = `
  with own as (select * from unnest($2::text[], $3::text[]) o(dataset, revision)),
  why as (
    select l.dataset, l.starts, l.ends, (
      select format('rows of it were staged by the rules %s, which %s; the process that closes windows has %s', r.revision,
          case when bool_or(r.said_at > clock_timestamp() - ${SAID_WITHIN}) then 'another process has in force' else 'are newer, and no process has in force now' end,
          coalesce(nullif(max(o.revision), ''), 'none for the table'))
      from tidegate.rules_in_force r left join own o on o.dataset = r.dataset
      where r.pipeline = $1 and r.dataset = l.dataset and r.revision = any(l.revisions) and r.revision <> coalesce(o.revision, '')
        and (r.said_at > clock_timestamp() - ${SAID_WITHIN}
          or r.taken_at > (select max(c.taken_at) from tidegate.rules_in_force c where c.pipeline = $1 and c.dataset = l.dataset and c.revision = coalesce(o.revision, '')))
      group by r.revision order by r.revision limit 1) as waits
    from tidegate.lots l where l.pipeline = $1 and l.staged > 0 and l.starts >= 0)
  update tidegate.lots l set waits = why.waits from why
  where l.pipeline = $1 and l.dataset = why.dataset and l.starts = why.starts and l.ends = why.ends and l.waits is distinct from why.waits`;

/** `isAlone`: nobody else reads lanes of the pipeline. */
export async function sayRules(
  turns: Turns,
  pipeline: string,
  process: string,
  rules: ReadonlyMap<DatasetName, string>,
  isAlone: boolean,
): Promise<void> {
  const own = [pipeline, process, textArrayParameter([...rules.keys()]), textArrayParameter([...rules.values()])];
  await turns.take('saying which rules are in force', async (sql) => {
    await sql.query(LEFT_SQL, [...own, String(isAlone)]);
    await sql.query(SAY_SQL, own);
    await sql.query(FORGET_SQL, [pipeline]);
  });
}
