/**
 * A change stream over several partitions by a seed, and what its windows must come to, worked out by counting. A window gets one late change at most: of several, it is
 * a matter of time how many revisions they make.
 */
import type { Message } from 'kafkajs';
import { Random } from '../support/random.ts';

export const PARTITIONS = 4;
export const COLUMNS = { id: 'bigint', shop: 'text', total: 'bigint', at: 'timestamptz' };
const END_MS = 1_200_000;
const [OUT_OF_ORDER_MS, LATENESS_MS] = [10_000, 600_000];
/** Those whose names begin with x are not worked out: they are to be the same whoever reads the stream. They share windows with the others, and are judged with them. */
export const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
source: { event_time: after.at }
defaults: { window: { every: 1m, out_of_order: 10s, lateness: 10m, idle: 1h } }
columns:
  total:
    - { id: mean, mean: { between: [40, 60] }, group_by: shop }
    - { id: sum, sum: { min: 300 }, window: { every: 30s, size: 2m } }
    - { id: x-distinct, distinct_count: { max: 20 } }
    - { id: x-median, median: { between: [30, 60] } }
    - { id: x-most, max: { max: 250 } }
    - { id: x-drift, drift: { metric: ks, reference: { rolling: { windows: 3, min_windows: 2 } }, max: 0.4 } }
    - { id: x-mean, metric_anomaly: { metric: mean, baseline: 30m, min_windows: 3 } }
    - { id: x-share, between: { max: 100 }, mostly: 0.9, on_fail: tag }
  shop:
    - { id: x-shops, distinct_equal: [a, b, c] }
    - { id: x-each, dimension_anomaly: { baseline: 30m, min_windows: 3 } }
checks:
  - { id: volume, row_count: { min: 12 } }
  - { id: x-groups, volume_anomaly: { baseline: 30m, min_windows: 3 }, group_by: shop }
