/**
 * Service levels as the target keeps them. Lanes add to rows of their own, in the transaction of a batch's checkpoint; whoever makes hours of minutes leaves rows that
 * a lane is at to a later time, and never waits for a lane that may be waiting for it.
 */
import type { DatasetName, LaneId } from '../../core/event.ts';
import {
  type GoodAndBad,
  HOUR_MS,
  type JudgedMinute,
  type MinuteCount,
  ROWS_COUNTED,
  type SloCause,
  type SloIncident,
  type SloLook,
  type SloStore,
  type SloTrouble,
} from '../../core/slo.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { Format, type FrontendWriter } from '../../wire/postgres/messages.ts';
import { textArrayParameter } from './arrays.ts';
import type { Turns } from './turns.ts';

const MINUTES = 'tg_slo_minutes';
const DAY_MS = 24 * HOUR_MS;
/** Counts are kept by the minute for so long, and by the hour for the longest time that an objective is about. */
const MINUTES_MS = 3 * DAY_MS;
const KEPT_MS = 31 * DAY_MS;
/** Stands in for the lane where there is none: of hours, and of minutes judged by the clock. */
const HOURS_LANE = '';
const CLOCK_LANE = 'clock';
/** Of rows that waited in vain. */
const LATE_LANE = 'late';

const MINUTES_SQL = `insert into tidegate.slo_counts (pipeline, lane, dataset, counted, at, good, bad)
    select $1, $2, dataset, counted, at::bigint, good::bigint, bad::bigint
    from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) m(dataset, counted, at, good, bad)
  on conflict (pipeline, dataset, counted, at, lane) do update set good = slo_counts.good + excluded.good, bad = slo_counts.bad + excluded.bad`;

/** Rows that were counted as good, and are bad after all. Nothing where rows of their time are not counted. */
export async function recountFailed(
  sql: PgConnection,
  pipeline: string,
  failed: readonly Pick<MinuteCount, 'dataset' | 'minuteMs' | 'bad'>[],
) {
  const texts = (of: (minute: (typeof failed)[number]) => string) => textArrayParameter(failed.map(of));
  await sql.query(
    `insert into tidegate.slo_counts (pipeline, lane, dataset, counted, at, good, bad)
       select $1, '${LATE_LANE}', m.dataset, '${ROWS_COUNTED}', m.at::bigint, -m.bad::bigint, m.bad::bigint
       from unnest($2::text[], $3::text[], $4::text[]) m(dataset, at, bad)
       where exists (
         select from tidegate.slo_counts c where c.pipeline = $1 and c.dataset = m.dataset and c.counted = '${ROWS_COUNTED}'
           and c.at between m.at::bigint - ${HOUR_MS} and m.at::bigint)
     on conflict (pipeline, dataset, counted, at, lane) do update set good = slo_counts.good + excluded.good, bad = slo_counts.bad + excluded.bad`,
    [pipeline, texts(({ dataset }) => dataset), texts(({ minuteMs }) => String(minuteMs)), texts(({ bad }) => String(bad))],
  );
}

export function prepareMinutes(writer: FrontendWriter): void {
  writer.parse(MINUTES, MINUTES_SQL);
}

/** In the transaction of the batch's checkpoint. */
export function emitMinutes(writer: FrontendWriter, minutes: readonly MinuteCount[], pipeline: string, lane: LaneId): void {
  if (minutes.length === 0) return;
  const texts = (of: (minute: MinuteCount) => string) => textArrayParameter(minutes.map(of));
  const parameters = [
    pipeline,
    lane,
    texts(({ dataset }) => dataset),
    texts(({ counted }) => counted),
    texts(({ minuteMs }) => String(minuteMs)),
    texts(({ good }) => String(good)),
    texts(({ bad }) => String(bad)),
  ];
  const formats = parameters.map((_, at) => (at < 2 ? Format.Text : Format.Binary));
  writer.bind('', MINUTES, parameters, formats).execute();
}

const INCIDENT_COLUMNS = 'id, dataset, slo, cause, severity, message, opened_ms, resolved_ms, told';

export interface PostgresSloParts {
  readonly pipeline: string;
  readonly turns: Turns;
}

export class PostgresSlo implements SloStore {
  readonly #parts: PostgresSloParts;

  constructor(parts: PostgresSloParts) {
    this.#parts = parts;
  }

