/**
 * Windows as the target keeps them: what lanes put down with their batches, how far each set of windows is closed, and what came of it.
 *
 * A lane writes nothing but parts of its own, in its own order; so the greatest id of a lane that was read tells what has been judged. Whoever closes windows or lets
 * them go leaves parts that a lane is at to a later time, and never waits for a lane that may be waiting for it.
 */
import type { Clock } from '../../core/clock.ts';
import type { DatasetName, LaneId } from '../../core/event.ts';
import {
  ANY_DATASET,
  CLOCKS_DIFFER_MS,
  FRESHNESS_SET,
  TIMER_SETS,
  type RowsLeftOut,
  type StoredWindow,
  type WindowFilter,
  type WindowFinding,
  type WindowKey,
  type WindowMark,
  type WindowMemory,
  type WindowResult,
  type WindowSetRef,
  type WindowSetState,
  type WindowStore,
  type WindowWrites,
} from '../../core/windows.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { Format, type FrontendWriter, type ParameterBytes } from '../../wire/postgres/messages.ts';
import { textArrayParameter } from './arrays.ts';
import { emitMinutes, prepareMinutes } from './slo.ts';
import type { Turns } from './turns.ts';

const PARTS = 'tg_window_parts';
const MARKS = 'tg_window_marks';
/** Results are of interest for a while; what they led to was told. */
const KEPT_DAYS = 30;

const PARTS_SQL = `with p as (
    select dataset, win, starts::bigint, grp, late::boolean, whole::boolean, rows::bigint, state
    from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[]) p(dataset, win, starts, grp, late, whole, rows, state)),
  gone as (
    delete from tidegate.window_parts w using p
    where p.whole and w.pipeline = $1 and w.lane = $2 and w.dataset = p.dataset and w.win = p.win and w.starts = p.starts and w.grp = p.grp and w.late = p.late)
  insert into tidegate.window_parts (pipeline, lane, dataset, win, starts, grp, late, rows, state)
    select $1, $2, dataset, win, starts, grp, late, rows, state from p`;

const MARKS_SQL = `insert into tidegate.window_lanes (pipeline, lane, dataset, time_ms, row_ms, seen_ms, untimed, too_late)
    select $1, $2, dataset, time_ms::bigint, row_ms::bigint, seen_ms::bigint, untimed::bigint, too_late::bigint
    from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) m(dataset, time_ms, row_ms, seen_ms, untimed, too_late)
  on conflict (pipeline, dataset, lane) do update set time_ms = excluded.time_ms, row_ms = excluded.row_ms, seen_ms = excluded.seen_ms, untimed = excluded.untimed,
    too_late = excluded.too_late`;

export function prepareWindows(writer: FrontendWriter): void {
  writer.parse(PARTS, PARTS_SQL).parse(MARKS, MARKS_SQL);
  prepareMinutes(writer);
}

/** How long sets are kept that nobody asks for. A process says so several times within that. */
const ASKED_WITHIN = "interval '2 minutes'";

/** Whoever else asks for them says so again before they are let go. */
const DROP_SQL = `update tidegate.window_sets set asked_at = least(asked_at, clock_timestamp() - ${ASKED_WITHIN} + interval '1 minute')
  where pipeline = $1 and (dataset, win) in (select * from unnest($2::text[], $3::text[]))`;

/** Parts of a set that nobody has named yet are those of a lane whose process is about to. */
const ASK_SQL = `insert into tidegate.window_sets (pipeline, dataset, win)
    select $1, dataset, win from unnest($2::text[], $3::text[]) k(dataset, win)
    union
    select $1, dataset, win from (select distinct dataset, win from tidegate.window_parts where pipeline = $1) p
      where not exists (select from tidegate.window_sets s where s.pipeline = $1 and s.dataset = p.dataset and s.win = p.win)
    order by 2, 3
  on conflict (pipeline, dataset, win) do update set asked_at = excluded.asked_at`;

const LET_GO_SQL = `delete from tidegate.window_parts where id in (
    select p.id from tidegate.window_parts p join tidegate.window_sets s using (pipeline, dataset, win)
    where s.pipeline = $1 and s.asked_at < clock_timestamp() - ${ASKED_WITHIN} for update of p skip locked)`;

