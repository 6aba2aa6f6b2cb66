/**
 * Lots as the target keeps them: items that are `staged` in the quarantine, and beside them which lots there are. A lane adds to both with its batches; whoever closes
 * windows settles what is due, in one transaction that holds the pipeline's turn, so that a lot goes one way, whoever does it and however often.
 */
import { Verdict } from '../../core/batch.ts';
import { REVISION_DIGITS } from '../../core/lots.ts';
import type { DatasetName } from '../../core/event.ts';
import type { HeldDataset, Lot, LotRule, LotState, LotStatus, LotStore, Staging } from '../../core/lots.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { textArrayParameter } from './arrays.ts';
import { inTurn } from './held-keys.ts';
import { MARK_LOTS_SQL, NO_RULES, sayRules } from './rules-in-force.ts';
import type { Turns } from './turns.ts';

/** As long as the results of windows. */
const KEPT_DAYS = 30;
const STUCK_MAX = 20;

const STAGING_SQL = `
  select dataset, null from tidegate.held_datasets where pipeline = $1
  union all
  select dataset, count from tidegate.quarantine_counts where pipeline = $1 and status = 'staged' and count > 0`;

/**
 * Those of a dataset that is held wait for a person. The first verdict decides: it is the same however often one asks, and later ones come when the lot is
 * gone. A lot that no rule has a say in (the rules have changed) waits for nobody. A verdict is one by the rules that staged a row of it, or by those in force; of others it is only known
 * that there is one.
 */
const DUE_SQL = `
  with k as (
    select k.dataset, k.indeterminate::boolean as indeterminate, case when bool_or(w.closed_ms is null) then null else min(w.closed_ms) end as closed
    from unnest($2::text[], $3::text[], $4::text[]) k(dataset, win, indeterminate)
    left join tidegate.window_sets w on w.pipeline = $1 and w.dataset = k.dataset and w.win = k.win group by 1, 2),
  own as (select * from unnest($5::text[], $6::text[]) o(dataset, revision))
  select l.dataset, l.starts, l.ends, k.dataset is not null and l.starts >= 0, k.indeterminate,
    (select json_agg(json_build_object('rule', r.rule, 'column', r.column_name, 'verdict', r.verdict, 'severity', r.severity, 'group', r.grp, 'observed', r.observed,
        'reason', r.reason, 'rows', r.rows,
        'isOwn', l.revisions = '{}' or r.version || '@' || left(r.digest, ${REVISION_DIGITS}) = any(l.revisions || o.revision)) order by r.rule, r.grp)
     from tidegate.window_results r
     where r.pipeline = $1 and r.dataset = l.dataset and r.starts = l.starts and r.ends = l.ends and r.revision = 1)
  from tidegate.lots l left join k using (dataset) left join own o using (dataset)
  where l.pipeline = $1 and l.staged > 0 and l.waits is null and (l.starts < 0 or k.dataset is null or l.ends <= k.closed)
    and not exists (select from tidegate.held_datasets h where h.pipeline = $1 and h.dataset = l.dataset)
  order by l.ends, l.starts, l.dataset`;

const LOT_SQL = 'pipeline = $1 and dataset = $2 and lot_starts = $3 and lot_ends = $4';

const DIVERT_SQL = `
  update tidegate.quarantine set status = 'held', quiet = false, findings = findings || $5::jsonb,
    rules = array(select distinct f ->> 'rule' from jsonb_array_elements(findings || $5::jsonb) f)
  where ${LOT_SQL} and status = 'staged'`;

const PUBLISH_SQL = `
  update tidegate.quarantine q set status = 'released', released_seq = o.seq
  from (select id, nextval('tidegate.releases') as seq from (select id from tidegate.quarantine where ${LOT_SQL} and status = 'staged' order by version, id) s) o
  where q.id = o.id`;

const SETTLED_SQL = `
  update tidegate.lots set staged = 0, waits = null, status = $5, rules = array(select jsonb_array_elements_text($6::jsonb)), settled_at = clock_timestamp()
  where pipeline = $1 and dataset = $2 and starts = $3 and ends = $4
  returning rows, extract(epoch from settled_at) * 1000`;

interface Said {
  readonly rule: string;
  readonly column: string | null;
  readonly verdict: 'pass' | 'fail' | 'indeterminate';
  readonly severity: string;
  readonly group: string;
  readonly observed: unknown;
  readonly reason: string | null;
  readonly rows: number;
  /** By rules that the lot goes by. */
  readonly isOwn: boolean;
}