  async counts(dataset: DatasetName, counted: string, sinceMs: readonly number[]): Promise<readonly GoodAndBad[]> {
    const { rows } = await this.#parts.turns.query(
      'reading counts of service levels',
      `select coalesce(sum(c.good), 0), coalesce(sum(c.bad), 0) from unnest($4::text[]) with ordinality f(since, place)
       left join tidegate.slo_counts c on c.pipeline = $1 and c.dataset = $2 and c.counted = $3 and c.at >= f.since::bigint
       group by place order by place`,
      [this.#parts.pipeline, dataset, counted, textArrayParameter(sinceMs.map(String))],
    );
    return rows.map(goodAndBad);
  }

  async windowCounts(dataset: DatasetName, rules: readonly string[], sinceMs: readonly number[]): Promise<readonly GoodAndBad[]> {
    const { rows } = await this.#parts.turns.query(
      'reading windows',
      `with last as materialized (
         select distinct on (rule, win, starts, grp) ends, verdict from tidegate.window_results
         where pipeline = $1 and dataset = $2 and rule = any($3::text[]) and starts >= 0 and ends >= $5::bigint
         order by rule, win, starts, grp, revision desc)
       select count(*) filter (where verdict = 'pass'), count(*) filter (where verdict = 'fail')
       from unnest($4::text[]) with ordinality f(since, place) left join last on ends >= f.since::bigint group by place order by place`,
      [this.#parts.pipeline, dataset, textArrayParameter(rules), textArrayParameter(sinceMs.map(String)), String(Math.min(...sinceMs))],
    );
    return rows.map(goodAndBad);
  }

  async lastLook(dataset: DatasetName, counted: string): Promise<SloLook | null> {
    const { rows } = await this.#parts.turns.query(
      'reading service levels',
      'select minute_ms, newest_ms from tidegate.slo_looks where pipeline = $1 and dataset = $2 and counted = $3',
      [this.#parts.pipeline, dataset, counted],
    );
    const [row] = rows;
    return row === undefined ? null : { minuteMs: Number(row[0]), newestMs: numberOrNull(row[1]) };
  }

