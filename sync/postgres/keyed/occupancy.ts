/**
 * Which rows have which of the values that a batch is about: first as the target has them, then event by event. What is one value is for the
 * target to say (1.0 and 1.00, texts in any case), so it numbers them; the rows of the batch are told from all others by where they lie.
 */
import type { ChangeEvent } from '../../../core/event.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { textArrayParameter } from '../arrays.ts';
import type { AskedTable } from './asked-table.ts';

/** The texts of a row's columns. */
export type Tuple = readonly (string | null)[];

/** A value's number; equal values have one. */
export type Value = string;

/** A row of the batch as an event left it. */
export interface Held {
  /** Null: it is gone, or has no value. */
  readonly value: Value | null;
  /** What the row had before the transaction; undefined of one that was not there. */
  readonly before: Value | null | undefined;
  /** The event that gave it its value; -1: it had that before. */
  readonly by: number;
}

export interface Change {
  readonly index: number;
  readonly event: ChangeEvent;
}

/** What the rows of one transaction have once it is done. */
export interface Outcome {
  readonly rows: ReadonlyMap<string, Held>;
  /** Nothing of what was there before is left. */
  readonly isEmptied: boolean;
}

/** More rows that have one value are not told apart: it is taken, whichever of them the batch changes. */
export const HOLDERS_MAX = 1000;

export class Occupancy {
  readonly #numbers: ReadonlyMap<string, Value>;
  readonly #tupleOf: (event: ChangeEvent) => Tuple | undefined;
  /** Values that some row has which the batch is not about. */
  readonly #taken: Set<Value>;
  readonly #rows: Map<string, Value | null>;
  readonly #holders = new Map<Value, Set<string>>();

  private constructor(
    numbers: ReadonlyMap<string, Value>,
    taken: Set<Value>,
    rows: Map<string, Value | null>,
    tupleOf: (event: ChangeEvent) => Tuple | undefined,
  ) {
    this.#numbers = numbers;
    this.#taken = taken;
    this.#rows = rows;
    this.#tupleOf = tupleOf;
    for (const [key, value] of rows) if (value !== null) this.#add(value, key);
  }

  /**
   * Asks once for all of `tuples`. `keys`: the rows that the batch changes, by their key; each comes with the parts of it. Where there are none, nobody asks
   * for `key`. `tupleOf` says what an
   * event's row has; undefined where that was not sent, and so is what it was.
   */
  static async ask(
    sql: PgConnection,
    table: AskedTable,
    tuples: Iterable<Tuple>,
    key: AskedTable | null,
    keys: ReadonlyMap<string, readonly string[]>,
    tupleOf: (event: ChangeEvent) => Tuple | undefined,
  ): Promise<Occupancy> {
    const places = key === null ? new Map<string, string>() : await placesOf(sql, key, keys);
    const numbers = new Map<string, Value>();
    const taken = new Set<Value>();
    const rows = new Map<string, Value | null>([...keys.keys()].map((one) => [one, null]));
    for (const [nulls, some] of byNulls(tuples)) {
      const { rows: found } = await sql.query(askSql(table, nulls, Math.min(keys.size + 1, HOLDERS_MAX)), columnsOf(some));
      for (const [at, number, holders] of found) {
        const tuple = some[Number(at) - 1];
        if (tuple === undefined) continue;
        const value = `${nulls}${number}`;
        numbers.set(JSON.stringify(tuple), value);
        const holding = holders === null || holders === undefined ? [] : holders.split(' ');
        if (holding.length >= HOLDERS_MAX) taken.add(value);
        for (const place of holding) {
          const own = places.get(place);
          if (own === undefined) taken.add(value);
          else rows.set(own, value);
        }
      }
    }
    return new Occupancy(numbers, taken, rows, tupleOf);
  }

  /** What the rows have after these events, of one transaction: nothing is changed yet. */
  after(changes: readonly Change[]): Outcome {
    const rows = new Map<string, Held>();
    let isEmptied = false;
    const now = (key: string): Held => {
      const known = rows.get(key);
      if (known !== undefined) return known;
      const value = isEmptied ? undefined : this.#rows.get(key);
      return { value: value ?? null, before: value ?? undefined, by: -1 };
    };
    for (const { index, event } of changes) {
      if (event.op === 'truncate') {
        isEmptied = true;
        for (const key of rows.keys()) rows.set(key, GONE);
        continue;
      }
      const was = now(event.movedFrom ?? event.key);
      if (event.movedFrom !== null) rows.set(event.movedFrom, GONE);
      const tuple = event.op === 'delete' ? null : this.#tupleOf(event);
      if (tuple === null) rows.set(event.key, GONE);
      else if (tuple === undefined) rows.set(event.key, was);
      else {
        const value = this.#numbers.get(JSON.stringify(tuple)) ?? null;
        rows.set(event.key, value === was.value ? was : { value, before: was.before, by: index });
      }
    }
    return { rows, isEmptied };
  }