/** Nothing was said of a lot's window; or only by rules that are neither in force, nor staged any of it. */
type Unjudged = 'unjudged' | 'judged by others';

interface DueLot extends Lot {
  readonly dataset: DatasetName;
  /** Why it is diverted; nothing where it is published. */
  readonly against: readonly (Said | Unjudged)[];
}

export interface PostgresLotsParts {
  readonly pipeline: string;
  readonly turns: Turns;
}

export class PostgresLots implements LotStore {
  readonly #parts: PostgresLotsParts;

  constructor(parts: PostgresLotsParts) {
    this.#parts = parts;
  }

  async staging(): Promise<Staging> {
    const { rows } = await this.#parts.turns.query('asking what is staged', STAGING_SQL, [this.#parts.pipeline]);
    const [held, staged] = [new Set<DatasetName>(), new Map<DatasetName, number>()];
    for (const [dataset, count] of rows) {
      const name = dataset as DatasetName; // Written from one.
      if (typeof count === 'string') staged.set(name, Number(count));
      else held.add(name);
    }
    return { held, staged };
  }

  async held(): Promise<readonly HeldDataset[]> {
    const { rows } = await this.#parts.turns.query(
      'asking which datasets are held',
      'select dataset, rule, starts, ends, extract(epoch from since) * 1000 from tidegate.held_datasets where pipeline = $1 order by dataset',
      [this.#parts.pipeline],
    );
    return rows.map(([dataset, rule, starts, ends, since]) => ({
      dataset: dataset as DatasetName, // Written from one.
      rule: rule ?? '',
      startMs: Number(starts),
      endMs: typeof ends === 'string' ? Number(ends) : null,
      sinceMs: Math.floor(Number(since)),
    }));
  }

  async letGoOn(dataset: DatasetName): Promise<boolean> {
    const { rows } = await this.#parts.turns.query(
      'letting a dataset go on',
      'delete from tidegate.held_datasets where pipeline = $1 and dataset = $2 returning dataset',
      [this.#parts.pipeline, dataset],
    );
    return rows.length > 0;
  }

  stuck(): Promise<readonly LotState[]> {
    return this.#lots('staged > 0 and waits is not null', STUCK_MAX);
  }

  lots(limit: number): Promise<readonly LotState[]> {
    return this.#lots('true', limit);
  }

