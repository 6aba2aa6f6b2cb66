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

/** A change is bad when its amount is out of 0 to 1000. `key`: later changes of its keys wait for it; `event`: they don't. */
export class Oracle {
  readonly #holds: Readonly<Record<string, 'key' | 'event'>>;
  readonly #tables = new Map<string, Map<number, unknown>>();
  readonly #blocked = new Map<string, Set<number>>();
  readonly #bad = new Map<string, number[]>();
  #changes = 0;
  #held = 0;
  #lastSeq = 0;

  constructor(holds: Readonly<Record<string, 'key' | 'event'>>) {
    this.#holds = holds;
  }

  /** Goes on with the changes that came since. */
  take(log: readonly LoggedChange[]): void {
    for (const change of log) this.#change(change);
  }

  get changes(): number {
    return this.#changes;
  }

  /** Of the newest change; 0 before there is one. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Of a table, by id. */
  rows(table: string): readonly unknown[] {
    return [...(this.#tables.get(table) ?? [])].sort(([a], [b]) => a - b).map(([, row]) => row);
  }

  /** The numbers of the changes that break the rule, in order. */
  bad(table: string): readonly number[] {
    return this.#bad.get(table) ?? [];
  }

  /** How many are held in all: those, and those that wait for them. */
  get held(): number {
    return this.#held;
  }

  #change({ table, op, id, oldId, row, seq }: LoggedChange): void {
    this.#changes++;
    this.#lastSeq = seq;
    const rows = kept(this.#tables, table, () => new Map<number, unknown>());
    const waiting = kept(this.#blocked, table, () => new Set<number>());
    const isBad = row !== null && (row.amount < 0 || row.amount > 1000);
    if (isBad) kept(this.#bad, table, (): number[] => []).push(seq);
    const waits = this.#holds[table] === 'key' && (waiting.has(id) || (oldId !== null && waiting.has(oldId)));
    if (isBad || waits) {
      this.#held++;
      waiting.add(id);
      if (oldId !== null) waiting.add(oldId);
      return;
    }
    if (oldId !== null) rows.delete(oldId);
    if (op === 'DELETE') rows.delete(id);
    else rows.set(id, row);
  }
}

function kept<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key) ?? make();
  map.set(key, known);
  return known;
}