  commit({ rows, isEmptied }: Outcome): void {
    if (isEmptied) {
      this.#taken.clear();
      this.#holders.clear();
      this.#rows.clear();
    }
    for (const [key, { value }] of rows) {
      const was = this.#rows.get(key) ?? null;
      if (was === value) continue;
      if (was !== null) this.#holders.get(was)?.delete(key);
      this.#rows.set(key, value);
      if (value !== null) this.#add(value, key);
    }
  }

  /** Whether a row that the transaction leaves alone has it. */
  isTaken(value: Value, { rows, isEmptied }: Outcome): boolean {
    if (isEmptied) return false;
    if (this.#taken.has(value)) return true;
    for (const key of this.#holders.get(value) ?? []) if (!rows.has(key)) return true;
    return false;
  }

  /** Null of what was not asked for. */
  numberOf(tuple: Tuple): Value | null {
    return this.#numbers.get(JSON.stringify(tuple)) ?? null;
  }

  #add(value: Value, key: string): void {
    const holders = this.#holders.get(value);
    if (holders === undefined) this.#holders.set(value, new Set([key]));
    else holders.add(key);
  }
}

const GONE: Held = { value: null, before: undefined, by: -1 };

/** Tuples that have nulls in the same places, each once: `is null` is found by an index, `is not distinct from` is not. Without any value: left out. */
function byNulls(tuples: Iterable<Tuple>): ReadonlyMap<string, Tuple[]> {
  const found = new Map<string, Map<string, Tuple>>();
  for (const tuple of tuples) {
    const nulls = tuple.map((text) => (text === null ? 'n' : 'v')).join('');
    if (!nulls.includes('v')) continue;
    const known = found.get(nulls) ?? new Map<string, Tuple>();
    found.set(nulls, known.set(JSON.stringify(tuple), tuple));
  }
  return new Map([...found].map(([nulls, some]) => [nulls, [...some.values()]]));
}

const columnsOf = (tuples: readonly Tuple[]): Buffer[] =>
  (tuples[0] ?? []).map((_, column) => textArrayParameter(tuples.map((tuple) => tuple[column] ?? null)));

function askSql({ qualified, columns, andAlive }: AskedTable, nulls: string, limit: number): string {
  const given = columns.map((_, i) => `$${i + 1}::text[]`).join(', ');
  const names = columns.map((_, i) => `c${i}`);
  const cast = columns.map(({ cast: type }, i) => `c${i}::${type} as c${i}`).join(', ');
  const order = names.filter((_, i) => nulls[i] === 'v').map((name) => `v.${name}`);
  const same = columns.map(({ name }, i) => (nulls[i] === 'v' ? `t.${name} = v.c${i}` : `t.${name} is null`)).join(' and ');
  return `with v as materialized (select at, ${cast} from unnest(${given}) with ordinality u(${names.join(', ')}, at))
    select v.at, dense_rank() over (order by ${order.join(', ')}),
      (select string_agg(h.place, ' ') from (select t.tableoid::text || ':' || t.ctid::text as place from ${qualified} t where ${same}${andAlive} limit ${limit}) h)
    from v`;
}

/** Where the rows of these keys lie: nobody else moves them until the transaction ends. */
export async function placesOf(
  sql: PgConnection,
  key: AskedTable,
  keys: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, string>> {
  const wanted = [...keys];
  if (wanted.length === 0) return new Map();
  const { qualified, columns, andAlive } = key;
  const same = columns.map(({ name, cast }, i) => `t.${name} = k.c${i}::${cast}`).join(' and ');
  const given = columns.map((_, i) => `$${i + 1}::text[]`).join(', ');
  const { rows } = await sql.query(
    `select k.at, t.tableoid::text || ':' || t.ctid::text
       from unnest(${given}) with ordinality k(${columns.map((_, i) => `c${i}`).join(', ')}, at) join ${qualified} t on ${same}${andAlive}`,
    columnsOf(wanted.map(([, parts]) => parts)),
  );
  return new Map(rows.map(([at, place]) => [place ?? '', wanted[Number(at) - 1]?.[0] ?? '']));
}
