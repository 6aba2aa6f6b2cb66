/** What Tidegate keeps in the target, in the schema `tidegate`: lanes, quarantine, the keys that have something held. */
import type { PgConnection } from '../../wire/postgres/connection.ts';

/** Raised by `tidegate.advance` when the lane belongs to a newer lease. */
export const FENCED = 'TG001';
/** Raised by `tidegate.advance` when the lane does not stand where the batch goes on from. */
export const OUT_OF_TURN = 'TG002';
/** Raised by `tidegate.key_taken` of a row whose key the target would take for another's. */
export const KEY_TAKEN = 'TG003';
export const KEY_TAKEN_FUNCTION = 'tidegate.key_taken';

/** Numbered by their place, never edited: a change is one more. Each runs in one transaction with the note that it ran. */
const MIGRATIONS: readonly string[] = [
  `create table tidegate.lanes (
     lane text primary key,
     epoch bigint not null,
     position text collate "C",
     -- The session that holds the lease: the next one ends it, so that a process that hangs in the middle of a batch holds no locks.
     backend_pid integer, backend_start timestamptz,
     events bigint not null default 0, upserts bigint not null default 0, deletes bigint not null default 0, truncates bigint not null default 0,
     stale bigint not null default 0, folded bigint not null default 0, held bigint not null default 0, dropped bigint not null default 0,
     updated_at timestamptz not null default now());
   create table tidegate.quarantine (
     id text primary key,
     pipeline text not null, lane text not null, dataset text not null,
     key text not null, moved_from text,
     version text collate "C" not null,
     op text not null,
     event bytea not null,
     row_json jsonb not null,
     findings jsonb not null,
     rules text[] not null,
     -- Whether the key waited for this item when it was held.
     hold text not null check (hold in ('event', 'key')),
     status text not null check (status in ('held', 'waiting', 'released', 'applied', 'superseded', 'discarded')),
     held_at timestamptz not null default clock_timestamp(),
     settled_at timestamptz,
     released_seq bigint,
     by_whom text, why text);
   create index on tidegate.quarantine (dataset, key) where status in ('held', 'waiting', 'released');
   create index on tidegate.quarantine (dataset, moved_from) where status in ('held', 'waiting', 'released') and moved_from is not null;
   create index on tidegate.quarantine (released_seq) where status = 'released';
   create index on tidegate.quarantine (held_at desc, id desc);
   create sequence tidegate.releases;
   create table tidegate.held_keys (
     dataset text not null, key text not null,
     -- The newest version the target took of this key since it has something held; null where none came.
     version text collate "C",
     open bigint not null,
     primary key (dataset, key));
   create function tidegate.advance(text, bigint, text, bigint[]) returns void language plpgsql as $$
   begin
     update tidegate.lanes set position = $3, events = events + $4[1], upserts = upserts + $4[2], deletes = deletes + $4[3], truncates = truncates + $4[4],
       stale = stale + $4[5], folded = folded + $4[6], held = held + $4[7], dropped = dropped + $4[8], updated_at = clock_timestamp()
       where lane = $1 and epoch = $2;
     if not found then raise exception 'the lane belongs to a newer lease' using errcode = '${FENCED}'; end if;
   end $$;`,
  // A batch goes on from where the one before it ended, so that it can be sent before that one is answered for.
  `drop function tidegate.advance(text, bigint, text, bigint[]);
   create function tidegate.advance(text, bigint, text, bigint[], text) returns void language plpgsql as $$
   begin
     update tidegate.lanes set position = $3, events = events + $4[1], upserts = upserts + $4[2], deletes = deletes + $4[3], truncates = truncates + $4[4],
       stale = stale + $4[5], folded = folded + $4[6], held = held + $4[7], dropped = dropped + $4[8], updated_at = clock_timestamp()
       where lane = $1 and epoch = $2 and position is not distinct from $5;
     if found then return; end if;
     if exists (select from tidegate.lanes where lane = $1 and epoch = $2) then
       raise exception 'the lane does not stand where the batch goes on from' using errcode = '${OUT_OF_TURN}';
     end if;
     raise exception 'the lane belongs to a newer lease' using errcode = '${FENCED}';
   end $$;`,
  // A statement of its own would be warned of in the server's log with every batch: outside of a block it is taken for a mistake.
  `create function tidegate.defer_constraints() returns void language plpgsql as $$ begin set constraints all deferred; end $$;`,
  // The shapes that the tables here have taken up, and the changes on the way there: `before` and `after` as sync/postgres/schema-plan.ts has them.
  `create table tidegate.schemas (
     pipeline text not null, dataset text not null,
     since text collate "C" not null,
     shape jsonb not null,
     updated_at timestamptz not null default clock_timestamp(),
     primary key (pipeline, dataset));
   create table tidegate.schema_changes (
     id bigint generated always as identity primary key,
     pipeline text not null, dataset text not null,
     -- The first event of the new shape.
     version text collate "C" not null,
     kinds jsonb not null,
     message text not null,
     actions jsonb not null,
     before jsonb, after jsonb not null,
     keyless boolean not null,
     -- The finding by which the dataset's events are held; empty where they are not.
     rule text not null,
     status text not null check (status in ('held', 'rejected', 'approved', 'accepted')),
     -- Why it could not be made by itself.
     problem text,
     held bigint not null default 0,
     -- Whether the source's rows are read anew for it: once it is made, now, under way, done.
     reread text check (reread in ('after', 'wanted', 'begun', 'done')),
     at timestamptz not null default clock_timestamp(),
     settled_at timestamptz,
     by_whom text, why text);
   create index on tidegate.schema_changes (pipeline, dataset) where status in ('held', 'rejected');`,
  // What was committed between these two places was lost from the source's log, and is not known to have been read again.
  `alter table tidegate.lanes add column lost_from text collate "C", add column lost_to text collate "C";`,
  // How many items there are of each kind is asked for every second, and there may be millions of them. Who changes items has the pipeline's turn (held-keys.ts), so
  // nobody waits for these rows that would not wait anyway. A function's plans are kept per trigger, each with the rows that its trigger names.
  `create table tidegate.quarantine_counts (
     pipeline text not null, dataset text not null, status text not null,
     count bigint not null,
     primary key (pipeline, dataset, status));
   insert into tidegate.quarantine_counts select pipeline, dataset, status, count(*) from tidegate.quarantine group by 1, 2, 3;
   create function tidegate.count_items() returns trigger language plpgsql as $$
   begin
     if tg_op = 'TRUNCATE' then
       delete from tidegate.quarantine_counts;
       return null;
     end if;
     if tg_op in ('INSERT', 'UPDATE') then
       insert into tidegate.quarantine_counts as c (pipeline, dataset, status, count)
         select pipeline, dataset, status, count(*) from added group by 1, 2, 3 order by 1, 2, 3
         on conflict (pipeline, dataset, status) do update set count = c.count + excluded.count;
     end if;
     if tg_op in ('UPDATE', 'DELETE') then
       insert into tidegate.quarantine_counts as c (pipeline, dataset, status, count)
         select pipeline, dataset, status, -count(*) from gone group by 1, 2, 3 order by 1, 2, 3
         on conflict (pipeline, dataset, status) do update set count = c.count + excluded.count;
     end if;
     return null;
   end $$;
   create trigger count_added after insert on tidegate.quarantine referencing new table as added for each statement execute function tidegate.count_items();
   create trigger count_changed after update on tidegate.quarantine referencing old table as gone new table as added for each statement execute function tidegate.count_items();
   create trigger count_gone after delete on tidegate.quarantine referencing old table as gone for each statement execute function tidegate.count_items();
   create trigger count_none after truncate on tidegate.quarantine for each statement execute function tidegate.count_items();
   -- Lanes that write as a replica have these fire as well.
   alter table tidegate.quarantine enable always trigger count_added;
   alter table tidegate.quarantine enable always trigger count_changed;
   alter table tidegate.quarantine enable always trigger count_gone;
   alter table tidegate.quarantine enable always trigger count_none;`,
  // Which text of its dataset's rules judged an item.
  `alter table tidegate.quarantine add column revision text;`,
  // The record that an item was made of, as wire/kafka/record-bytes.ts packs it, and what is still to be told of the items of pipelines that tell it. Who changes items has
  // the pipeline's turn, so that the numbers of its news become visible in their order.
  `alter table tidegate.quarantine add column record bytea;
   create table tidegate.quarantine_tellers (
     pipeline text primary key,
     since timestamptz not null default clock_timestamp());
   create table tidegate.quarantine_news (
     seq bigint generated always as identity primary key,
     pipeline text not null, id text not null, status text not null,
     at timestamptz not null default clock_timestamp(),
     -- Of items that are held or wait.
     findings jsonb,
     by_whom text, why text);
   create index on tidegate.quarantine_news (pipeline, seq);
   create function tidegate.note_news() returns trigger language plpgsql as $$
   begin
     if tg_op = 'INSERT' then
       insert into tidegate.quarantine_news (pipeline, id, status, findings, by_whom, why)
         select a.pipeline, a.id, a.status, a.findings, a.by_whom, a.why from added a join tidegate.quarantine_tellers using (pipeline)
         order by a.version, a.id;
     else
       insert into tidegate.quarantine_news (pipeline, id, status, findings, by_whom, why)
         select a.pipeline, a.id, a.status, case when a.status in ('held', 'waiting') then a.findings end, a.by_whom, a.why
         from added a join gone g using (id) join tidegate.quarantine_tellers t on t.pipeline = a.pipeline
         where a.status is distinct from g.status order by a.released_seq nulls first, a.version, a.id;
     end if;
     if found then perform pg_notify('tidegate_news', ''); end if;
     return null;
   end $$;
   create trigger tell_added after insert on tidegate.quarantine referencing new table as added for each statement execute function tidegate.note_news();
   create trigger tell_changed after update on tidegate.quarantine referencing old table as gone new table as added for each statement execute function tidegate.note_news();
   alter table tidegate.quarantine enable always trigger tell_added;
   alter table tidegate.quarantine enable always trigger tell_changed;`,
  // Windows over the stream. `starts` is a Unix time in ms, -1 for the window of a snapshot; `state` belongs to quality/live/fold.ts.
  `create table tidegate.window_parts (
     id bigint generated always as identity primary key,
     pipeline text not null, lane text not null, dataset text not null,
     win text not null, starts bigint not null, grp text not null, late boolean not null,
     rows bigint not null,
     state text not null);
   create index on tidegate.window_parts (pipeline, dataset, win, starts);
   create table tidegate.window_lanes (
     pipeline text not null, dataset text not null, lane text not null,
     -- How far the lane is, the greatest time of a row of the dataset, and when the lane was seen to work.
     time_ms bigint not null, row_ms bigint not null, seen_ms bigint not null,
     untimed bigint not null,
     primary key (pipeline, dataset, lane));
   create table tidegate.window_sets (
     pipeline text not null, dataset text not null, win text not null,
     -- All windows that end here or before have been judged.
     closed_ms bigint,
     -- By lane, the last of its parts that has been read for that.
     judged jsonb not null default '{}',
     primary key (pipeline, dataset, win));
   create table tidegate.window_results (
     id bigint generated always as identity primary key,
     pipeline text not null, dataset text not null, rule text not null,
     type text not null, column_name text,
     win text not null, starts bigint not null, ends bigint, grp text not null,
     revision integer not null,
     verdict text not null check (verdict in ('pass', 'fail', 'indeterminate')),
     observed json, reason text,
     rows bigint not null, missing bigint not null,
     severity text not null, on_fail text not null,
     version integer not null, digest text not null,
     at timestamptz not null,
     -- Whether people were told of it, and what it asks for was done.
     told boolean not null default false,
     unique (pipeline, dataset, rule, win, starts, grp, revision));
   create index on tidegate.window_results (pipeline, at desc, id desc);
   create index on tidegate.window_results (id) where not told;`,
  // Rows that came later than their windows allow.
  'alter table tidegate.window_lanes add column too_late bigint not null default 0;',
  // Service levels. `at` is the beginning of a minute, or of an hour where the lane is '', as a Unix time in ms.
  `create table tidegate.slo_counts (
     pipeline text not null, dataset text not null, counted text not null, at bigint not null, lane text not null,
     good bigint not null, bad bigint not null,
     primary key (pipeline, dataset, counted, at, lane));
   create table tidegate.slo_looks (
     pipeline text not null, dataset text not null, counted text not null,
     -- The last minute that the clock has judged, and the newest row by then.
     minute_ms bigint not null, newest_ms bigint,
     primary key (pipeline, dataset, counted));
   create table tidegate.slo_incidents (
     id bigint generated always as identity primary key,
     pipeline text not null, dataset text not null, slo text not null, cause text not null,
     severity text not null, message text not null,
     opened_ms bigint not null, resolved_ms bigint,
     -- What people were told last: a severity, or resolved.
     told text);
   create unique index on tidegate.slo_incidents (pipeline, dataset, slo, cause) where resolved_ms is null;`,
  // Versions of rows, for tables that more than one lane may write: of each row that was written lately, alive or deleted, the newest; and what emptied a table last.
  `create table tidegate.row_versions (
     relation oid, key text collate "C", version text collate "C" not null,
     -- The one before it, which is told as it is replaced.
     previous text collate "C",
     changed_at timestamptz not null default now(),
     primary key (relation, key));
   create index on tidegate.row_versions using brin (changed_at);
   create table tidegate.table_versions (relation oid primary key, version text collate "C" not null);`,
  // Rows that are held back as a lot: they are items like others, with nothing wrong about them, of which nobody is told (`quiet`) and nothing is left once they are in.
  `alter table tidegate.quarantine add column lot_starts bigint, add column lot_ends bigint, add column quiet boolean not null default false;
   alter table tidegate.quarantine drop constraint quarantine_status_check;
   alter table tidegate.quarantine add constraint quarantine_status_check
     check (status in ('held', 'waiting', 'staged', 'released', 'applied', 'superseded', 'discarded'));
   drop index tidegate.quarantine_dataset_key_idx;
   drop index tidegate.quarantine_dataset_moved_from_idx;
   create index quarantine_dataset_key_idx on tidegate.quarantine (dataset, key) where status in ('held', 'waiting', 'staged', 'released');
   create index quarantine_dataset_moved_from_idx on tidegate.quarantine (dataset, moved_from)
     where status in ('held', 'waiting', 'staged', 'released') and moved_from is not null;
   create index on tidegate.quarantine (pipeline, dataset, lot_starts, lot_ends) where lot_starts is not null;
   create table tidegate.lots (
     pipeline text not null, dataset text not null,
     -- The window; -1 for rows of a dataset that is held.
     starts bigint not null, ends bigint not null,
     rows bigint not null,
     -- Since it was settled last.
     staged bigint not null,
     status text not null default 'staged' check (status in ('staged', 'published', 'diverted')),
     rules text[] not null default '{}',
     settled_at timestamptz,
     primary key (pipeline, dataset, starts, ends));
   create index on tidegate.lots (pipeline) where staged > 0;
   create table tidegate.held_datasets (
     pipeline text not null, dataset text not null,
     rule text not null, starts bigint not null, ends bigint,
     since timestamptz not null default clock_timestamp(),
     primary key (pipeline, dataset));
   create or replace function tidegate.note_news() returns trigger language plpgsql as $$
   begin
     if tg_op = 'INSERT' then
       insert into tidegate.quarantine_news (pipeline, id, status, findings, by_whom, why)
         select a.pipeline, a.id, a.status, a.findings, a.by_whom, a.why from added a join tidegate.quarantine_tellers using (pipeline)
         where not a.quiet order by a.version, a.id;
     else
       insert into tidegate.quarantine_news (pipeline, id, status, findings, by_whom, why)
         select a.pipeline, a.id, a.status, case when a.status in ('held', 'waiting') then a.findings end, a.by_whom, a.why
         from added a join gone g using (id) join tidegate.quarantine_tellers t on t.pipeline = a.pipeline
         where not a.quiet and a.status is distinct from g.status order by a.released_seq nulls first, a.version, a.id;
     end if;
     if found then perform pg_notify('tidegate_news', ''); end if;
     return null;
   end $$;`,
  // What is to be prepared may not notify: whoever commits it does.
  `create or replace function tidegate.note_news() returns trigger language plpgsql as $$
   begin
     if tg_op = 'INSERT' then
       insert into tidegate.quarantine_news (pipeline, id, status, findings, by_whom, why)
         select a.pipeline, a.id, a.status, a.findings, a.by_whom, a.why from added a join tidegate.quarantine_tellers using (pipeline)
         where not a.quiet order by a.version, a.id;
     else
       insert into tidegate.quarantine_news (pipeline, id, status, findings, by_whom, why)
         select a.pipeline, a.id, a.status, case when a.status in ('held', 'waiting') then a.findings end, a.by_whom, a.why
         from added a join gone g using (id) join tidegate.quarantine_tellers t on t.pipeline = a.pipeline
         where not a.quiet and a.status is distinct from g.status order by a.released_seq nulls first, a.version, a.id;
     end if;
     if found and current_setting('tidegate.prepares', true) is distinct from 'on' then perform pg_notify('tidegate_news', ''); end if;
     return null;
   end $$;`,
  // Items that wait for the row that they name.
  `alter table tidegate.quarantine add column waits_until timestamptz;
   create index on tidegate.quarantine (pipeline, waits_until) where waits_until is not null and status = 'held';`,
  // What rules remember of windows that were judged. `state` belongs to quality/live/memory.ts.
  `create table tidegate.window_memories (
     pipeline text not null, dataset text not null, win text not null, rule text not null, grp text not null,
     state text not null,
     primary key (pipeline, dataset, win, rule, grp));`,
  // The id that an item had before its record could be read.
  `alter table tidegate.quarantine add column was text;
   create index on tidegate.quarantine (was) where was is not null;`,
  // When a process last said that its rules ask for these windows.
  'alter table tidegate.window_sets add column asked_at timestamptz not null default clock_timestamp();',
  // A table that is new has no shape before its first event.
  'alter table tidegate.schema_changes alter column after drop not null;',
  // Which rules staged the rows of a lot, and which of them processes have in force. `waits`: why it is not for the one that closes windows to settle it.
  `alter table tidegate.lots add column revisions text[] not null default '{}', add column waits text;
   create table tidegate.rules_in_force (
     pipeline text not null, dataset text not null, revision text not null, process text not null,
     taken_at timestamptz not null default clock_timestamp(),
     said_at timestamptz not null default clock_timestamp(),
     primary key (pipeline, dataset, revision, process));`,
  // Columns of which alone rows are to be read anew, with their numbers at the source; null for whole rows.
  'alter table tidegate.schema_changes add column reread_columns jsonb;',
  // Which roads write a table. `versions`: whether they keep row versions.
  `create table tidegate.table_claims (
     schema text not null, name text not null, road text not null,
     pipeline text not null, dataset text not null, versions boolean not null,
     at timestamptz not null default clock_timestamp(),
     primary key (schema, name, road));
   create index on tidegate.table_claims (road);`,
  // The newest window of each rule and group, and what a rule that databases are asked by said last, however many results are kept.
  `create index window_results_newest on tidegate.window_results (pipeline, dataset, rule, grp, starts, revision);
   create index window_results_said on tidegate.window_results (pipeline, dataset, rule, id) where win like 'timer %' and verdict <> 'indeterminate';`,
  // What a change that waits is planned anew from when it is approved.
  'alter table tidegate.schema_changes add column arrival jsonb;',
  // The open items of a key in the source's order, those that are in line apart: one looks at the first of them, however many there are. The condition is that of open-items.ts.
  `drop index tidegate.quarantine_dataset_key_idx;
   drop index tidegate.quarantine_dataset_moved_from_idx;
   create index quarantine_of_key on tidegate.quarantine (dataset, key, (case when status = 'released' then 1 else 0 end), version)
     where status in ('held', 'waiting', 'staged', 'released');
   create index quarantine_of_old_key on tidegate.quarantine (dataset, moved_from, (case when status = 'released' then 1 else 0 end), version)
     where status in ('held', 'waiting', 'staged', 'released') and moved_from is not null;`,
  // A session keeps the plan that it made when few items were changed at once: with all of many it must not compare each with each.
  'alter function tidegate.note_news() set enable_nestloop = off set enable_hashjoin = on;',
  // In place of a key that the target would not tell from another one (key-match.ts).
  `create function tidegate.key_taken() returns text language plpgsql as $$
   begin
     raise exception 'the target does not tell the key of the row from others' using errcode = '${KEY_TAKEN}';
   end $$;`,
  // What a position says at length and seldom anew is kept beside it, and written where it is another (core/position.ts). The last argument is null where it is not, and '' for
  // none. The other function stays: a process of an earlier version may be at work still.
  `alter table tidegate.lanes add column position_long text;
   create function tidegate.advance(text, bigint, text, bigint[], text, text) returns void language plpgsql as $$
   begin
     update tidegate.lanes set position = $3, position_long = case when $6 is null then position_long else nullif($6, '') end,
       events = events + $4[1], upserts = upserts + $4[2], deletes = deletes + $4[3], truncates = truncates + $4[4],
       stale = stale + $4[5], folded = folded + $4[6], held = held + $4[7], dropped = dropped + $4[8], updated_at = clock_timestamp()
       where lane = $1 and epoch = $2 and position is not distinct from $5;
     if found then return; end if;
     if exists (select from tidegate.lanes where lane = $1 and epoch = $2) then
       raise exception 'the lane does not stand where the batch goes on from' using errcode = '${OUT_OF_TURN}';
     end if;
     raise exception 'the lane belongs to a newer lease' using errcode = '${FENCED}';
   end $$;`,
];