  async keepMinutes(dataset: DatasetName, counted: string, minutes: readonly JudgedMinute[], look: SloLook): Promise<void> {
    const texts = (of: (minute: JudgedMinute) => number) => textArrayParameter(minutes.map((minute) => String(of(minute))));
    // One statement: a look that is noted has its minutes counted. Of two who judge at once the first is heard.
    await this.#parts.turns.query(
      'keeping minutes of service levels',
      `with kept as (
         insert into tidegate.slo_looks as l (pipeline, dataset, counted, minute_ms, newest_ms) values ($1, $2, $3, $4::bigint, $5::bigint)
         on conflict (pipeline, dataset, counted) do update set minute_ms = excluded.minute_ms, newest_ms = excluded.newest_ms
         where l.minute_ms < excluded.minute_ms returning 1)
       insert into tidegate.slo_counts (pipeline, lane, dataset, counted, at, good, bad)
       select $1, '${CLOCK_LANE}', $2, $3, at::bigint, good::bigint, bad::bigint from kept, unnest($6::text[], $7::text[], $8::text[]) m(at, good, bad)
       on conflict (pipeline, dataset, counted, at, lane) do nothing`,
      [
        this.#parts.pipeline,
        dataset,
        counted,
        String(look.minuteMs),
        look.newestMs === null ? null : String(look.newestMs),
        texts(({ minuteMs }) => minuteMs),
        texts(({ good }) => good),
        texts(({ bad }) => bad),
      ],
    );
  }

  async forgetLooks(kept: readonly { readonly dataset: DatasetName; readonly counted: string }[]): Promise<void> {
    await this.#parts.turns.query(
      'forgetting service levels',
      `delete from tidegate.slo_looks l where pipeline = $1 and not exists (
         select from unnest($2::text[], $3::text[]) k(dataset, counted) where k.dataset = l.dataset and k.counted = l.counted)`,
      [
        this.#parts.pipeline,
        textArrayParameter(kept.map(({ dataset }) => dataset)),
        textArrayParameter(kept.map(({ counted }) => counted)),
      ],
    );
  }

  async compact(nowMs: number): Promise<void> {
    const { pipeline } = this.#parts;
    const hourOf = (ms: number): string => String(Math.floor(ms / HOUR_MS) * HOUR_MS);
    await this.#parts.turns.take('compacting service levels', async (sql) => {
      await sql.query(
        `with gone as (
           delete from tidegate.slo_counts where ctid = any(array(
             select ctid from tidegate.slo_counts where pipeline = $1 and at < $2::bigint and lane <> '${HOURS_LANE}' for update skip locked))
           returning dataset, counted, at - at % ${HOUR_MS} as at, good, bad)
         insert into tidegate.slo_counts as c (pipeline, lane, dataset, counted, at, good, bad)
         select $1, '${HOURS_LANE}', dataset, counted, at, sum(good), sum(bad) from gone group by dataset, counted, at
         on conflict (pipeline, dataset, counted, at, lane) do update set good = c.good + excluded.good, bad = c.bad + excluded.bad`,
        [pipeline, hourOf(nowMs - MINUTES_MS)],
      );
      await sql.query(`delete from tidegate.slo_counts where pipeline = $1 and lane = '${HOURS_LANE}' and at < $2::bigint`, [
        pipeline,
        hourOf(nowMs - KEPT_MS),
      ]);
      await sql.query(`delete from tidegate.slo_incidents where pipeline = $1 and told = 'resolved' and resolved_ms < $2::bigint`, [
        pipeline,
        String(nowMs - KEPT_MS),
      ]);
    });
  }

  async pending(): Promise<readonly SloIncident[]> {
    const { rows } = await this.#parts.turns.query(
      'reading incidents',
      `select ${INCIDENT_COLUMNS} from tidegate.slo_incidents where pipeline = $1 and told is distinct from 'resolved' order by id`,
      [this.#parts.pipeline],
    );
    return rows.map(incidentFrom);
  }

  async incidents(limit: number): Promise<readonly SloIncident[]> {
    const { rows } = await this.#parts.turns.query(
      'reading incidents',
      `select ${INCIDENT_COLUMNS} from tidegate.slo_incidents where pipeline = $1 order by resolved_ms is null desc, id desc limit $2::integer`,
      [this.#parts.pipeline, String(limit)],
    );
    return rows.map(incidentFrom);
  }

  async open({ dataset, slo, cause, severity, message }: SloTrouble, nowMs: number): Promise<void> {
    await this.#parts.turns.query(
      'opening an incident',
      `insert into tidegate.slo_incidents (pipeline, dataset, slo, cause, severity, message, opened_ms) values ($1, $2, $3, $4, $5, $6, $7::bigint)
       on conflict do nothing`,
      [this.#parts.pipeline, dataset, slo, cause, severity, message, String(nowMs)],
    );
  }

  async change(id: string, { severity, message }: Pick<SloTrouble, 'severity' | 'message'>): Promise<void> {
    await this.#parts.turns.query(
      'changing an incident',
      'update tidegate.slo_incidents set severity = $2, message = $3 where id = $1::bigint',
      [id, severity, message],
    );
  }

  async resolve(id: string, nowMs: number): Promise<void> {
    await this.#parts.turns.query(
      'resolving an incident',
      'update tidegate.slo_incidents set resolved_ms = $2::bigint where id = $1::bigint and resolved_ms is null',
      [id, String(nowMs)],
    );
  }

  async told(id: string, what: NonNullable<SloIncident['told']>): Promise<void> {
    await this.#parts.turns.query('noting what was told', 'update tidegate.slo_incidents set told = $2 where id = $1::bigint', [id, what]);
  }
}

const numberOrNull = (cell: string | null | undefined): number | null => (cell === null || cell === undefined ? null : Number(cell));
const goodAndBad = ([good, bad]: readonly (string | null)[]): GoodAndBad => ({ good: Number(good), bad: Number(bad) });

function incidentFrom([id, dataset, slo, cause, severity, message, opened, resolved, told]: readonly (string | null)[]): SloIncident {
  return {
    id: id ?? '',
    dataset: dataset as DatasetName, // These four were written from such.
    slo: slo ?? '',
    cause: cause as SloCause,
    severity: severity as SloIncident['severity'],
    message: message ?? '',
    openedMs: Number(opened),
    resolvedMs: numberOrNull(resolved),
    told: (told ?? null) as SloIncident['told'],
  };
}
