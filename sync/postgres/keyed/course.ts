/**
 * increasing and decreasing, per key: a row's new value is held against its last one, which the change before it in the batch brought, or which is in the row at
 * the target. The target compares them, as values of its column.
 */
import type { ChangeEvent } from '../../../core/event.ts';
import { textArrayParameter } from '../arrays.ts';
import { cellText, keyParts } from './asked-table.ts';
import { firstOfKeys } from './before.ts';
import type { Asking, Found, Judged } from './rules.ts';

/** The last value of a row: what the batch says, or that which the row of a key has at the target. */
type Last = { readonly text: string | null } | { readonly ofKey: string };

interface Step {
  readonly change: Judged;
  readonly last: Last;
  readonly text: string;
}

export async function judgeCourse(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const [first] = changes;
  if (first?.rule.question.kind !== 'course') return [];
  const { column, direction, strictly } = first.rule.question;
  const steps = stepsOf(changes, column);
  const { dataset } = first.event;
  const [table, key] = [asking.tableOf(dataset, [column]), asking.tableOf(dataset, dataset.key)];
  const [own] = table?.columns ?? [];
  if (steps.length === 0 || table === null || key === null || own === undefined) return [];
  const keys = steps.map(({ last }) => ('ofKey' in last ? keyParts(dataset, last.ofKey) : []));
  const given = [
    ...key.columns.map((_, i) => textArrayParameter(keys.map((parts) => parts[i] ?? null))),
    textArrayParameter(steps.map(({ last }) => ('ofKey' in last ? null : last.text))),
    textArrayParameter(steps.map(({ text }) => text)),
  ];
  const names = [...key.columns.map((_, i) => `k${i}`), 'last', 'own'];
  const fails = `${direction === 1 ? '<' : '>'}${strictly ? '=' : ''}`;
  // Where the batch says the last value, there is no key to find a row by.
  const { rows } = await asking.sql.query(
    `select e.at from unnest(${given.map((_, i) => `$${i + 1}::text[]`).join(', ')}) with ordinality e(${names.join(', ')}, at)
       left join ${table.qualified} t on ${key.columns.map(({ name, cast }, i) => `t.${name} = e.k${i}::${cast}`).join(' and ')}${table.andAlive}
      where e.own::${own.cast} ${fails} coalesce(e.last::${own.cast}, t.${own.name}) order by e.at`,
    given,
  );
  const found = rows.flatMap(([at]) => steps[Number(at) - 1]?.change ?? []);
  return first.rule.holds ? firstOfKeys(found) : found;
}

/** What is compared: updates of rows whose last value may be there. */
function stepsOf(changes: readonly Judged[], column: number): Step[] {
  const steps: Step[] = [];
  const said = new Map<string, Last>();
  let isEmptied = false;
  for (const change of changes) {
    const { event, isJudged } = change;
    if (event.op === 'truncate') {
      said.clear();
      isEmptied = true;
      continue;
    }
    const from = event.movedFrom ?? event.key;
    const last = said.get(from) ?? (isEmptied ? NONE : { ofKey: from });
    const text = textOf(event, column);
    const isKnown = 'ofKey' in last || last.text !== null;
    if (isJudged && isKnown && typeof text === 'string') steps.push({ change, last, text });
    said.set(from, NONE);
    // A value that was not sent is what it was.
    said.set(event.key, text === undefined ? last : { text });
  }
  return steps;
}

const NONE: Last = { text: null };

function textOf({ after }: ChangeEvent, column: number): string | null | undefined {
  return after === null ? null : cellText(() => after.value(column));
}