const FORGET_SQL = `delete from tidegate.window_sets s where pipeline = $1 and asked_at < clock_timestamp() - ${ASKED_WITHIN}
  and not exists (select from tidegate.window_parts p where p.pipeline = $1 and p.dataset = s.dataset and p.win = s.win)`;

const FORGET_MEMORIES_SQL = `delete from tidegate.window_memories m where pipeline = $1
  and not exists (select from tidegate.window_sets s where s.pipeline = $1 and s.dataset = m.dataset and s.win = m.win)`;

/** The first rule that fails holds its dataset; a window that had failed before does not hold it again. */
const HOLD_DATASETS_SQL = `insert into tidegate.held_datasets (pipeline, dataset, rule, starts, ends)
    select distinct on (dataset) pipeline, dataset, rule, starts, ends from tidegate.window_results
    where id::text = any($1::text[]) and verdict = 'fail' and on_fail = 'hold' and not told order by dataset, id
  on conflict do nothing`;

/** In the transaction of the batch's checkpoint. */
export function emitWindows(writer: FrontendWriter, { parts, marks, minutes }: WindowWrites, pipeline: string, lane: LaneId): void {
  emitMinutes(writer, minutes, pipeline, lane);
  if (parts.length > 0) {
    const texts = (of: (part: (typeof parts)[number]) => string) => textArrayParameter(parts.map(of));
    bind(writer, PARTS, [
      pipeline,
      lane,
      texts(({ dataset }) => dataset),
      texts(({ set }) => set),
      texts(({ startMs }) => String(startMs)),
      texts(({ group }) => group),
      texts(({ late }) => String(late)),
      texts(({ whole }) => String(whole)),
      texts(({ rows }) => String(rows)),
      texts(({ state }) => state),
    ]);
  }
  if (marks.length > 0) {
    const texts = (of: (mark: WindowMark) => string) => textArrayParameter(marks.map(of));
    bind(writer, MARKS, [
      pipeline,
      lane,
      texts(({ dataset }) => dataset),
      texts(({ timeMs }) => String(timeMs)),
      texts(({ rowMs }) => String(rowMs)),
      texts(({ seenMs }) => String(seenMs)),
      texts(({ untimed }) => String(untimed)),
      texts(({ tooLate }) => String(tooLate)),
    ]);
  }
}

/** The first two are texts, the others arrays. */
function bind(writer: FrontendWriter, statement: string, parameters: readonly ParameterBytes[]): void {
  const formats = parameters.map((_, at) => (at < 2 ? Format.Text : Format.Binary));
  writer.bind('', statement, parameters, formats).execute();
}

export interface PostgresWindowsParts {
  readonly pipeline: string;
  readonly turns: Turns;
  readonly clock: Clock;
}

const RESULT_COLUMNS =
  'id, dataset, rule, type, column_name, win, starts, ends, grp, verdict, observed, reason, rows, missing, severity, on_fail, version, digest, revision, extract(epoch from at) * 1000';

const ALL_SQL = '(select * from tidegate.window_results where pipeline = $1 and ($2::text is null or dataset = $2))';

/**
 * Rules and groups are found one after the other, and the newest result of each, by an index: there may be millions of results, and few of these. A time that a database
 * was asked for and that has not come yet is that of a clock which ran ahead.
 */
export const NEWEST_SQL = `(
    with recursive found as (
      (select dataset, rule, grp from tidegate.window_results
       where pipeline = $1 and ($2::text is null or dataset = $2) order by pipeline, dataset, rule, grp limit 1)
      union all
      select n.dataset, n.rule, n.grp from found f cross join lateral (
        select dataset, rule, grp from tidegate.window_results w
        where w.pipeline = $1 and ($2::text is null or w.dataset = $2) and (w.dataset, w.rule, w.grp) > (f.dataset, f.rule, f.grp)
        order by w.pipeline, w.dataset, w.rule, w.grp limit 1) n)
    select n.* from found f cross join lateral (
      select * from tidegate.window_results w
      where w.pipeline = $1 and w.dataset = f.dataset and w.rule = f.rule and w.grp = f.grp and (w.win not like '${TIMER_SETS}%' or w.starts <= $6::bigint)
      order by w.starts desc, w.revision desc limit 1) n
    where $3::text is null or f.rule = $3)`;

