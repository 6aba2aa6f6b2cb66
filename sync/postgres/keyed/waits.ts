/**
 * Rows that wait in quarantine for the one that they name. What they lack is asked of the parents' tables, in one statement for all rules and however many rows
 * wait; what lacks nothing any more is put in line, and judged again on the way like all that is released.
 */
import { type Finding, Verdict } from '../../../core/batch.ts';
import type { DatasetName } from '../../../core/event.ts';
import { lateText, type WaitRule, type WaitsSettled, type WaitStore, waitText } from '../../../core/keyed.ts';
import { MINUTE_MS } from '../../../core/slo.ts';
import type { PgConnection, PgParam } from '../../../wire/postgres/connection.ts';
import { unpackEvent } from '../../../wire/postgres/event-bytes.ts';
import { textArrayParameter } from '../arrays.ts';
import { isRefusal } from '../failures.ts';
import { inTurn, refOf, settleKeys } from '../held-keys.ts';
import { findingsJson, putInLine } from '../items.ts';
import { serverJson } from '../server-texts.ts';
import { recountFailed } from '../slo.ts';
import type { Turns } from '../turns.ts';
import { releaseUnblocked } from '../unblocked.ts';
import { castableSql, prepareCastable } from './castable.ts';
import type { Parents, ParentTable } from './parents.ts';

/** So many at a time, in a transaction that holds the pipeline's turn. */
const ROWS_MAX = 5000;

const WAITING_SQL = "pipeline = $1 and status = 'held' and waits_until is not null";

/** A later change of the key stands behind `a` and needs nothing of it: the row is as that one says, or gone. Where every version stays, each is needed. */
const IS_TAKEN_BACK = `
  a.pipeline = $1 and a.dataset <> all($2::text[]) and a.status = 'held' and a.waits_until is not null and a.moved_from is null and a.op in ('insert', 'update', 'read') and exists (
    select from tidegate.quarantine b
    where b.dataset = a.dataset and b.key = a.key and b.status = 'waiting' and b.version > a.version and b.moved_from is null
      and (b.op = 'delete' or b.op in ('insert', 'update', 'read') and b.row_json ?& array(select jsonb_object_keys(a.row_json))))`;

const TAKE_BACK_SQL = `
  update tidegate.quarantine a set status = 'superseded', settled_at = clock_timestamp(), waits_until = null where ${IS_TAKEN_BACK} returning a.dataset, a.key`;

const LATE_SQL = `
  select id, dataset, findings from tidegate.quarantine q where ${WAITING_SQL} and waits_until <= clock_timestamp()`;

interface Known {
  readonly rule: WaitRule;
  readonly table: ParentTable | null;
}

interface Late {
  readonly id: string;
  readonly findings: readonly Finding[];
  readonly holds: boolean;
  readonly fails: boolean;
}

export interface PostgresWaitsParts {
  readonly pipeline: string;
  readonly turns: Turns;
  readonly parents: Parents;
  /** Datasets of whose rows every version stays at the target. */
  readonly histories: readonly DatasetName[];
}

export class PostgresWaits implements WaitStore {
  readonly #parts: PostgresWaitsParts;

  constructor(parts: PostgresWaitsParts) {
    this.#parts = parts;
  }

