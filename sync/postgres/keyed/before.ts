/**
 * before_matches: what a change says was there before it is held against the change before it in the batch, else against the row at the target. A key that has
 * something in quarantine, or had something discarded, is not at the target as the stream last said: nothing is said of it.
 */
import { type ChangeEvent, type Row, UNCHANGED } from '../../../core/event.ts';
import type { Unknown } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { textArrayParameter } from '../arrays.ts';
import { OPEN_SQL } from '../open-items.ts';
import { type AskedTable, cellText, keyParts } from './asked-table.ts';
import type { Asking, Found, Judged } from './rules.ts';

const NO_ROW = 'there is no row of the key';

/** All events of the rule's dataset in the batch, those that are held as well: of their keys nothing is said from there on, as if they came in batches of their own. */
export async function judgeBefore(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const found = new Map<number, Found>();
  const asked: Judged[] = [];
  // What the stream has said in this batch, by key; null: that there is no such row.
  const said = new Map<string, Row | null>();
  const excused = new Set<string>();
  let isEmptied = false;
  for (const change of changes) {
    const { event, isJudged, fate } = change;
    if (fate === 'dropped') continue;
    if (fate === 'held') {
      for (const key of keysIn(event)) excused.add(key);
      continue;
    }
    if (event.op === 'truncate') {
      said.clear();
      isEmptied = true;
      continue;
    }
    const key = event.movedFrom ?? event.key;
    const last = said.get(key) ?? (isEmptied ? null : undefined);
    if (isJudged && !excused.has(key)) {
      const fault = faultOf(change, last);
      if (fault === 'asks') asked.push(change);
      else if (fault !== null) found.set(change.index, { ...change, detail: fault });
    }
    said.set(key, null);
    said.set(event.key, event.after === null ? null : completed(event));
  }
  for (const one of await atTarget(asking, asked)) found.set(one.index, one);
  const suspects = [...found.values()].sort((a, b) => a.index - b.index);
  const withItems = await keysWithItems(asking.sql, suspects);
  const inOrder = suspects.filter(({ event }) => !withItems.has(event.movedFrom ?? event.key));
  return changes[0]?.rule.holds === true ? firstOfKeys(inOrder) : inOrder;
}

const keysIn = ({ key, movedFrom }: ChangeEvent): string[] => (movedFrom === null ? [key] : [key, movedFrom]);

/** What comes behind one that is held is judged when the batch comes again without it. */
export function firstOfKeys(found: readonly Found[]): Found[] {
  const seen = new Set<string>();
  return found.filter(({ event }) => {
    const isFirst = keysIn(event).every((key) => !seen.has(key));
    for (const key of keysIn(event)) seen.add(key);
    return isFirst;
  });
}

/** A cell that was not sent is what it was. */
function completed({ before, after }: ChangeEvent): Row | null {
  if (after === null || before === null) return after;
  return {
    value: (column) => {
      const value = after.value(column);
      return value === UNCHANGED ? before.value(column) : value;
    },
    encoded: null,
  };
}

/** What is wrong with a change beside the last one of its key; `asks` where the target has to say. */
function faultOf({ event, rule }: Judged, last: Row | null | undefined): string | null {
  const { columns, whenUnknown } = questionOf(rule);
  const { before, dataset } = event;
  const sent =
    before === null ? [] : columns.filter((column) => !dataset.key.includes(column) && cellText(() => before.value(column)) !== undefined);
  if (before === null || (sent.length === 0 && columns.some((column) => !dataset.key.includes(column))))
    return whenUnknown.noBefore === 'fail' ? 'the source sent no old row' : null;
  if (last === undefined) return 'asks';
  if (last === null) return whenUnknown.missing === 'fail' ? NO_ROW : null;
  const others = sent.filter((column) => {
    const text = cellText(() => last.value(column));
    return text !== undefined && text !== cellText(() => before.value(column));
  });
  return others.length === 0 ? null : differing(event, others);
}

