/**
 * unique: a row that brings a value which another row has at the end of its transaction fails. One that keeps a value it had does not: whoever came
 * second is at fault. What an update or a delete gives up is free within the same transaction.
 */
import { cellText } from './asked-table.ts';
import { type Held, Occupancy, type Outcome, type Tuple } from './occupancy.ts';
import type { Asking, Found, Judged } from './rules.ts';
import { Waiting } from './waiting.ts';

export async function judgeUnique(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const [first] = changes;
  if (first === undefined || first.rule.question.kind !== 'unique') return [];
  const { columns: places } = first.rule.question;
  const table = asking.tableOf(first.event.dataset, places);
  const key = asking.tableOf(first.event.dataset, first.event.dataset.key);
  if (table === null || key === null) return [];
  const tuples = new Map(changes.map((change) => [change.event, tupleOf(change)]));
  const occupancy = await Occupancy.ask(
    asking.sql,
    table,
    [...tuples.values()].filter((tuple) => tuple !== undefined),
    key,
    asking.keysOf(changes.map(({ event }) => event)),
    (event) => tuples.get(event),
  );
  const waiting = new Waiting(asking.waits);
  return asking.transactions(changes).flatMap((transaction) => judge(occupancy, transaction, waiting));
}

function judge(occupancy: Occupancy, transaction: readonly Judged[], waiting: Waiting): Found[] {
  const byIndex = new Map(transaction.map((change) => [change.index, change]));
  const failed = new Map<number, Found>();
  // What fails is not written, so its row keeps what it had: that may be what another one took.
  for (;;) {
    const outcome = occupancy.after(waiting.left(transaction, ({ index, rule }) => failed.has(index) && rule.holds));
    const before = failed.size;
    for (const by of secondOnes(occupancy, outcome, (index) => byIndex.get(index)?.isJudged === true)) {
      const change = byIndex.get(by);
      if (change !== undefined && !failed.has(by)) failed.set(by, { index: by, rule: change.rule, event: change.event });
    }
    if (failed.size === before) {
      occupancy.commit(outcome);
      waiting.commit();
      return [...failed.values()].sort((a, b) => a.index - b.index);
    }
  }
}

/** The events that gave a row a value which another row has. */
function secondOnes(occupancy: Occupancy, outcome: Outcome, isJudged: (index: number) => boolean): number[] {
  const byValue = new Map<string, Held[]>();
  for (const row of outcome.rows.values()) {
    if (row.value === null) continue;
    const known = byValue.get(row.value);
    if (known === undefined) byValue.set(row.value, [row]);
    else known.push(row);
  }
  const found: number[] = [];
  for (const [value, rows] of byValue) {
    // A row that ends with the value it began with has it, whatever it had in between.
    const anew = rows.filter(({ by, before }) => by >= 0 && before !== value).sort((a, b) => a.by - b.by);
    const isFree = anew.length === rows.length && !occupancy.isTaken(value, outcome);
    found.push(
      ...anew
        .slice(isFree ? 1 : 0)
        .map(({ by }) => by)
        .filter(isJudged),
    );
  }
  return found;
}

/** Undefined where one of the cells was not sent: then none of them counts as another than before. */
function tupleOf({ event, rule }: Judged): Tuple | undefined {
  const { after } = event;
  if (after === null || rule.question.kind !== 'unique') return undefined;
  const texts = rule.question.columns.map((column) => cellText(() => after.value(column)));
  return texts.includes(undefined) ? undefined : texts.map((text) => text ?? null);
}