  /** Looked at without a lock first, so that nobody is kept from writing where nothing waits, or nothing has come. */
  settle(rules: readonly WaitRule[], mayPass: (parent: DatasetName) => boolean): Promise<WaitsSettled> {
    const { pipeline, parents } = this.#parts;
    return this.#parts.turns.take('looking after rows that wait', async (sql) => {
      const { rows } = await sql.query(`select exists (select from tidegate.quarantine where ${WAITING_SQL})`, [pipeline]);
      if (rows[0]?.[0] !== 't') return { released: 0, overdue: 0, takenBack: 0 };
      // Somebody may have changed the tables since.
      parents.forget();
      const known: Known[] = [];
      for (const rule of rules) known.push({ rule, table: await parents.of(sql, rule.parent) });
      const takenBack = await this.#takeBack(sql);
      const released = await this.#free(sql, known);
      const overdue = await this.#overdue(sql, known, mayPass);
      return { ...overdue, released: released + overdue.released, takenBack };
    });
  }

  async #takeBack(sql: PgConnection): Promise<number> {
    const { pipeline, histories } = this.#parts;
    const parameters = [pipeline, textArrayParameter(histories)];
    const { rows: found } = await sql.query(`select exists (select from tidegate.quarantine a where ${IS_TAKEN_BACK})`, parameters);
    if (found[0]?.[0] !== 't') return 0;
    return inTurn(sql, this.#parts.pipeline, async () => {
      const { rows } = await sql.query(TAKE_BACK_SQL, parameters);
      const keys = rows.map(([dataset, key]) => ({ dataset: dataset ?? '', key: key ?? '' }));
      await settleKeys(sql, keys);
      await releaseUnblocked(sql, new Set(keys.map(({ dataset, key }) => refOf(dataset, key))));
      return rows.length;
    });
  }

  async #free(sql: PgConnection, known: readonly Known[]): Promise<number> {
    const found = await this.#found(sql, known);
    if (found.length === 0) return 0;
    return inTurn(sql, this.#parts.pipeline, async () => {
      // Somebody may have released or discarded one since.
      const { rows } = await sql.query(
        `select id from tidegate.quarantine where ${WAITING_SQL} and id = any($2::text[]) order by version, id`,
        [this.#parts.pipeline, textArrayParameter(found)],
      );
      await putInLine(
        sql,
        rows.map(([id]) => id ?? ''),
        null,
      );
      return rows.length;
    });
  }

  /** What lacks nothing, or what a newer change of its key has outrun. */
  async #found(sql: PgConnection, known: readonly Known[], isCareful = false): Promise<string[]> {
    const parameters: PgParam[] = [this.#parts.pipeline];
    const lacks = known.map((one) => lackSql(one, parameters, isCareful ? sql : null));
    const lacksNothing = lacks.length === 0 ? 'true' : `not (${lacks.join(' or ')})`;
    const outrun =
      'exists (select from tidegate.held_keys h where h.dataset = q.dataset and h.key = q.key and q.moved_from is null and h.version >= q.version)';
    try {
      const { rows } = await sql.query(
        `select q.id from tidegate.quarantine q where q.${WAITING_SQL} and (${outrun} or ${lacksNothing}) order by q.version, q.id limit ${ROWS_MAX}`,
        parameters,
      );
      return rows.map(([id]) => id ?? '');
    } catch (error) {
      if (!isRefusal(error) || isCareful) throw error;
      // A cell that is none of the parent's type, which may be another one by now, names no row: it waits for as long as others do.
      await prepareCastable(sql);
      return this.#found(sql, known, true);
    }
  }

  async #overdue(
    sql: PgConnection,
    known: readonly Known[],
    mayPass: (parent: DatasetName) => boolean,
  ): Promise<Pick<WaitsSettled, 'released' | 'overdue'>> {
    const none = { released: 0, overdue: 0 };
    if ((await this.#late(sql, known, mayPass)).length === 0) return none;
    return inTurn(sql, this.#parts.pipeline, async () => {
      const late = await this.#late(sql, known, mayPass);
      if (late.length === 0) return none;
      return this.#endWait(sql, late);
    });
  }

  async #late(sql: PgConnection, known: readonly Known[], mayPass: (parent: DatasetName) => boolean): Promise<Late[]> {
    const parameters: PgParam[] = [this.#parts.pipeline];
    // Asked of the database: so many rows whose time does not pass must not stand before those whose time does.
    const stays = known.filter(({ rule }) => !mayPass(rule.parent.dataset)).map(({ rule }) => ` and not ${waitsForSql(rule, parameters)}`);
    const { rows } = await sql.query(`${LATE_SQL}${stays.join('')} order by version, id limit ${ROWS_MAX}`, parameters);
    return rows.map(([id, dataset, text]) => {
      const findings = JSON.parse(text ?? '[]') as Finding[]; // Written by findingsJson.
      const own = known.filter(
        ({ rule }) => rule.dataset === dataset && findings.some((one) => one.rule === rule.rule && (one.waitMs ?? 0) > 0),
      );
      return {
        id: id ?? '',
        findings: findings.map(waited),
        holds: own.some(({ rule }) => rule.holds),
        fails: own.some(({ rule }) => rule.fails),
      };
    });
  }

  async #endWait(sql: PgConnection, late: readonly Late[]): Promise<Pick<WaitsSettled, 'released' | 'overdue'>> {
    await sql.query(
      `update tidegate.quarantine q set waits_until = null, findings = w.findings::jsonb from unnest($1::text[], $2::text[]) w(id, findings) where q.id = w.id`,
      [
        textArrayParameter(late.map(({ id }) => id)),
        textArrayParameter(late.map(({ findings }) => serverJson(sql)(findingsJson(findings)))),
      ],
    );
    await this.#countBad(
      sql,
      late.filter(({ fails }) => fails).map(({ id }) => id),
    );
    const passing = late.filter(({ holds }) => !holds).map(({ id }) => id);
    await putInLine(sql, passing, null);
    return { released: passing.length, overdue: late.length - passing.length };
  }

  /** They were counted as good while they waited. Once somebody has released one, it was counted before. */
  async #countBad(sql: PgConnection, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { rows } = await sql.query(
      `select dataset, event from tidegate.quarantine where id = any($1::text[]) and by_whom is null and op <> 'read'`,
      [textArrayParameter(ids)],
    );
    const minutes = new Map<string, { dataset: DatasetName; minuteMs: number; bad: number }>();
    for (const [dataset, event] of rows) {
      const { committedAtMs } = unpackEvent(Buffer.from((event ?? '').slice(2), 'hex'));
      const minuteMs = Math.floor(committedAtMs / MINUTE_MS) * MINUTE_MS;
      const id = `${minuteMs} ${dataset}`;
      const known = minutes.get(id);
      if (known === undefined)
        minutes.set(id, { dataset: dataset as DatasetName, minuteMs, bad: 1 }); // As it was held.
      else known.bad++;
    }
    await recountFailed(sql, this.#parts.pipeline, [...minutes.values()]);
  }
}

