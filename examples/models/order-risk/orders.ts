/** A shop's orders, made up from a seed: what the order-risk model is trained on, and what a demo can send. */
import { type Dataset, type DatasetName, type Row, ValueRow } from '../../../core/event.ts';

/** `public.orders` as the demo's shop has it. */
export const ordersDataset: Dataset = {
  name: 'shop.public.orders' as DatasetName,
  version: 1,
  key: [0],
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'customer_id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'status', type: 'text', native: 'text', nullable: false },
    { name: 'currency', type: 'text', native: 'text', nullable: false },
    { name: 'country', type: 'text', native: 'text', nullable: true },
    { name: 'net', type: 'decimal', native: 'numeric(12,2)', nullable: false },
    { name: 'tax', type: 'decimal', native: 'numeric(12,2)', nullable: false },
    { name: 'total', type: 'decimal', native: 'numeric(12,2)', nullable: false },
    { name: 'items', type: 'integer', native: 'integer', nullable: false },
    { name: 'channel', type: 'text', native: 'text', nullable: true },
    { name: 'email', type: 'text', native: 'text', nullable: true },
    { name: 'note', type: 'text', native: 'text', nullable: true },
    { name: 'created_at', type: 'timestamp', native: 'timestamp with time zone', nullable: false },
    { name: 'updated_at', type: 'timestamp', native: 'timestamp with time zone', nullable: false },
  ],
};

export interface Order {
  readonly id: number;
  readonly customer_id: number;
  readonly status: string;
  readonly currency: string;
  readonly country: string | null;
  readonly net: string;
  readonly tax: string;
  readonly total: string;
  readonly items: number;
  readonly channel: string | null;
  readonly email: string | null;
  readonly note: string | null;
  readonly created_at: string;
  readonly updated_at: string;
}

export const CURRENCY_OF: Readonly<Record<string, string>> = {
  DE: 'EUR',
  FR: 'EUR',
  NL: 'EUR',
  GB: 'GBP',
  US: 'USD',
  SE: 'SEK',
  PL: 'PLN',
};
const COUNTRIES = Object.keys(CURRENCY_OF);
const CHANNELS = ['web', 'web', 'app', 'app', 'store', 'phone'];
const MAIL = ['gmail.com', 'gmail.com', 'outlook.com', 'web.de', 'example.org', 'proton.me'];
/** Where addresses are thrown away after use: most risky orders come with one. */
export const THROW_AWAY_MAIL = ['mailinator.com', 'trashmail.com', 'tempmail.dev'];

/** Numbers in [0, 1) from a seed: mulberry32 by Tommy Ettinger (public domain). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * One order. A risky one is large and of few items, placed at night on the web, with a throw-away address, often in a currency that
 * is not its country's; each of these also happens, one at a time, to honest orders.
 */
export function makeOrder(id: number, risky: boolean, random: () => number): Order {
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T; // Never empty here.
  const likely = (probability: number) => random() < probability;
  const country = pick(COUNTRIES);
  const currency = likely(risky ? 0.6 : 0.03) ? pick(['USD', 'EUR', 'GBP']) : (CURRENCY_OF[country] ?? 'EUR');
  const items = 1 + Math.floor(random() * (risky ? 2 : 6));
  // Honest prices are log-normal around 25 an item; a few honest orders are large.
  const price = likely(risky ? 0.85 : 0.02) ? 400 + random() * 1600 : Math.exp(3.2 + 0.7 * (random() + random() + random() - 1.5) * 2);
  const netCents = Math.max(100, Math.round(price * items * 100));
  const taxCents = likely(risky ? 0.5 : 0.05) ? 0 : Math.round(netCents * 0.19);
  const hour = likely(risky ? 0.8 : 0.08) ? Math.floor(random() * 5) : 7 + Math.floor(random() * 16);
  const day = 1 + Math.floor(random() * 28);
  const at = `2026-11-${two(day)} ${two(hour)}:${two(Math.floor(random() * 60))}:${two(Math.floor(random() * 60))}+00`;
  const mail = likely(risky ? 0.8 : 0.02) ? pick(THROW_AWAY_MAIL) : pick(MAIL);
  const customer = 1 + Math.floor(random() * 5000);
  return {
    id,
    customer_id: customer,
    status: pick(['new', 'new', 'paid', 'shipped']),
    currency,
    country: likely(0.02) ? null : country,
    net: cents(netCents),
    tax: cents(taxCents),
    total: cents(netCents + taxCents),
    items,
    channel: likely(0.01) ? null : likely(risky ? 0.8 : 0.1) ? 'web' : pick(CHANNELS),
    email: likely(0.01) ? null : `customer${customer}@${mail}`,
    note: null,
    created_at: at,
    updated_at: at,
  };
}

/** Orders with their labels: 1 for one that was charged back. Labels err a little, as labels do. */
export function makeOrders(seed: number, count: number): { readonly orders: readonly Order[]; readonly labels: Uint8Array } {
  const random = seeded(seed);
  const labels = new Uint8Array(count);
  const orders = Array.from({ length: count }, (_, index) => {
    const risky = random() < 0.05;
    labels[index] = risky !== random() < 0.002 ? 1 : 0;
    return makeOrder(index + 1, risky, random);
  });
  return { orders, labels };
}

/** The order as a row of `ordersDataset`. */
export function orderRow(order: Order): Row {
  return new ValueRow(...ordersDataset.columns.map(({ name }) => order[name as keyof Order]));
}

function cents(value: number): string {
  return `${Math.floor(value / 100)}.${two(value % 100)}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
