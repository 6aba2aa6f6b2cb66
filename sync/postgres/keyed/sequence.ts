/**
 * sequence_gap: a new row's number tells that the one `outOfOrder` steps before the last is due by now: it is in the batch, at the target, or in quarantine, or
 * there is none before it and the numbers begin here.
 */
import { textArrayParameter } from '../arrays.ts';
import { OPEN_SQL } from '../items.ts';
import { cellText } from './asked-table.ts';
import type { Asking, Found, Judged } from './rules.ts';

type Question = Extract<Judged['rule']['question'], { kind: 'sequence' }>;

interface Due {
  readonly change: Judged;
  readonly group: readonly string[];
  readonly number: bigint;
}

/** Numbers of a group that came in this batch. */
interface Seen {
  readonly numbers: Set<bigint>;
  least: bigint;
}

export async function judgeSequence(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const seen = new Map<string, Seen>();
  const asked: (Due & { readonly hasEarlier: boolean })[] = [];
  for (const transaction of asking.transactions(changes)) {
    const rows = transaction.flatMap((change) => numbered(change) ?? []);
    for (const { group, number } of rows) note(seen, JSON.stringify(group), number);
    for (const { change, group, number } of rows) {
      const { question } = change.rule;
      if (question.kind !== 'sequence' || !change.isJudged) continue;
      const due = number - question.step * BigInt(question.outOfOrder + 1);
      const known = seen.get(JSON.stringify(group));
      if (known?.numbers.has(due) === true) continue;
      asked.push({ change, group, number: due, hasEarlier: known !== undefined && known.least < due });
    }
  }
  return missing(asking, asked);
}

function note(seen: Map<string, Seen>, group: string, number: bigint): void {
  const known = seen.get(group);
  if (known === undefined) {
    seen.set(group, { numbers: new Set([number]), least: number });
    return;
  }
  known.numbers.add(number);
  if (number < known.least) known.least = number;
}

/** Null where it has no number, or is of no group. */
function numbered(change: Judged): Due | null {
  const { after } = change.event;
  const { question } = change.rule;
  if (after === null || question.kind !== 'sequence') return null;
  const number = cellText(() => after.value(question.column));
  const group = question.groupBy.map((column) => cellText(() => after.value(column)));
  if (typeof number !== 'string' || group.some((text) => typeof text !== 'string')) return null;
  return { change, group: group.map((text) => text ?? ''), number: BigInt(number) };
}

async function missing(asking: Asking, asked: readonly (Due & { readonly hasEarlier: boolean })[]): Promise<Found[]> {
  const [first] = asked;
  const question = first?.change.rule.question;
  if (first === undefined || question?.kind !== 'sequence') return [];
  const { event } = first.change;
  const table = asking.tableOf(event.dataset, [...question.groupBy, question.column]);
  if (table === null) return [];
  const names = table.columns.map((_, i) => `c${i}`);
  const last = names.length - 1;
  const ofGroup = table.columns.slice(0, -1).map(({ name, cast }, i) => `t.${name} = e.c${i}::${cast} and `);
  const number = `t.${table.columns[last]?.name}`;
  // A number of another width than the column's is compared as the wider one.
  const { rows } = await asking.sql.query(
    `select e.at, exists (select from ${table.qualified} t where ${ofGroup.join('')}${number} = e.c${last}::bigint),
       exists (select from ${table.qualified} t where ${ofGroup.join('')}${number} < e.c${last}::bigint)
     from unnest(${names.map((_, i) => `$${i + 1}::text[]`).join(', ')}) with ordinality e(${names.join(', ')}, at)`,
    names.map((_, i) => textArrayParameter(asked.map((due) => due.group[i] ?? String(due.number)))),
  );
  const gaps = rows.flatMap(([at, isThere, hasEarlier]) => {
    const due = asked[Number(at) - 1];
    return due === undefined || isThere === 't' || (hasEarlier !== 't' && !due.hasEarlier) ? [] : [due];
  });
  return withoutHeld(asking, question, gaps);
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
