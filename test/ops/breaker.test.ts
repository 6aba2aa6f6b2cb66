import { beforeEach, describe, expect, test } from 'vitest';
import { HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import type { PipelineError } from '../../core/errors.ts';
import { type BreakerOpened, type BreakerSettings, quarantineBreaker } from '../../ops/breaker.ts';
import { datasetOf, eventOf, findingOf, reportOf } from './reports.ts';

const orders = datasetOf('shop.public.orders');
const payments = datasetOf('shop.public.payments');
const settings: BreakerSettings = { quarantinedRatio: 0.2, overMs: 60_000, minRows: 100 };

let nowMs = 0;
/** What the wall clock was set to since. */
let setBackMs = 0;
let errors: PipelineError[] = [];
let opened: BreakerOpened[] = [];
let closed: BreakerOpened[] = [];
let warned: BreakerOpened[] = [];

beforeEach(() => {
  [nowMs, setBackMs] = [1_000_000, 0];
  [errors, opened, closed, warned] = [[], [], [], []];
});

const breaker = (of: (name: string) => BreakerSettings | null = () => settings) =>
  quarantineBreaker({
    pipeline: 'p',
    settings: of,
    clock: { now: () => nowMs + setBackMs, monotonic: () => nowMs },
    onOpen: (error, found) => {
      errors.push(error);
      opened.push(found);
    },
    onClose: (found) => closed.push(found),
    onRate: (found) => warned.push(found),
  });

/** `rows` events of the dataset, the first `bad` of them held by `rule`. */
function batch(dataset: typeof orders, rows: number, bad: number, rule = 'total', origin: 'stream' | 'replay' = 'stream') {
  const events = Array.from({ length: rows }, (_, i) => eventOf(dataset, i));
  return reportOf(
    events,
    Array.from({ length: bad }, (_, i) => findingOf(i, rule)),
    { origin },
  );
}

describe('the breaker', () => {
  test('forgets what is past also where the clock is set back, and opens at the time that it is now', () => {
    const { observe, open } = breaker();
    observe(batch(orders, 400, 70));
    setBackMs = -7_200_000;
    observe(batch(orders, 100, 0));
    nowMs += 61_000;
    observe(batch(orders, 200, 50));
    expect(open()).toMatchObject([{ rows: 200, quarantined: 50, openedAtMs: nowMs + setBackMs }]);
  });

  test('opens at the share, and names the dataset and the rules that held most', () => {
    const { observe, open } = breaker();
    observe(batch(orders, 90, 9, 'total'));
    observe(batch(orders, 60, 20, 'email'));
    expect(open()).toEqual([]);
    observe(batch(orders, 10, 10, 'email'));
    expect(open()).toEqual(opened);
    expect(opened).toMatchObject([{ pipeline: 'p', dataset: 'shop.public.orders', rows: 160, quarantined: 39, settings }]);
    expect(opened[0]?.topRules).toEqual([
      { rule: 'email', count: 30 },
      { rule: 'total', count: 9 },
    ]);
    expect(errors[0]?.code).toBe('TOO_MUCH_QUARANTINE');
    expect(errors[0]?.message).toBe(
      '24 % of the last 160 events of shop.public.orders within 60 s went to quarantine, mostly by email (30), total (9)',
    );
  });

  test('never opens on fewer rows than it may judge by', () => {
    const { observe } = breaker();
    observe(batch(orders, 99, 99));
    expect(opened).toEqual([]);
    observe(batch(orders, 1, 1));
    expect(opened).toHaveLength(1);
  });

  test('forgets what is older than its window', () => {
    const { observe } = breaker();
    observe(batch(orders, 90, 90));
    nowMs += 61_000;
    observe(batch(orders, 99, 0));
    nowMs += 1_000;
    observe(batch(orders, 101, 10));
    expect(opened).toEqual([]);
  });

  test('judges each dataset by itself', () => {
    const { observe } = breaker((name) => (name.endsWith('payments') ? null : settings));
    const events = Array.from({ length: 400 }, (_, i) => eventOf(i % 2 === 0 ? orders : payments, i));
    observe(
      reportOf(
        events,
        events.flatMap((_, i) => (i % 2 === 1 ? [findingOf(i, 'r')] : [])),
      ),
    );
    expect(opened).toEqual([]);
    observe(
      reportOf(
        events,
        events.flatMap((_, i) => (i % 2 === 0 ? [findingOf(i, 'r')] : [])),
      ),
    );
    expect(opened.map(({ dataset }) => dataset)).toEqual(['shop.public.orders']);
  });

  test('counts an event once however many rules held it, and blames each of them', () => {
    const { observe } = breaker();
    const events = Array.from({ length: 200 }, (_, i) => eventOf(orders, i));
    observe(reportOf(events, Array.from({ length: 30 }, (_, i) => [findingOf(i, 'a'), findingOf(i, 'b')]).flat()));
    expect(opened).toEqual([]);
    observe(
      reportOf(
        events.slice(0, 20),
        Array.from({ length: 20 }, (_, i) => findingOf(i, 'a')),
      ),
    );
    expect(opened[0]).toMatchObject({
      rows: 220,
      quarantined: 50,
      topRules: [
        { rule: 'a', count: 50 },
        { rule: 'b', count: 30 },
      ],
    });
  });

  test('does not count what waits for its key, what a person released, and what only passes with a remark', () => {
    const { observe } = breaker();
    observe(batch(orders, 150, 150, HOLD_KEY_RULE));
    observe(batch(orders, 150, 150, 'total', 'replay'));
    const events = Array.from({ length: 150 }, (_, i) => eventOf(orders, i));
    observe(
      reportOf(
        events,
        events.map((_, i) => findingOf(i, 'w', { verdict: Verdict.Warn })),
      ),
    );
    expect(opened).toEqual([]);
  });

  test('opens once, closes when the operator resumes, and starts counting from nothing then', () => {
    const { observe, open, reset } = breaker();
    observe(batch(orders, 100, 50));
    observe(batch(orders, 100, 50));
    expect(opened).toHaveLength(1);
    reset();
    expect(closed).toEqual(opened);
    expect(open()).toEqual([]);
    observe(batch(orders, 99, 99));
    expect(opened).toHaveLength(1);
    observe(batch(orders, 1, 1));
    expect(opened).toHaveLength(2);
  });

  test('warns once on the way up, and again only after it came down', () => {
    const { observe } = breaker();
    observe(batch(orders, 100, 12));
    observe(batch(orders, 100, 12));
    expect(warned).toHaveLength(1);
    nowMs += 61_000;
    observe(batch(orders, 200, 0));
    nowMs += 61_000;
    observe(batch(orders, 100, 12));
    expect(warned).toHaveLength(2);
    expect(opened).toEqual([]);
  });
});
