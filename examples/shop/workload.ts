/** What happens in the shop, made up from a seed: the same changes every time, so that a run can be checked against them afterwards. */
import { quoteLiteral } from '../../wire/postgres/ident.ts';
import { makeOrder, seeded } from '../models/order-risk/orders.ts';

export const TABLES = ['customers', 'orders', 'payments'] as const;
export type Table = (typeof TABLES)[number];
/** Cells as text by column; null is null. */
export type Cells = Readonly<Record<string, string | null>>;

export interface Change {
  readonly table: Table;
  /** A `move` changes the primary key from `key` to `newKey`. */
  readonly op: 'insert' | 'update' | 'delete' | 'move';
  readonly key: string;
  readonly newKey: string | null;
  /** The whole row after the change; null after a delete. `updated_at` is different in every change, so it names the change. */
  readonly cells: Cells | null;
  /** The columns that an update or a move sets. */
  readonly set: readonly string[];
  /** What is wrong with the row, or null: what the rules have to find. */
  readonly bad: string | null;
}

export interface Transaction {
  /** Statements that change the schema, before the changes. */
  readonly ddl: string | null;
  readonly changes: readonly Change[];
}

export interface WorkloadOptions {
  readonly seed: number;
  /** Changes in all, the initial rows among them. */
  readonly rows: number;
  /** Rows that are there before anything is followed. */
  readonly initial: number;
  /** Changes a transaction, on average. */
  readonly perTransaction: number;
}

/** Share of changes that break a rule, and of orders made to look risky. */
const BAD = 0.01;
const RISKY = 0.012;
/** Rows of a table that later changes pick from: the latest ones, as in a real shop. */
const POOL = 2_000;
const COUNTRIES = ['DE', 'FR', 'NL', 'GB', 'US', 'SE', 'PL'];
const METHODS = ['card', 'card', 'card', 'paypal', 'invoice', 'voucher'];
const NAMES = ['Ada', 'Ben', 'Chiara', 'Dana', 'Emil', 'Fatou', 'Grete', 'Hiro', 'Ines', 'Jan', 'Kemal', 'Lena', 'Mia', 'Noor'];
/** Key moves go there, far from where new keys are made. */
const MOVED = 1_000_000_000;
const STAMP_BASE_MS = Date.parse('2026-12-01T00:00:00Z');

/** First the initial rows, in one transaction a table; then the traffic. The last change inserts the customer `sentinel`. */
export function* workload(options: WorkloadOptions): Generator<Transaction> {
  const shop = new Shop(options.seed);
  let made = 0;
  const share = { customers: 0.2, orders: 0.5, payments: 0.3 };
  for (const table of TABLES) {
    const changes: Change[] = [];
    while (changes.length < Math.floor(options.initial * share[table])) changes.push(shop.insert(table));
    made += changes.length;
    yield { ddl: null, changes };
  }
  const first = made;
  let widened = false;
  while (made < options.rows - 1) {
    // Half way through, the shop starts to give coupons.
    const ddl: string | null = !widened && made >= Math.min(first + 6_000, (first + options.rows) / 2) ? shop.widen() : null;
    widened ||= ddl !== null;
    const size = Math.min(options.rows - 1 - made, 1 + Math.floor(shop.random() * 2 * options.perTransaction));
    const changes: Change[] = [];
    while (changes.length < size) changes.push(shop.change());
    made += changes.length;
    yield { ddl, changes };
  }
  yield { ddl: null, changes: [shop.sentinel()] };
}

/** The key of the customer that the last change inserts: when it has arrived, everything has. */
export const SENTINEL_KEY = '999999999999';

class Shop {
  readonly random: () => number;
  #stamps = 0;
  #coupons = false;
  readonly #nextKey: Record<Table, number> = { customers: 1, orders: 1, payments: 1 };
  readonly #pool: Record<Table, { key: string; cells: Record<string, string | null> }[]> = { customers: [], orders: [], payments: [] };

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  widen(): string {
    this.#coupons = true;
    return 'alter table public.orders add column coupon text';
  }

  sentinel(): Change {
    const cells = this.#customer(SENTINEL_KEY);
    return { table: 'customers', op: 'insert', key: SENTINEL_KEY, newKey: null, cells, set: [], bad: null };
  }