/** That a row `q` waits by this rule. */
function waitsForSql({ dataset, rule }: WaitRule, parameters: PgParam[]): string {
  const [ofDataset, ofRule] = [`$${parameters.push(dataset)}`, `$${parameters.push(rule)}`];
  return `(q.dataset = ${ofDataset} and exists (
    select from jsonb_array_elements(q.findings) f where f ->> 'rule' = ${ofRule} and coalesce((f ->> 'waitMs')::numeric, 0) > 0))`;
}

/** That a row `q` waits by this rule, and what it names is not there. `careful`: its cells may be no values of the types that they are held against. */
function lackSql({ rule, table }: Known, parameters: PgParam[], careful: PgConnection | null): string {
  const place = (value: string): string => `$${parameters.push(value)}`;
  const cells = rule.columns.map((column) => `(q.row_json ->> ${place(column)}::text)`);
  const isOfRule = `q.dataset = ${place(rule.dataset)} and ${place(rule.rule)} = any(q.rules)`;
  const named = cells.map((cell) => `${cell} is not null`).join(' and ');
  if (table === null) return `(${isOfRule} and ${named})`;
  const same = table.columns.map(({ name, cast }, i) => `t.${name} = ${cells[i]}::${cast}`).join(' and ');
  const lacks = `not exists (select from ${table.qualified} t where ${same}${table.andAlive})`;
  const uncastable =
    careful === null
      ? []
      : table.columns.map(({ cast }, i) => `when not ${castableSql(careful, cells[i] ?? '', `${place(cast)}::text`)} then true `);
  // Only of the rule's own rows may cells be read as the type of its columns.
  return `(case when not (${isOfRule} and ${named}) then false ${uncastable.join('')}else ${lacks} end)`;
}

function waited(finding: Finding): Finding {
  const { waitMs = 0, message } = finding;
  if (waitMs === 0 || finding.verdict !== Verdict.Quarantine) return finding;
  return { ...finding, message: `${message.replace(waitText(waitMs), '')}${lateText(waitMs)}`, waitMs: 0 };
}