const SET_SQL = `select s.closed_ms,
    (select coalesce(json_agg(json_build_object('dataset', l.dataset, 'lane', l.lane, 'timeMs', l.time_ms, 'rowMs', l.row_ms, 'seenMs', l.seen_ms)), '[]')
     from tidegate.window_lanes l where l.pipeline = $1 and l.dataset in (k.dataset, k.beside)),
    (select min(p.starts) from tidegate.window_parts p where p.pipeline = $1 and p.dataset in (k.dataset, k.beside) and p.win = k.win and p.starts >= 0
       and (s.closed_ms is null and not p.late or p.starts + k.size <= s.closed_ms and p.id > coalesce((s.judged ->> p.lane)::bigint, 0))),
    exists (select from tidegate.window_parts p where p.pipeline = $1 and p.dataset in (k.dataset, k.beside) and p.win = k.win and p.starts < 0)
  from (select dataset, win, size::bigint, beside, place
    from unnest($2::text[], $3::text[], $4::text[], $5::text[]) with ordinality k(dataset, win, size, beside, place)) k
  left join tidegate.window_sets s on s.pipeline = $1 and s.dataset = k.dataset and s.win = k.win order by k.place`;

export class PostgresWindows implements WindowStore {
  readonly #parts: PostgresWindowsParts;

  constructor(parts: PostgresWindowsParts) {
    this.#parts = parts;
  }

  async partsOf(lane: LaneId): Promise<readonly (WindowKey & { readonly rows: number; readonly state: string })[]> {
    const { rows } = await this.#parts.turns.query(
      'reading open windows',
      `select dataset, win, starts, grp, late, rows, state from tidegate.window_parts where pipeline = $1 and lane = $2 and starts >= 0 order by id`,
      [this.#parts.pipeline, lane],
    );
    return rows.map(([dataset, set, starts, group, late, count, state]) => ({
      dataset: dataset as DatasetName, // Written from one.
      set: set ?? '',
      startMs: Number(starts),
      group: group ?? '',
      late: late === 't',
      rows: Number(count),
      state: state ?? '',
    }));
  }

  async marksOf(lane: LaneId): Promise<readonly WindowMark[]> {
    const { rows } = await this.#parts.turns.query(
      'reading how far windows are',
      'select dataset, time_ms, row_ms, seen_ms, untimed, too_late from tidegate.window_lanes where pipeline = $1 and lane = $2',
      [this.#parts.pipeline, lane],
    );
    return rows.map(([dataset, timeMs, rowMs, seenMs, untimed, tooLate]) => ({
      dataset: dataset as DatasetName, // Written from one.
      timeMs: Number(timeMs),
      rowMs: Number(rowMs),
      seenMs: Number(seenMs),
      untimed: Number(untimed),
      tooLate: Number(tooLate),
    }));
  }

  async peek(sets: readonly WindowSetRef[]): Promise<readonly WindowSetState[]> {
    return this.#parts.turns.take('looking at windows', (sql) => this.#states(sql, sets));
  }

  async close(
    ref: WindowSetRef,
    decide: Parameters<WindowStore['close']>[1],
    judge: Parameters<WindowStore['close']>[2],
  ): Promise<readonly WindowResult[]> {
    return this.#inOne('closing windows', (sql) => this.#closeIn(sql, ref, decide, judge));
  }