  /** New orders with their payments, and what becomes of them. */
  change(): Change {
    const dice = this.random();
    if (dice < 0.05) return this.insert('customers');
    if (dice < 0.33) return this.insert('orders');
    if (dice < 0.5) return this.insert('payments');
    if (dice < 0.92) return this.#update(dice < 0.55 ? 'customers' : dice < 0.8 ? 'orders' : 'payments');
    if (dice < 0.98) return this.#delete(dice < 0.93 ? 'customers' : dice < 0.96 ? 'orders' : 'payments');
    return this.#move(dice < 0.99 ? 'customers' : 'payments');
  }

  insert(table: Table): Change {
    const key = String(this.#nextKey[table]++);
    const good = table === 'customers' ? this.#customer(key) : table === 'orders' ? this.#order(key) : this.#payment(key);
    this.#keep(table, key, good);
    const { cells, bad } = this.#maybeSpoil(table, good);
    return { table, op: 'insert', key, newKey: null, cells, set: [], bad };
  }

  #update(table: Table): Change {
    const row = this.#pick(table);
    if (row === null) return this.insert(table);
    const set = ['updated_at'];
    const put = (column: string, value: string): void => {
      row.cells[column] = value;
      set.push(column);
    };
    put('updated_at', this.#stamp());
    if (table === 'customers') put('email', `customer${row.key}@${this.#of(['example.org', 'web.de', 'proton.me'])}`);
    if (table === 'payments') put('status', row.cells['status'] === 'authorized' ? 'captured' : 'refunded');
    if (table === 'orders') {
      put('status', this.#of(['paid', 'shipped', 'cancelled']));
      if (this.#coupons && this.random() < 0.2) put('coupon', `THANKS${Math.floor(this.random() * 100)}`);
    }
    const { cells, bad, spoiled } = this.#maybeSpoil(table, row.cells);
    return { table, op: 'update', key: row.key, newKey: null, cells, set: [...new Set([...set, ...spoiled, ...this.#healed(row)])], bad };
  }

  #delete(table: Table): Change {
    const row = this.#pick(table, true);
    if (row === null) return this.insert(table);
    return { table, op: 'delete', key: row.key, newKey: null, cells: null, set: [], bad: null };
  }

  #move(table: Table): Change {
    const row = this.#pick(table, true);
    if (row === null || Number(row.key) >= MOVED) return this.insert(table);
    const newKey = String(Number(row.key) + MOVED);
    const healed = this.#healed(row);
    const cells = { ...row.cells, id: newKey, updated_at: this.#stamp() };
    this.#keep(table, newKey, { ...cells });
    return { table, op: 'move', key: row.key, newKey, cells, set: [...new Set(['id', 'updated_at', ...healed])], bad: null };
  }

  #customer(id: string): Record<string, string | null> {
    const at = this.#stamp();
    const name = `${this.#of(NAMES)} ${this.#of(['Berg', 'Costa', "D'Arcy", 'Öztürk', 'Nowak', 'Smith'])}`;
    return { id, name, email: `customer${id}@example.org`, country: this.#of(COUNTRIES), created_at: at, updated_at: at };
  }

  #order(id: string): Record<string, string | null> {
    const order = makeOrder(Number(id), this.random() < RISKY, this.random);
    const noted = this.random();
    // Long notes are stored apart (TOAST), and an update that leaves them alone does not send them.
    const note = noted < 0.01 ? this.#prose(6_000) : noted < 0.1 ? "please leave it at the door; don't ring\\knock" : null;
    const cells: Record<string, string | null> = {};
    for (const [column, value] of Object.entries(order)) cells[column] = value === null ? null : String(value);
    return { ...cells, note, ...(this.#coupons ? { coupon: null } : {}), updated_at: this.#stamp() };
  }

  #payment(id: string): Record<string, string | null> {
    const at = this.#stamp();
    const order = Math.max(1, Math.floor(this.random() * this.#nextKey.orders));
    const amount = `${1 + Math.floor(this.random() * 400)}.${Math.floor(10 + this.random() * 90)}`;
    return {
      id,
      order_id: String(order),
      method: this.#of(METHODS),
      status: 'authorized',
      amount,
      currency: 'EUR',
      paid_at: at,
      updated_at: at,
    };
  }

  /** One time in a hundred something goes wrong at the shop: the row it writes breaks a rule, until the next change of it mends that. */
  #maybeSpoil(table: Table, good: Record<string, string | null>): { cells: Cells; bad: string | null; spoiled: readonly string[] } {
    if (this.random() >= BAD) return { cells: { ...good }, bad: null, spoiled: [] };
    const [bad, change] = this.#of(SPOILS[table]);
    const wrong = change(good);
    return { cells: { ...good, ...wrong }, bad, spoiled: Object.keys(wrong) };
  }

  /** The pool keeps rows as they ought to be: an update writes every column that an earlier, spoiled one may have left wrong. */
  #healed(row: { readonly cells: Readonly<Record<string, string | null>> }): string[] {
    const wrong = ['email', 'country', 'currency', 'net', 'tax', 'total', 'items', 'method', 'amount', 'status'];
    return wrong.filter((column) => column in row.cells);
  }

  #keep(table: Table, key: string, cells: Record<string, string | null>): void {
    const pool = this.#pool[table];
    if (pool.length < POOL) pool.push({ key, cells });
    else pool[Math.floor(this.random() * POOL)] = { key, cells };
  }

  #pick(table: Table, remove = false): { key: string; cells: Record<string, string | null> } | null {
    const pool = this.#pool[table];
    const at = Math.floor(this.random() * pool.length);
    const row = pool[at];
    const last = remove ? pool.pop() : undefined;
    if (last !== undefined && last !== row) pool[at] = last;
    return row ?? null;
  }

  #stamp(): string {
    const micros = ++this.#stamps;
    const at = new Date(STAMP_BASE_MS + Math.floor(micros / 1000)).toISOString().replace('T', ' ').replace('Z', '');
    return `${at}${String(micros % 1000).padStart(3, '0')}+00`;
  }

  /** Text that does not compress well. */
  #prose(length: number): string {
    let text = '';
    while (text.length < length) text += `${Math.floor(this.random() * 2 ** 31).toString(36)} `;
    return text;
  }

  #of<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)] as T; // Never empty here.
  }
}

type Spoil = readonly [name: string, change: (row: Readonly<Record<string, string | null>>) => Record<string, string | null>];
const SPOILS: Readonly<Record<Table, readonly Spoil[]>> = {
  customers: [
    ['no email', () => ({ email: null })],
    ['email without @', () => ({ email: 'see phone' })],
    ['no such country', () => ({ country: 'Atlantis' })],
  ],
  orders: [
    ['total is not net + tax', (row) => ({ total: `${Number.parseInt(row['total'] ?? '0', 10) + 1000}.55` })],
    ['negative total', () => ({ net: '-20.00', tax: '0.00', total: '-20.00' })],
    ['unknown currency', () => ({ currency: 'EURO' })],
    ['unknown status', () => ({ status: 'lost' })],
    ['no items', () => ({ items: '0' })],
  ],
  payments: [
    ['negative amount', () => ({ amount: '-5.00' })],
    ['unknown method', () => ({ method: 'seashells' })],
  ],
};

/** The transaction as one script. Inserts of one table in a row become one statement. */
export function toSql({ ddl, changes }: Transaction): string {
  const statements = ['begin'];
  if (ddl !== null) statements.push(ddl);
  for (let i = 0; i < changes.length;) {
    const first = changes[i];
    if (first === undefined) break;
    if (first.op !== 'insert' || first.cells === null) {
      statements.push(changeSql(first));
      i++;
      continue;
    }
    const columns = Object.keys(first.cells);
    const rows: string[] = [];
    for (; i < changes.length && rows.length < 500; i++) {
      const { op, table, cells } = changes[i] ?? first;
      if (op !== 'insert' || table !== first.table || cells === null) break;
      rows.push(`(${columns.map((column) => literal(cells[column])).join(', ')})`);
    }
    statements.push(`insert into public.${first.table} (${columns.join(', ')}) values ${rows.join(', ')}`);
  }
  return `${statements.join(';\n')};\ncommit`;
}

function changeSql({ table, op, key, cells, set }: Change): string {
  if (op === 'delete' || cells === null) return `delete from public.${table} where id = ${key}`;
  return `update public.${table} set ${set.map((column) => `${column} = ${literal(cells[column])}`).join(', ')} where id = ${key}`;
}

const literal = (value: string | null | undefined) => (value === null || value === undefined ? 'null' : quoteLiteral(value));
