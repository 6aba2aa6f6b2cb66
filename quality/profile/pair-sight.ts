/** What is seen of columns beside each other: which time never lies before which, which numbers add up. A pair is given up at the first row that breaks it. */
import { addDecimals, compareDecimals, decimalOf } from '../../core/expression/decimal.ts';
import { FOREVER, microsOf } from '../../core/expression/timestamp.ts';
import type { Decimal } from '../../core/expression/values.ts';
import { type Column, type Row, UNCHANGED, type Value } from '../../core/event.ts';

export interface Order {
  readonly later: string;
  readonly earlier: string;
  /** Rows with both, and those of them where they differ. */
  readonly rows: number;
  readonly strictly: number;
}

export interface Sum {
  readonly parts: readonly [string, string];
  readonly sum: string;
  /** Rows with all three, and those of them where no part is zero. */
  readonly rows: number;
  readonly telling: number;
}

/** Every column with every other is a lot of pairs: of wide tables, only those of the first columns are looked at. */
const TIMES_MAX = 12;
const NUMBERS_MAX = 12;

interface Counted {
  rows: number;
  telling: number;
  broken: boolean;
}

export class PairSight {
  readonly #times: readonly number[];
  readonly #numbers: readonly number[];
  readonly #columns: readonly Column[];
  #orders: (Counted & { readonly later: number; readonly earlier: number })[];
  #sums: (Counted & { readonly a: number; readonly b: number; readonly sum: number })[];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    const places = (wanted: (column: Column) => boolean, max: number) =>
      columns.flatMap((column, at) => (wanted(column) ? [at] : [])).slice(0, max);
    this.#times = places(({ type }) => type === 'timestamp' || type === 'date', TIMES_MAX);
    this.#numbers = places(({ type }) => type === 'integer' || type === 'decimal', NUMBERS_MAX);
    const count = () => ({ rows: 0, telling: 0, broken: false });
    this.#orders = this.#times.flatMap((later) =>
      this.#times
        .filter((earlier) => earlier !== later && columns[earlier]?.native === columns[later]?.native)
        .map((earlier) => ({ later, earlier, ...count() })),
    );
    this.#sums = this.#numbers.flatMap((sum) =>
      this.#numbers.flatMap((a, first) =>
        this.#numbers
          .slice(first + 1)
          .filter((b) => a !== sum && b !== sum)
          .map((b) => ({ a, b, sum, ...count() })),
      ),
    );
  }

  see(row: Row): void {
    if (this.#orders.length > 0) this.#seeTimes(new Map(this.#times.map((at) => [at, momentOf(row, at)])));
    if (this.#sums.length > 0) this.#seeNumbers(new Map(this.#numbers.map((at) => [at, numberOf(row, at)])));
  }

  #seeTimes(moments: ReadonlyMap<number, bigint | null | 'unreadable'>): void {
    for (const order of this.#orders) {
      const [later, earlier] = [moments.get(order.later) ?? null, moments.get(order.earlier) ?? null];
      if (later === 'unreadable' || earlier === 'unreadable') order.broken = true;
      else if (later !== null && earlier !== null) {
        order.rows++;
        if (later > earlier) order.telling++;
        else if (later < earlier) order.broken = true;
      }
    }
    this.#orders = this.#orders.filter(({ broken }) => !broken);
  }

  #seeNumbers(numbers: ReadonlyMap<number, Decimal | null | 'unreadable'>): void {
    for (const one of this.#sums) {
      const [a, b, sum] = [numbers.get(one.a) ?? null, numbers.get(one.b) ?? null, numbers.get(one.sum) ?? null];
      if (a === 'unreadable' || b === 'unreadable' || sum === 'unreadable') one.broken = true;
      else if (a !== null && b !== null && sum !== null) {
        one.rows++;
        if (a.unscaled !== 0n && b.unscaled !== 0n) one.telling++;
        if (compareDecimals(addDecimals(a, b), sum) !== 0) one.broken = true;
      }
    }
    this.#sums = this.#sums.filter(({ broken }) => !broken);
  }

  orders(least: number): readonly Order[] {
    return this.#orders
      .filter(({ rows, telling }) => rows >= least && telling * 2 >= rows)
      .map(({ later, earlier, rows, telling }) => ({ later: this.#name(later), earlier: this.#name(earlier), rows, strictly: telling }));
  }

  sums(least: number): readonly Sum[] {
    return this.#sums
      .filter(({ telling }) => telling >= least)
      .map(({ a, b, sum, rows, telling }) => ({ parts: [this.#name(a), this.#name(b)] as const, sum: this.#name(sum), rows, telling }));
  }

  #name(at: number): string {
    return this.#columns[at]?.name ?? '';
  }
}

function momentOf(row: Row, at: number): bigint | null | 'unreadable' {
  const value = valueOf(row, at);
  if (value === null) return null;
  const micros = typeof value === 'string' ? microsOf(value) : null;
  return micros === null || micros === FOREVER || micros === -FOREVER ? 'unreadable' : micros;
}

function numberOf(row: Row, at: number): Decimal | null | 'unreadable' {
  const value = valueOf(row, at);
  if (value === null) return null;
  if (typeof value !== 'number' && typeof value !== 'bigint' && typeof value !== 'string') return 'unreadable';
  return decimalOf(value) ?? 'unreadable';
}

/** UNCHANGED is a cell that cannot be read here: a table's rows are whole. */
function valueOf(row: Row, at: number): Exclude<Value, typeof UNCHANGED> | true {
  try {
    const value = row.value(at);
    return value === UNCHANGED ? true : value;
  } catch {
    return true;
  }
}