  #inOne<T>(doing: string, work: (sql: PgConnection) => Promise<T>): Promise<T> {
    return this.#parts.turns.take(doing, async (sql) => {
      await sql.script('begin');
      try {
        const result = await work(sql);
        await sql.script('commit');
        return result;
      } catch (error) {
        if (sql.open) await sql.script('rollback');
        throw error;
      }
    });
  }

  async #closeIn(
    sql: PgConnection,
    ref: WindowSetRef,
    decide: Parameters<WindowStore['close']>[1],
    judge: Parameters<WindowStore['close']>[2],
  ) {
    const { pipeline } = this.#parts;
    const { dataset, set, sizeMs } = ref;
    const datasets = textArrayParameter(datasetsOf(ref));
    await sql.query('insert into tidegate.window_sets (pipeline, dataset, win) values ($1, $2, $3) on conflict do nothing', [
      pipeline,
      dataset,
      set,
    ]);
    await sql.query('select from tidegate.window_sets where pipeline = $1 and dataset = $2 and win = $3 for update', [
      pipeline,
      dataset,
      set,
    ]);
    const [state] = await this.#states(sql, [ref]);
    const closing = state === undefined ? null : decide(state);
    if (state === undefined || closing === null) return [];
    const { windows, read } = await this.#due(sql, ref, closing.closedMs, closing.snapshot);
    const known = await this.#memories(sql, ref);
    const { findings, memories } = judge(windows, state, closing, known);
    const results = await this.#keep(sql, findings);
    await this.#remember(sql, ref, known, memories);
    // Parts of windows that are final, and of lanes that came back to them.
    await sql.query(
      `delete from tidegate.window_parts where id in (
         select id from tidegate.window_parts where pipeline = $1 and dataset = any($2::text[]) and win = $3
           and (starts >= 0 and starts <= $4::bigint or $5::boolean and starts < 0 and id <= $6::bigint) for update skip locked)`,
      [pipeline, datasets, set, String(closing.finalMs - sizeMs), String(closing.snapshot), String(Math.max(0, ...read.values()))],
    );
    await sql.query(
      'update tidegate.window_sets set closed_ms = $4::bigint, judged = judged || $5::jsonb where pipeline = $1 and dataset = $2 and win = $3',
      [pipeline, dataset, set, closing.closedMs < 0 ? null : String(closing.closedMs), JSON.stringify(Object.fromEntries(read))],
    );
    return results;
  }

  /** The windows that end by then and are to be judged, with all their parts; and how far each lane was read. */
  async #due(sql: PgConnection, ref: WindowSetRef, closedMs: number, snapshot: boolean) {
    const { dataset, set, sizeMs } = ref;
    const { rows } = await sql.query(
      `with own as (
         select p.*, s.closed_ms is null or p.starts + $4::bigint > s.closed_ms or p.starts < 0 or p.id > coalesce((s.judged ->> p.lane)::bigint, 0) as is_new
         from tidegate.window_parts p join tidegate.window_sets s using (pipeline, win)
         where p.pipeline = $1 and p.dataset = any($7::text[]) and p.win = $3 and s.dataset = $2),
       due as (
         select starts, grp from own where is_new and (starts >= 0 and starts + $4::bigint <= $5::bigint or $6::boolean and starts < 0) group by 1, 2)
       select o.id, o.dataset, o.lane, o.starts, o.grp, o.late, o.rows, case when d.starts is not null then o.state end from own o left join due d using (starts, grp)
       order by o.starts, o.grp, o.id`,
      [this.#parts.pipeline, dataset, set, String(sizeMs), String(closedMs), String(snapshot), textArrayParameter(datasetsOf(ref))],
    );
    const read = new Map<string, number>();
    const windows = new Map<string, Omit<StoredWindow, 'parts'> & { readonly parts: StoredWindow['parts'][number][] }>();
    for (const [id, of, lane, starts, group, late, count, state] of rows) {
      read.set(lane ?? '', Math.max(read.get(lane ?? '') ?? 0, Number(id)));
      if (state === null || state === undefined) continue;
      const key = `${starts} ${group}`;
      const window = windows.get(key) ?? { startMs: Number(starts), group: group ?? '', parts: [] };
      windows.set(key, window);
      // Both were written from such.
      window.parts.push({ dataset: of as DatasetName, lane: lane as LaneId, late: late === 't', rows: Number(count), state });
    }
    return { windows: [...windows.values()], read };
  }

  async #memories(sql: PgConnection, { dataset, set }: WindowSetRef): Promise<readonly WindowMemory[]> {
    const { rows } = await sql.query(
      'select rule, grp, state from tidegate.window_memories where pipeline = $1 and dataset = $2 and win = $3',
      [this.#parts.pipeline, dataset, set],
    );
    return rows.map(([rule, group, state]) => ({ rule: rule ?? '', group: group ?? '', state: state ?? '' }));
  }

  /** Writes what has changed, and lets go what is not among it any more. */
  async #remember(
    sql: PgConnection,
    { dataset, set }: WindowSetRef,
    before: readonly WindowMemory[],
    now: readonly WindowMemory[],
  ): Promise<void> {
    const keyOf = ({ rule, group }: WindowMemory) => JSON.stringify([rule, group]);
    const known = new Map(before.map((memory) => [keyOf(memory), memory]));
    const changed = now.filter((memory) => known.get(keyOf(memory))?.state !== memory.state);
    for (const memory of now) known.delete(keyOf(memory));
    const texts = (of: (memory: WindowMemory) => string, from: readonly WindowMemory[]) => textArrayParameter(from.map(of));
    const rule = (memory: WindowMemory) => memory.rule;
    const group = (memory: WindowMemory) => memory.group;
    const own = [this.#parts.pipeline, dataset, set];
    const gone = [...known.values()];
    if (gone.length > 0)
      await sql.query(
        `delete from tidegate.window_memories m using unnest($4::text[], $5::text[]) g(rule, grp)
         where m.pipeline = $1 and m.dataset = $2 and m.win = $3 and m.rule = g.rule and m.grp = g.grp`,
        [...own, texts(rule, gone), texts(group, gone)],
      );
    if (changed.length > 0)
      await sql.query(
        `insert into tidegate.window_memories (pipeline, dataset, win, rule, grp, state)
           select $1, $2, $3, rule, grp, state from unnest($4::text[], $5::text[], $6::text[]) m(rule, grp, state)
         on conflict (pipeline, dataset, win, rule, grp) do update set state = excluded.state`,
        [...own, texts(rule, changed), texts(group, changed), texts(({ state }) => state, changed)],
      );
  }

  /** Those that say something new are the next revision of their window's verdict. */
  async #keep(sql: PgConnection, findings: readonly WindowFinding[]): Promise<WindowResult[]> {
    const kept: WindowResult[] = [];
    for (const round of rounds(findings)) {
      const texts = (of: (finding: WindowFinding) => string | null) => textArrayParameter(round.map(of));
      const { rows } = await sql.query(
        `insert into tidegate.window_results (pipeline, dataset, rule, type, column_name, win, starts, ends, grp, verdict, observed, reason, rows, missing,
           severity, on_fail, version, digest, revision, at, told)
         select $1, f.dataset, f.rule, f.type, f.column_name, f.win, f.starts::bigint, f.ends::bigint, f.grp, f.verdict, f.observed::json, f.reason, f.rows::bigint,
           f.missing::bigint, f.severity, f.on_fail, f.version::integer, f.digest, coalesce(l.revision, 0) + 1, to_timestamp($2::float8 / 1000),
           case when f.win = '${FRESHNESS_SET}' then false
             when f.win like '${TIMER_SETS}%' then f.verdict = 'indeterminate' or (f.verdict = 'fail') = (p.verdict is not distinct from 'fail')
             else (f.verdict = 'fail') = (l.verdict is not distinct from 'fail') end
         from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
           $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[]) with ordinality
           f(dataset, rule, type, column_name, win, starts, ends, grp, verdict, observed, reason, rows, missing, severity, on_fail, version, digest, takes_back, place)
         left join lateral (select revision, verdict, observed::text as observed, reason, rows, missing from tidegate.window_results r
           where r.pipeline = $1 and r.dataset = f.dataset and r.rule = f.rule and r.win = f.win and r.starts = f.starts::bigint and r.grp = f.grp
           order by revision desc limit 1) l on true
         left join lateral (select verdict from tidegate.window_results r
           where f.win like '${TIMER_SETS}%' and r.pipeline = $1 and r.dataset = f.dataset and r.rule = f.rule and r.win like '${TIMER_SETS}%' and r.verdict <> 'indeterminate'
           order by id desc limit 1) p on true
         where case when f.takes_back = 't' then l.verdict <> 'pass' else l.revision is null or (l.verdict, l.observed, l.reason, l.rows, l.missing) is distinct from
           (f.verdict, f.observed, f.reason, f.rows::bigint, f.missing::bigint) end
         order by f.place
         returning ${RESULT_COLUMNS}`,
        [
          this.#parts.pipeline,
          String(this.#parts.clock.now()),
          texts(({ dataset }) => dataset),
          texts(({ rule }) => rule),
          texts(({ type }) => type),
          texts(({ column }) => column),
          texts(({ set }) => set),
          texts(({ startMs }) => String(startMs)),
          texts(({ endMs }) => (endMs === null ? null : String(endMs))),
          texts(({ group }) => group),
          texts(({ verdict }) => verdict),
          texts(({ observed }) => observed),
          texts(({ reason }) => reason),
          texts(({ rows: count }) => String(count)),
          texts(({ missing }) => String(missing)),
          texts(({ severity }) => severity),
          texts(({ onFail }) => onFail),
          texts(({ version }) => String(version)),
          texts(({ digest }) => digest),
          texts(({ takesBack }) => (takesBack === true ? 't' : 'f')),
        ],
      );
      kept.push(...rows.map(resultFrom));
    }
    const holding = kept.filter(({ verdict, onFail }) => verdict === 'fail' && onFail === 'hold').map(({ id }) => id);
    if (holding.length > 0) await sql.query(HOLD_DATASETS_SQL, [textArrayParameter(holding)]);
    if (kept.length > 0)
      await sql.query(
        `delete from tidegate.window_results where pipeline = $1 and at < to_timestamp($2::float8 / 1000) - interval '${KEPT_DAYS} days'`,
        [this.#parts.pipeline, String(this.#parts.clock.now())],
      );
    return kept;
  }

  async ask(sets: readonly WindowSetRef[], dropped: readonly WindowSetRef[]): Promise<void> {
    const { pipeline, turns } = this.#parts;
    const names = (refs: readonly WindowSetRef[]) => [
      textArrayParameter(refs.map(({ dataset }) => dataset)),
      textArrayParameter(refs.map(({ set }) => set)),
    ];
    await turns.take('saying which windows are asked for', async (sql) => {
      if (dropped.length > 0) await sql.query(DROP_SQL, [pipeline, ...names(dropped)]);
      await sql.query(ASK_SQL, [pipeline, ...names(sets)]);
      await sql.query(LET_GO_SQL, [pipeline]);
      await sql.query(FORGET_SQL, [pipeline]);
      await sql.query(FORGET_MEMORIES_SQL, [pipeline]);
    });
  }

  async newestRows(datasets: readonly DatasetName[]): Promise<readonly (number | null)[]> {
    const { rows } = await this.#parts.turns.query(
      'reading how far windows are',
      `select (select max(row_ms) from tidegate.window_lanes l where l.pipeline = $1 and l.dataset = k.dataset and row_ms >= 0)
       from unnest($2::text[]) with ordinality k(dataset, place) order by place`,
      [this.#parts.pipeline, textArrayParameter(datasets)],
    );
    return rows.map(([newest]) => (newest === null || newest === undefined ? null : Number(newest)));
  }

  async lastSeen(): Promise<number | null> {
    const { rows } = await this.#parts.turns.query(
      'reading how far windows are',
      'select max(seen_ms) from tidegate.window_lanes where pipeline = $1 and dataset = $2',
      [this.#parts.pipeline, ANY_DATASET],
    );
    const seen = rows[0]?.[0] ?? null;
    return seen === null ? null : Number(seen);
  }

  async leftOut(): Promise<readonly RowsLeftOut[]> {
    const { rows } = await this.#parts.turns.query(
      'reading how far windows are',
      'select dataset, sum(untimed), sum(too_late) from tidegate.window_lanes where pipeline = $1 and dataset <> $2 group by dataset order by dataset',
      [this.#parts.pipeline, ANY_DATASET],
    );
    return rows.map(([dataset, untimed, tooLate]) => ({
      dataset: dataset as DatasetName, // Written from one.
      untimed: Number(untimed),
      tooLate: Number(tooLate),
    }));
  }

  keep(findings: readonly WindowFinding[]): Promise<readonly WindowResult[]> {
    return this.#inOne('keeping what was found', async (sql) => {
      // Two processes may find the same at once: the later one sees what the other has kept, and has a revision to add, or nothing.
      await sql.query("select pg_advisory_xact_lock(hashtext('tidegate.findings'), hashtext($1::text))", [this.#parts.pipeline]);
      return this.#keep(sql, findings);
    });
  }

  async memoriesOf(dataset: DatasetName, rule: string): Promise<readonly WindowMemory[]> {
    const { rows } = await this.#parts.turns.query(
      'reading what rules remember',
      'select grp, state from tidegate.window_memories where pipeline = $1 and dataset = $2 and rule = $3 order by grp',
      [this.#parts.pipeline, dataset, rule],
    );
    return rows.map(([group, state]) => ({ rule, group: group ?? '', state: state ?? '' }));
  }

  async results({ dataset, rule, verdict, newest = false, limit }: WindowFilter): Promise<readonly WindowResult[]> {
    const { rows } = await this.#parts.turns.query(
      'reading windows',
      `select ${RESULT_COLUMNS} from ${newest ? NEWEST_SQL : ALL_SQL} r where ($3::text is null or rule = $3) and ($4::text is null or verdict = $4)
       order by at desc, id desc limit $5::integer`,
      [
        this.#parts.pipeline,
        dataset ?? null,
        rule ?? null,
        verdict ?? null,
        String(limit),
        ...(newest ? [String(this.#parts.clock.now() + CLOCKS_DIFFER_MS)] : []),
      ],
    );
    return rows.map(resultFrom);
  }

  async untold(limit: number): Promise<readonly WindowResult[]> {
    const { rows } = await this.#parts.turns.query(
      'reading windows',
      `select ${RESULT_COLUMNS} from tidegate.window_results where pipeline = $1 and not told order by id limit $2::integer`,
      [this.#parts.pipeline, String(limit)],
    );
    return rows.map(resultFrom);
  }

  async told(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#parts.turns.query(
      'noting what was told',
      'update tidegate.window_results set told = true where id::text = any($1::text[])',
      [textArrayParameter(ids)],
    );
  }

  async #states(sql: PgConnection, sets: readonly WindowSetRef[]): Promise<readonly WindowSetState[]> {
    const { rows } = await sql.query(SET_SQL, [
      this.#parts.pipeline,
      textArrayParameter(sets.map(({ dataset }) => dataset)),
      textArrayParameter(sets.map(({ set }) => set)),
      textArrayParameter(sets.map(({ sizeMs }) => String(sizeMs))),
      textArrayParameter(sets.map(({ beside }) => beside ?? null)),
    ]);
    return rows.map(([closed, lanes, first, hasSnapshot]) => ({
      closedMs: closed === null || closed === undefined ? null : Number(closed),
      lanes: JSON.parse(lanes ?? '[]') as WindowSetState['lanes'], // Made by the query.
      firstMs: first === null || first === undefined ? null : Number(first),
      hasSnapshot: hasSnapshot === 't',
    }));
  }
}

/** Whose parts are in the set's windows. */
const datasetsOf = ({ dataset, beside }: WindowSetRef): readonly DatasetName[] => (beside === undefined ? [dataset] : [dataset, beside]);

/** Findings of one window and rule follow each other: each but the first is another revision. */
function rounds(findings: readonly WindowFinding[]): WindowFinding[][] {
  const found: WindowFinding[][] = [];
  const seen = new Map<string, number>();
  for (const finding of findings) {
    const key = `${finding.rule} ${finding.startMs} ${finding.group}`;
    const round = seen.get(key) ?? 0;
    seen.set(key, round + 1);
    (found[round] ??= []).push(finding);
  }
  return found;
}

function resultFrom(row: readonly (string | null)[]): WindowResult {
  const [
    id,
    dataset,
    rule,
    type,
    column,
    set,
    starts,
    ends,
    group,
    verdict,
    observed,
    reason,
    rows,
    missing,
    severity,
    onFail,
    version,
    digest,
    revision,
    at,
  ] = row;
  return {
    id: id ?? '',
    dataset: dataset as DatasetName, // These four were written from such.
    rule: rule ?? '',
    type: type ?? '',
    column: column ?? null,
    set: set ?? '',
    startMs: Number(starts),
    endMs: ends === null || ends === undefined ? null : Number(ends),
    group: group ?? '',
    verdict: verdict as WindowResult['verdict'],
    observed: observed ?? null,
    reason: reason ?? null,
    rows: Number(rows),
    missing: Number(missing),
    severity: severity as WindowResult['severity'],
    onFail: onFail as WindowResult['onFail'],
    version: Number(version),
    digest: digest ?? '',
    revision: Number(revision),
    atMs: Math.floor(Number(at)),
  };
}