function questionOf({ question }: Judged['rule']): { readonly columns: readonly number[]; readonly whenUnknown: Unknown } {
  return question.kind === 'before' ? question : { columns: [], whenUnknown: { noBefore: 'skip', missing: 'skip' } };
}

const differing = ({ dataset }: ChangeEvent, columns: readonly number[]): string =>
  `${columns.map((column) => dataset.columns[column]?.name).join(', ')} differ${columns.length === 1 ? 's' : ''}`;

async function atTarget(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const [first] = changes;
  if (first === undefined) return [];
  const { dataset } = first.event;
  const written = questionOf(first.rule).columns.filter((column) => asking.tableOf(dataset, [column]) !== null);
  const [table, key] = [asking.tableOf(dataset, written), asking.tableOf(dataset, dataset.key)];
  if (table === null || key === null) return [];
  const differ = await differences(asking.sql, table, key, changes, written);
  return changes.flatMap((change, at) => {
    const columns = differ.get(at);
    const detail = columns === undefined ? missingRow(change) : columns.length === 0 ? null : differing(change.event, columns);
    return detail === null ? [] : [{ ...change, detail }];
  });
}

const missingRow = ({ rule }: Judged): string | null => (questionOf(rule).whenUnknown.missing === 'fail' ? NO_ROW : null);

/** Of each change whose row is there the columns that differ. */
async function differences(
  sql: PgConnection,
  table: AskedTable,
  key: AskedTable,
  changes: readonly Judged[],
  columns: readonly number[],
): Promise<ReadonlyMap<number, readonly number[]>> {
  const keys = changes.map(({ event }) => keyParts(event.dataset, event.movedFrom ?? event.key));
  const cells = changes.map(({ event: { before } }) =>
    columns.map((column) => (before === null ? undefined : cellText(() => before.value(column)))),
  );
  const given = [
    ...key.columns.map((_, i) => textArrayParameter(keys.map((parts) => parts[i] ?? null))),
    ...table.columns.map((_, i) => textArrayParameter(cells.map((texts) => texts[i] ?? null))),
    // Which cells were sent, a digit each.
    textArrayParameter(cells.map((texts) => texts.map((text) => (text === undefined ? '0' : '1')).join(''))),
  ];
  const names = [...key.columns.map((_, i) => `k${i}`), ...table.columns.map((_, i) => `c${i}`), 'sent'];
  const differs = table.columns.map(
    ({ name, cast }, i) =>
      `case when substr(e.sent, ${i + 1}, 1) = '1' and t.${name}::text is distinct from e.c${i}::${cast}::text then '1' else '0' end`,
  );
  const { rows } = await sql.query(
    `select e.at, ${differs.join(' || ')} from unnest(${given.map((_, i) => `$${i + 1}::text[]`).join(', ')}) with ordinality e(${names.join(', ')}, at)
       join ${table.qualified} t on ${key.columns.map(({ name, cast }, i) => `t.${name} = e.k${i}::${cast}`).join(' and ')}${table.andAlive}`,
    given,
  );
  return new Map(rows.map(([at, digits = '']) => [Number(at) - 1, columns.filter((_, i) => digits?.[i] === '1')]));
}

/** Asked of the few that differ. */
async function keysWithItems(sql: PgConnection, suspects: readonly Found[]): Promise<ReadonlySet<string>> {
  const [first] = suspects;
  if (first === undefined) return new Set();
  const keys = textArrayParameter(suspects.map(({ event }) => event.movedFrom ?? event.key));
  const { rows } = await sql.query(
    `select unnest(array[key, moved_from]) from tidegate.quarantine
      where dataset = $1 and (key = any($2::text[]) or moved_from = any($2::text[])) and (status in ${OPEN_SQL} or status = 'discarded')`,
    [first.event.dataset.name, keys],
  );
  return new Set(rows.flatMap(([key]) => key ?? []));
}