`;

interface Order {
  readonly id: number;
  readonly shop: string;
  readonly total: number;
  readonly atMs: number;
}

interface Change {
  readonly before: Order | null;
  readonly after: Order | null;
}

interface Tally {
  rows: number;
  sum: number;
}

interface Window {
  readonly inTime: Tally;
  readonly all: Tally;
  isLate: boolean;
  hasInTime: boolean;
}

interface Rule {
  readonly name: string;
  readonly everyMs: number;
  readonly sizeMs: number;
  readonly groupOf: (order: Order) => string;
  /** null: nothing is said of such a window. */
  readonly say: (tally: Tally) => { readonly verdict: string; readonly observed: number } | null;
  /** Whether windows that never had a row are judged. */
  readonly ofEmpty: boolean;
}

const verdict = (isRight: boolean, observed: number) => ({ verdict: isRight ? 'pass' : 'fail', observed });
const RULES_COUNTED: readonly Rule[] = [
  {
    name: 'mean',
    everyMs: 60_000,
    sizeMs: 60_000,
    groupOf: ({ shop }) => JSON.stringify([shop]),
    say: ({ rows, sum }) => (rows === 0 ? null : verdict(sum / rows >= 40 && sum / rows <= 60, sum / rows)),
    ofEmpty: false,
  },
  {
    name: 'sum',
    everyMs: 30_000,
    sizeMs: 120_000,
    groupOf: () => '',
    say: ({ rows, sum }) => (rows === 0 ? null : verdict(sum >= 300, sum)),
    ofEmpty: false,
  },
  {
    name: 'volume',
    everyMs: 60_000,
    sizeMs: 60_000,
    groupOf: () => '',
    say: ({ rows }) => verdict(rows >= 12, rows),
    ofEmpty: true,
  },
];

export interface Sent {
  readonly partition: number;
  readonly message: Message;
}

/** Of each rule's windows in one lane: how late a row of that time is. */
class Lateness {
  readonly #reachedMs = Array.from({ length: PARTITIONS }, () => -1);

  of(partition: number, startMs: number, sizeMs: number): 'in time' | 'late' | 'over' {
    const beyondMs = (this.#reachedMs[partition] ?? -1) - OUT_OF_ORDER_MS - startMs - sizeMs;
    return beyondMs < 0 ? 'in time' : beyondMs < LATENESS_MS ? 'late' : 'over';
  }

  reach(partition: number, timeMs: number): void {
    this.#reachedMs[partition] = Math.max(this.#reachedMs[partition] ?? -1, timeMs);
  }
}

export class WindowStream {
  readonly sent: Sent[] = [];
  readonly #random: Random;
  readonly #lateness = new Lateness();
  readonly #windows = new Map<string, Window>();
  readonly #alive: Order[][] = Array.from({ length: PARTITIONS }, () => []);
  /** Windows, by rule and beginning, that had a late change. */
  readonly #wereLate = new Set<string>();
  #nowMs = Date.UTC(2026, 4, 1, 10);
  #ids = 0;
  late = 0;

  constructor(seed: number, changes: number) {
    this.#random = new Random(seed);
    while (this.sent.length < changes) this.#next();
    // Of each lane one that comes after all windows.
    for (let partition = 0; partition < PARTITIONS; partition++)
      this.#send(partition, { before: null, after: { ...this.#order(partition), atMs: this.#nowMs + END_MS } });
  }

  /** In order within each partition; of the last one, nothing comes until half of the others is there. */
  pieces(count: number): Sent[][] {
    const size = Math.ceil(this.sent.length / count);
    const cut = Array.from({ length: count }, (_, i) => this.sent.slice(i * size, (i + 1) * size));
    const isHeldUp = ({ partition }: Sent): boolean => partition === PARTITIONS - 1;
    const half = Math.floor(count / 2);
    const heldUp = cut.slice(0, half).flatMap((piece) => piece.filter(isHeldUp));
    return cut.map((piece, i) => (i < half ? piece.filter((one) => !isHeldUp(one)) : i === half ? [...heldUp, ...piece] : piece));
  }

  /** As texts: rule, minute, group, revision, verdict, observed value and rows, in that order. */
  get said(): string[] {
    const said: string[] = [];
    const lastMs = this.#nowMs + END_MS;
    for (const rule of RULES_COUNTED) {
      const windows = new Map([...this.#windows].filter(([key]) => key.startsWith(`${rule.name} `)));
      const firstMs = Math.min(...[...windows].filter(([, { hasInTime }]) => hasInTime).map(([key]) => Number(key.split(' ')[1])));
      const closed = (startMs: number) => startMs + rule.sizeMs <= lastMs - OUT_OF_ORDER_MS;
      if (rule.ofEmpty)
        for (let startMs = firstMs; closed(startMs); startMs += rule.everyMs)
          if (!windows.has(`${rule.name} ${startMs} `)) windows.set(`${rule.name} ${startMs} `, emptyWindow());
      for (const [key, { inTime, all, isLate }] of windows) {
        const [, start = '', group = ''] = key.split(' ');
        if (!closed(Number(start))) continue;
        // Nobody waits for windows before the first: what comes of them is late.
        const tallies = [...(Number(start) < firstMs ? [] : [inTime]), ...(isLate ? [all] : [])];
        const texts = tallies.flatMap((tally) => textOf(rule, tally) ?? []);
        const revisions = texts.filter((text, i) => text !== texts[i - 1]);
        said.push(
          ...revisions.map((text, i) => `${rule.name} ${new Date(Number(start)).toISOString().slice(11, 19)} ${group} #${i + 1} ${text}`),
        );
      }
    }
    return said.sort();
  }

  #next(): void {
    const random = this.#random;
    this.#nowMs += random.below(4000);
    const partition = random.below(PARTITIONS);
    const alive = this.#alive[partition] ?? [];
    const [kind, before] = [random.next(), alive[random.below(alive.length)] ?? null];
    const fresh = this.#order(partition);
    const atMs = this.#nowMs - (random.chance(0.15) ? random.below(800_000) : random.below(OUT_OF_ORDER_MS));
    if (kind < 0.6 || before === null) this.#try(partition, { before: null, after: { ...fresh, atMs } });
    else if (kind < 0.85)
      this.#try(partition, { before, after: { ...fresh, id: before.id, atMs: random.chance(0.3) ? atMs : before.atMs } });
    else this.#try(partition, { before, after: null });
  }

  #order(partition: number): Order {
    const random = this.#random;
    return {
      id: ++this.#ids * PARTITIONS + partition,
      shop: 'abc'.charAt(random.below(3)),
      total: random.below(random.chance(0.3) ? 300 : 80),
      atMs: 0,
    };
  }

  /** Where none of the windows that it is late for had a late change before. */
  #try(partition: number, change: Change): void {
    const late = this.#cells(partition, change).filter(({ lateness }) => lateness === 'late');
    if (late.some(({ rule, startMs }) => this.#wereLate.has(`${rule.name} ${startMs}`))) return;
    for (const { rule, startMs } of late) this.#wereLate.add(`${rule.name} ${startMs}`);
    if (late.length > 0) this.late++;
    this.#send(partition, change);
  }

  #send(partition: number, change: Change): void {
    const { before, after } = change;
    for (const { rule, startMs, order, by, lateness } of this.#cells(partition, change)) {
      if (lateness === 'over') continue;
      const key = `${rule.name} ${startMs} ${rule.groupOf(order)}`;
      const window = this.#windows.get(key) ?? emptyWindow();
      this.#windows.set(key, window);
      if (lateness === 'late') window.isLate = true;
      else window.hasInTime = true;
      for (const tally of lateness === 'late' ? [window.all] : [window.all, window.inTime]) {
        tally.rows += by;
        tally.sum += by * order.total;
      }
    }
    if (after !== null) this.#lateness.reach(partition, after.atMs);
    const alive = this.#alive[partition] ?? [];
    this.#alive[partition] = [...alive.filter(({ id }) => id !== before?.id), ...(after === null ? [] : [after])];
    this.sent.push({ partition, message: messageOf(change, this.sent.length) });
  }

  #cells(partition: number, { before, after }: Change) {
    return RULES_COUNTED.flatMap((rule) =>
      [
        { order: before, by: -1 },
        { order: after, by: 1 },
      ].flatMap(({ order, by }) => {
        if (order === null) return [];
        const { everyMs, sizeMs } = rule;
        const first = Math.floor(order.atMs / everyMs) * everyMs;
        return Array.from({ length: sizeMs / everyMs }, (_, i) => first - i * everyMs).map((startMs) => ({
          rule,
          startMs,
          order,
          by,
          lateness: this.#lateness.of(partition, startMs, sizeMs),
        }));
      }),
    );
  }
}

const emptyWindow = (): Window => ({ inTime: { rows: 0, sum: 0 }, all: { rows: 0, sum: 0 }, isLate: false, hasInTime: false });

function textOf({ say }: Rule, tally: Tally): string | null {
  const said = say(tally);
  return said === null ? null : `${said.verdict} ${rounded(said.observed)} of ${tally.rows}`;
}

/** Means are put together in another order by each process. */
export const rounded = (observed: number): string => observed.toFixed(6);

/** As Debezium writes it without schemas. */
function messageOf({ before, after }: Change, place: number): Message {
  const row = (order: Order | null) =>
    order === null ? null : { id: order.id, shop: order.shop, total: order.total, at: new Date(order.atMs).toISOString() };
  const op = after === null ? 'd' : before === null ? 'c' : 'u';
  const source = { connector: 'postgresql', ts_ms: Date.UTC(2026, 5, 1) + place, lsn: 1000 + 8 * place, schema: 'public', table: 'orders' };
  return {
    key: JSON.stringify({ id: (after ?? before)?.id }),
    value: JSON.stringify({ before: row(before), after: row(after), source, op }),
  };
}
