/**
 * sequence_gap: a new row's number tells that the one `outOfOrder` steps before the last is due by now: it is in the batch, at the target, or in quarantine, or
 * there is none before it and the numbers begin here. A row that is gone by then is missing.
 */
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { textArrayParameter } from '../arrays.ts';
import { OPEN_SQL } from '../open-items.ts';
import { type AskedTable, cellText } from './asked-table.ts';
import { BatchNumbers, type GroupNumber } from './batch-numbers.ts';
import { HOLDERS_MAX, placesOf } from './occupancy.ts';
import type { Asking, Found, Judged } from './rules.ts';

type Question = Extract<Judged['rule']['question'], { kind: 'sequence' }>;

/** A number that none of the batch has. */
interface Due extends GroupNumber {
  readonly change: Judged;
  /** The transaction of the batch, counted, that asks for it. */
  readonly turn: number;
  readonly hasEarlier: boolean;
}

export async function judgeSequence(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const [first] = changes;
  if (first?.rule.question.kind !== 'sequence') return [];
  const { question } = first.rule;
  const { dataset } = first.event;
  const [table, key] = [asking.tableOf(dataset, [...question.groupBy, question.column]), asking.tableOf(dataset, dataset.key)];
  if (table === null || key === null) return [];
  const numbers = new BatchNumbers(table.andAlive !== '');
  const asked = asking.transactions(changes).flatMap((transaction, turn) => dueIn(numbers, transaction, question, turn));
  if (asked.length === 0) return [];
  const places = await placesOf(asking.sql, key, asking.keysOf(numbers.touching));
  const holders = new Holders(asking.sql, table, places.size, (place, turn) => numbers.isLeft(places.get(place), turn));
  const missing = await holders.lacking(asked, '=');
  const beginning = new Set(await holders.lacking(missing, '<'));
  return withoutHeld(
    asking,
    question,
    missing.filter((due) => due.hasEarlier || !beginning.has(due)),
  );
}

/** What is due once the transaction is done, wherever in it a number stands. */
function dueIn(numbers: BatchNumbers, transaction: readonly Judged[], question: Question, turn: number): Due[] {
  for (const { event, fate } of transaction) {
    const number = numberOf(event, question);
    if (fate === 'written') numbers.write(event, number, turn);
    else if (fate === 'held' && number !== null && number !== undefined) numbers.hold(number);
  }
  return transaction.flatMap((change) => {
    const own = change.isJudged ? numberOf(change.event, question) : null;
    if (own === null || own === undefined) return [];
    const due = { group: own.group, number: own.number - question.step * BigInt(question.outOfOrder + 1) };
    return numbers.has(due) ? [] : [{ change, ...due, turn, hasEarlier: numbers.hasBefore(due) }];
  });
}

/** Null where the row has no number or is of no group, or is gone; undefined where one of the cells was not sent. */
function numberOf({ after }: Judged['event'], { column, groupBy }: Question): GroupNumber | null | undefined {
  if (after === null) return null;
  const texts = [...groupBy, column].map((place) => cellText(() => after.value(place)));
  if (texts.includes(undefined)) return undefined;
  const given = texts.filter((text) => typeof text === 'string');
  const number = given.at(-1);
  if (number === undefined || given.length < texts.length) return null;
  return { group: given.slice(0, -1), number: BigInt(number) };
}

/** Rows of the target that have numbers, and that the batch leaves there. */
class Holders {
  readonly #sql: PgConnection;
  readonly #table: AskedTable;
  /** More than the batch changes need not be looked at. */
  readonly #limit: number;
  readonly #isLeft: (place: string, turn: number) => boolean;

  constructor(sql: PgConnection, table: AskedTable, changed: number, isLeft: (place: string, turn: number) => boolean) {
    this.#sql = sql;
    this.#table = table;
    this.#limit = Math.min(changed + 1, HOLDERS_MAX);
    this.#isLeft = isLeft;
  }

  /** Those of which no row has the number (`=`), or an earlier one of its group (`<`). */
  async lacking(asked: readonly Due[], compared: '=' | '<'): Promise<Due[]> {
    if (asked.length === 0) return [];
    const { columns, qualified } = this.#table;
    const names = columns.map((_, i) => `c${i}`);
    const last = names.length - 1;
    const ofGroup = columns.slice(0, -1).map(({ name, cast }, i) => `t.${name} = e.c${i}::${cast} and `);
    // A number of another width than the column's is compared as the wider one.
    const { rows } = await this.#sql.query(
      `select e.at, (select string_agg(h.place, ' ') from (select t.tableoid::text || ':' || t.ctid::text as place from ${qualified} t
          where ${ofGroup.join('')}t.${columns[last]?.name} ${compared} e.c${last}::bigint limit ${this.#limit}) h)
       from unnest(${names.map((_, i) => `$${i + 1}::text[]`).join(', ')}) with ordinality e(${names.join(', ')}, at)`,
      names.map((_, i) => textArrayParameter(asked.map((due) => due.group[i] ?? String(due.number)))),
    );
    return rows.flatMap(([at, found]) => {
      const due = asked[Number(at) - 1];
      if (due === undefined) return [];
      const places = found === null || found === undefined ? [] : found.split(' ');
      return places.length >= HOLDERS_MAX || places.some((place) => this.#isLeft(place, due.turn)) ? [] : [due];
    });
  }
}

/** A number in quarantine is not missing: it has come. Asked of the few that are not at the target. */
async function withoutHeld(asking: Asking, question: Question, gaps: readonly Due[]): Promise<Found[]> {
  const [first] = gaps;
  if (first === undefined) return [];
  const { dataset } = first.change.event;
  const names = [...question.groupBy, question.column].map((column) => dataset.columns[column]?.name ?? '');
  const same = names.map((_, i) => `q.row_json ->> $${names.length + 2 + i} = e.c${i}`);
  const given = names.map((_, i) => textArrayParameter(gaps.map((due) => due.group[i] ?? String(due.number))));
  const { rows } = await asking.sql.query(
    `select e.at from unnest(${names.map((_, i) => `$${i + 2}::text[]`).join(', ')}) with ordinality e(${names.map((_, i) => `c${i}`).join(', ')}, at)
      where not exists (select from tidegate.quarantine q where q.dataset = $1 and q.status in ${OPEN_SQL} and ${same.join(' and ')})
      order by e.at`,
    [dataset.name, ...given, ...names],
  );
  return rows.flatMap(([at]) => {
    const change = gaps[Number(at) - 1]?.change;
    return change === undefined ? [] : [change];
  });
}
