/** What the target has to hold after a log of changes, by the plainest reading of what holding means. */

export interface LoggedChange {
  readonly seq: number;
  readonly table: string;
  /** INSERT, UPDATE, DELETE. */
  readonly op: string;
  readonly id: number;
  /** The id before, where an update moved it. */
  readonly oldId: number | null;
  readonly row: ({ readonly id: number; readonly amount: number } & Readonly<Record<string, unknown>>) | null;
}

export interface Expected {
  /** Of a table, by id. */
  rows(table: string): readonly unknown[];
  /** The numbers of the changes that break the rule, in order. */
  bad(table: string): readonly number[];
  /** How many are held in all: those, and those that wait for them. */
  readonly held: number;
}

/** A change is bad when its amount is out of 0 to 1000. `key`: later changes of its keys wait for it; `event`: they don't. */
export function expectedOf(log: readonly LoggedChange[], holds: Readonly<Record<string, 'key' | 'event'>>): Expected {
  const tables = new Map<string, Map<number, unknown>>();
  const blocked = new Map<string, Set<number>>();
  const bad = new Map<string, number[]>();
  let held = 0;
  for (const { table, op, id, oldId, row, seq } of log) {
    const rows = tables.get(table) ?? new Map<number, unknown>();
    tables.set(table, rows);
    const waiting = blocked.get(table) ?? new Set<number>();
    blocked.set(table, waiting);
    const isBad = row !== null && (row.amount < 0 || row.amount > 1000);
    if (isBad) bad.set(table, [...(bad.get(table) ?? []), seq]);
    const waits = holds[table] === 'key' && (waiting.has(id) || (oldId !== null && waiting.has(oldId)));
    if (isBad || waits) {
      held++;
      waiting.add(id);
      if (oldId !== null) waiting.add(oldId);
      continue;
    }
    if (oldId !== null) rows.delete(oldId);
    if (op === 'DELETE') rows.delete(id);
    else rows.set(id, row);
  }
  return {
    rows: (table) => [...(tables.get(table) ?? [])].sort(([a], [b]) => a - b).map(([, row]) => row),
    bad: (table) => bad.get(table) ?? [],
    held,
  };
}