  async #lots(where: string, limit: number): Promise<readonly LotState[]> {
    const { rows } = await this.#parts.turns.query(
      'reading lots',
      `select dataset, starts, ends, case when staged > 0 then 'staged' else status end, rows, array_to_json(rules), extract(epoch from settled_at) * 1000, waits
       from tidegate.lots where pipeline = $1 and ${where} order by ends desc, dataset limit $2::integer`,
      [this.#parts.pipeline, String(limit)],
    );
    return rows.map(([dataset, starts, ends, status, count, rules, settledAt, waits]) => ({
      dataset: dataset as DatasetName, // Written from one.
      startMs: Number(starts),
      endMs: Number(ends),
      status: status as LotStatus, // A check constraint holds it.
      rows: Number(count),
      rules: JSON.parse(rules ?? '[]') as string[], // Made by the query.
      settledAtMs: typeof settledAt === 'string' ? Math.floor(Number(settledAt)) : null,
      waitsFor: waits ?? null,
    }));
  }

  /** Looked at without a lock first, so that nobody is kept from writing where nothing is due. */
  async settle(rules: readonly LotRule[], revisions: ReadonlyMap<DatasetName, string | null>): Promise<readonly LotState[]> {
    return this.#parts.turns.take('settling lots', async (sql) => {
      if ((await this.#due(sql, rules, revisions)).length === 0) return [];
      return inTurn(sql, this.#parts.pipeline, async () => {
        const settled: LotState[] = [];
        for (const lot of await this.#due(sql, rules, revisions)) settled.push(await this.#settle(sql, lot));
        await sql.query("select pg_notify('tidegate', '')");
        await sql.query(
          `delete from tidegate.lots where pipeline = $1 and staged = 0 and settled_at < clock_timestamp() - interval '${KEPT_DAYS} days'`,
          [this.#parts.pipeline],
        );
        return settled;
      });
    });
  }

  async say(process: string, revisions: ReadonlyMap<DatasetName, string | null>, isAlone: boolean): Promise<void> {
    await sayRules(this.#parts.turns, this.#parts.pipeline, process, ownRules(revisions), isAlone);
  }

  async #due(sql: PgConnection, rules: readonly LotRule[], revisions: ReadonlyMap<DatasetName, string | null>): Promise<DueLot[]> {
    const own = [[...ownRules(revisions).keys()], [...ownRules(revisions).values()]].map(textArrayParameter);
    await sql.query(MARK_LOTS_SQL, [this.#parts.pipeline, ...own]);
    const sets = rules.flatMap(({ dataset, sets: ids, divertsIndeterminate }) =>
      ids.map((id) => [dataset, id, String(divertsIndeterminate)] as const),
    );
    const { rows } = await sql.query(DUE_SQL, [
      this.#parts.pipeline,
      textArrayParameter(sets.map(([dataset]) => dataset)),
      textArrayParameter(sets.map(([, id]) => id)),
      textArrayParameter(sets.map(([, , diverts]) => diverts)),
      ...own,
    ]);
    return rows.map(([dataset, starts, ends, isAudited, diverts, said]) => ({
      dataset: dataset as DatasetName, // Written from one.
      startMs: Number(starts),
      endMs: Number(ends),
      against: isAudited === 't' ? against(JSON.parse(said ?? '[]') as Said[], diverts === 't') : [], // Made by the query.
    }));
  }

  async #settle(sql: PgConnection, { dataset, startMs, endMs, against: rules }: DueLot): Promise<LotState> {
    const lot = [this.#parts.pipeline, dataset, String(startMs), String(endMs)];
    const status = rules.length > 0 ? 'diverted' : 'published';
    if (status === 'published') await sql.query(PUBLISH_SQL, lot);
    else await sql.query(DIVERT_SQL, [...lot, JSON.stringify(rules.map((said) => findingOf(said, { startMs, endMs })))]);
    const names = [...new Set(rules.map((said) => (typeof said === 'string' ? UNJUDGED_RULE : said.rule)))];
    const { rows } = await sql.query(SETTLED_SQL, [...lot, status, JSON.stringify(names)]);
    const [count, at] = rows[0] ?? [];
    return { dataset, startMs, endMs, status, rows: Number(count), rules: names, settledAtMs: Math.floor(Number(at)), waitsFor: null };
  }
}

const ownRules = (revisions: ReadonlyMap<DatasetName, string | null>): ReadonlyMap<DatasetName, string> =>
  new Map([...revisions].map(([dataset, revision]) => [dataset, revision ?? NO_RULES]));

/** The finding of a lot that is diverted although nothing was said of its window. */
const UNJUDGED_RULE = 'window.unjudged';

/** What keeps a lot from being published. */
function against(all: readonly Said[], divertsIndeterminate: boolean): readonly (Said | Unjudged)[] {
  const said = all.filter(({ isOwn }) => isOwn);
  if (said.length === 0 && all.length > 0) return ['judged by others'];
  const failed = said.filter(({ verdict }) => verdict === 'fail');
  if (failed.length > 0 || !divertsIndeterminate) return failed;
  return said.length === 0 ? ['unjudged'] : said.filter(({ verdict }) => verdict === 'indeterminate');
}

function findingOf(said: Said | Unjudged, lot: Lot): Readonly<Record<string, unknown>> {
  const time = (ms: number) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
  const window = `the window from ${time(lot.startMs)} to ${time(lot.endMs)}`;
  const common = { stage: 'quality', verdict: Verdict.Quarantine, notify: false };
  if (typeof said === 'string') {
    const why = said === 'unjudged' ? 'was not judged by any rule' : 'was judged by another revision of the rules than staged its rows';
    return { ...common, rule: UNJUDGED_RULE, column: null, severity: 'warning', message: `${window} ${why}` };
  }
  const { rule, column, severity, verdict, observed, reason, rows, group } = said;
  const of = group === '' ? '' : ' in one of its groups';
  const shown = typeof observed === 'number' || typeof observed === 'string' ? `, ${observed} observed` : '';
  const what = verdict === 'fail' ? 'failed' : 'could not be judged';
  return {
    ...common,
    rule,
    column,
    severity,
    message: `${window} ${what}${of} (${rows} rows${shown})${reason === null ? '' : `: ${reason}`}`,
  };
}