/** Brings the schema up to date. Several processes may call it at once. */
export async function migrate(sql: PgConnection): Promise<void> {
  // A role that may use the schema but not create one must not fail where there is nothing to do.
  const known = await sql.query("select to_regclass('tidegate.migrations')");
  if (known.rows[0]?.[0] !== null && (await count(sql)) >= MIGRATIONS.length) return;
  await sql.script('begin');
  try {
    await sql.query("select pg_advisory_xact_lock(hashtext('tidegate.migrations'))");
    // Even where the schema is there, `if not exists` asks for the privilege to make one.
    const present = await sql.query("select to_regnamespace('tidegate')");
    if ((present.rows[0]?.[0] ?? null) === null) await sql.script('create schema if not exists tidegate');
    await sql.script(
      'create table if not exists tidegate.migrations (number integer primary key, ran_at timestamptz not null default now())',
    );
    for (let number = await count(sql); number < MIGRATIONS.length; number++) {
      await sql.script(MIGRATIONS[number] ?? '');
      await sql.query('insert into tidegate.migrations (number) values ($1)', [number + 1]);
    }
    await sql.script('commit');
  } catch (error) {
    if (sql.open) await sql.script('rollback');
    throw error;
  }
}

async function count(sql: PgConnection): Promise<number> {
  return Number((await sql.query('select count(*) from tidegate.migrations')).rows[0]?.[0]);
}
