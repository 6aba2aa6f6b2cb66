/** Changes of the tables of all pipelines as one list: what the HTTP API and the command line show and decide. */
import { NEW_TABLE } from '../sync/postgres/new-tables.ts';
import type { Decided, SchemaChangeItem } from '../sync/postgres/schema-desk.ts';
import type { Desk } from './desk.ts';
import type { SchemaChangeDetailView, SchemaChangeView } from './http/shapes.ts';

const LIST_MAX = 1000;

/** Numbers are of a target; pipelines may have several. */
export const changeId = (pipeline: string, id: string): string => `${pipeline}-${id}`;

export function changeView(pipeline: string, change: SchemaChangeItem): SchemaChangeView {
  const { id, dataset, status, kinds, message, problem, held, reread, atMs, settledAtMs, by, why } = change;
  return {
    id: changeId(pipeline, id),
    pipeline,
    dataset,
    status,
    kinds: [...kinds],
    message,
    problem,
    held,
    reread,
    atMs,
    settledAtMs,
    by,
    why,
  };
}

/** Newest first. */
export async function listChanges(desks: readonly Desk[], open: boolean): Promise<readonly SchemaChangeView[]> {
  const lists = await Promise.all(
    desks.map(async (desk) => {
      const changes = await desk.withSink((sink) => sink.schemas.list({ open, limit: LIST_MAX }));
      return changes.map((change) => changeView(desk.pipeline, change));
    }),
  );
  return lists.flat().sort((a, b) => b.atMs - a.atMs);
}

export async function getChange(desks: readonly Desk[], id: string): Promise<SchemaChangeDetailView | null> {
  const found = find(desks, id);
  const change = found === null ? null : await found.desk.withSink((sink) => sink.schemas.get(found.number));
  if (found === null || change === null) return null;
  const { rules, models } = found.desk.touchedBy(change.dataset, isNewTable(change) ? null : columnsOf(change));
  return { ...changeView(found.desk.pipeline, change), statements: [...change.statements], rules: [...rules], models: [...models] };
}

/** A decision is not asked for twice by itself: its connection may have been lost after it was made. */
export async function approveChange(desks: readonly Desk[], id: string, by: string): Promise<Decided> {
  const found = find(desks, id);
  const decided = await found?.desk.withSink((sink) => sink.schemas.approve(found.number, by));
  return found === null || decided === undefined
    ? { kind: 'unknown' }
    : decided.kind === 'approved'
      ? { ...decided, changes: decided.changes.map((one) => changeId(found.desk.pipeline, one)) }
      : decided;
}

export async function rejectChange(desks: readonly Desk[], id: string, by: string, why: string): Promise<Decided> {
  const found = find(desks, id);
  return (await found?.desk.withSink((sink) => sink.schemas.reject(found.number, by, why))) ?? { kind: 'unknown' };
}

function find(desks: readonly Desk[], id: string): { readonly desk: Desk; readonly number: string } | null {
  const dash = id.lastIndexOf('-');
  const number = id.slice(dash + 1);
  const desk = desks.find(({ pipeline }) => pipeline === id.slice(0, dash));
  return desk === undefined || !/^\d{1,18}$/.test(number) ? null : { desk, number };
}

const isNewTable = ({ kinds }: SchemaChangeItem): boolean => kinds[0]?.kind === NEW_TABLE;

/** The columns that the change is about, under their old names and their new ones. */
function columnsOf({ kinds }: SchemaChangeItem): readonly string[] {
  return kinds.flatMap(({ column, message }) => [
    ...(column === null ? [] : [column]),
    ...[...(/column (\S+) is called/.exec(message) ?? [])].slice(1),
  ]);
}
