/** Checks of the clock: every example of docs/expectations.md, what is refused, and which rows count as late, whatever crashes. */
import { expect, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import type { ChangeEvent, DatasetName, LaneId, Position } from '../../core/event.ts';
import type { GoodAndBad } from '../../core/slo.ts';
import type { Arrival, ExamplePulse } from '../../quality/clock/check.ts';
import { CLOCK } from '../../quality/clock/registry.ts';
import { arrivalStage } from '../../quality/clock/stage.ts';
import { ClockWatch } from '../../quality/clock/watch.ts';
import { parseContract } from '../../quality/contract.ts';
import { millis } from '../../quality/live/check.ts';
import { windowStage } from '../../quality/live/stage.ts';
import { Random } from '../support/random.ts';
import { clockAt, MemoryStore, NO_LOTS } from './live/support.ts';
import { contractOf, FILE, HEAD, insert, lines } from './support.ts';

const SEED = 20_260_801;
const NOW = Date.UTC(2026, 4, 1, 12);
const checkOf = (rule: string) => {
  const [check] = contractOf(`checks:\n  ${rule}`).live.clock;
  if (check === undefined) throw new Error(`${rule} is no check of the clock`);
  return check;
};

test.each([...CLOCK.values()].map(({ name, example }) => [name, example] as const))('the example of %s', (_, { rule, passes, fails }) => {
  const { rule: check } = checkOf(rule);
  const severityAt = ({ newest_row: newest, last_seen: seen, lags = [] }: ExamplePulse) => {
    const rows = lags.map((lag): Arrival => ({ lagMs: millis(lag) ?? 0, behindMs: millis(lag) ?? 0 }));
    const bad = rows.filter((row) => check.counting?.isBad(row)).length;
    const ago = (age: string | undefined) => (age === undefined ? null : NOW - (millis(age) ?? 0));
    const counts = { good: rows.length - bad, bad };
    return check.say({ nowMs: NOW, sinceMs: NOW, newestMs: ago(newest), seenMs: ago(seen), counts }).severity;
  };
  expect(severityAt(passes)).toBe(null);
  expect(severityAt(fails)).not.toBe(null);
});

test.each([
  ['freshness: { max: 5m, warn: 5m }', 'freshness.warn: a row would be too old before it is a warning', 'Make warn less than max'],
  ['freshness: { warn: 5m }', 'freshness: "max" is missing', ''],
  ['freshness: 5m', 'freshness: a text stands where keys and values is needed', ''],
  ['heartbeat: { every: 1s }', 'heartbeat.every: a heartbeat is looked for every second or two', 'every: 5s'],
  ['heartbeat: { every: 1m, max: 5m }', 'heartbeat.max: "max" is not known here', 'every'],
  ['heartbeat: { every: 1m }, on_fail: quarantine', 'on_fail: a window that fails is one result', 'on_fail: alert'],
  ['heartbeat: { every: 1m }, group_by: id', 'group_by: group_by belongs to checks over windows of a stream', 'Remove it.'],
  ['event_lag: { max: 30s, over: 2d }', 'event_lag.over: rows are counted by the minute, for a day', 'over: 5m'],
  ['event_lag: { max: 30s, mostly: 2 }', 'event_lag.mostly: it must be <= 1', ''],
  ['late_ratio: { max: 1 }', 'late_ratio.max', ''],
  ['late_ratio: { max: 0.1, over: 1s }', 'late_ratio.over: rows are counted by the minute', ''],
])('%s is refused, with the place and the fix', (item, message, fix) => {
  const parsed = parseContract(`${HEAD}checks: [{ ${item} }]`, FILE);
  const [said = ''] = 'problems' in parsed ? lines(parsed.problems) : [];
  expect(said).toContain(`checks[0].${message}`);
  expect(said).toContain(fix);
});

test('over a file none of them is judged', () => {
  for (const { name, example } of CLOCK.values()) {
    const parsed = parseContract(`${HEAD}checks:\n  ${example.rule}`, FILE, 'file');
    expect('problems' in parsed ? lines(parsed.problems).join() : '').toContain(`${name} is judged on a live stream alone`);
  }
});

test('a warning is told, then that it is worse, then that it is over; and a process that starts anew tells nothing twice', async () => {
  const store = new MemoryStore();
  const contract = contractOf('checks: [{ freshness: { max: 5m, warn: 2m }, on_fail: halt }, { heartbeat: { every: 1m } }]');
  const dataset = contract.dataset;
  const mark = (rowMs: number) => ({ dataset, timeMs: rowMs, rowMs, seenMs: rowMs, untimed: 0, tooLate: 0 });
  const lives = (seenMs: number) => ({ dataset: '' as DatasetName, timeMs: 0, rowMs: -1, seenMs, untimed: 0, tooLate: 0 });
  const write = (...marks: readonly ReturnType<typeof mark>[]) => store.write('shop/slot' as LaneId, { parts: [], marks, minutes: [] });
  const at = (minutes: number) => NOW + minutes * 60_000;
  write(mark(at(0)), lives(at(0)));
  let watch = new ClockWatch();
  const look = (minutes: number) => watch.look({ windows: store, slo: { counts: async () => [] } }, [contract], at(minutes));
  await look(1);
  write(lives(at(2.9)));
  for (const minutes of [3, 4.5]) await look(minutes);
  watch = new ClockWatch();
  for (const minutes of [4.6, 6, 7]) await look(minutes);
  write(mark(at(7)), lives(at(7)));
  watch = new ClockWatch();
  await look(7.5);
  expect(store.all.map(({ rule, verdict, severity, onFail, observed }) => `${rule} ${verdict} ${severity} ${onFail} ${observed}`)).toEqual([
    'freshness fail warning alert 180',
    'heartbeat fail critical alert 96',
    'freshness fail critical halt 360',
    'freshness pass critical halt 30',
    'heartbeat pass critical alert 30',
  ]);
});

test('before there is a row, its age counts from when it was watched first, though the clock ran ahead then', async () => {
  const store = new MemoryStore();
  const contract = contractOf('checks: [{ freshness: { max: 5m } }]');
  const watch = new ClockWatch();
  const look = (minutes: number) => watch.look({ windows: store, slo: { counts: async () => [] } }, [contract], NOW + minutes * 60_000);
  for (const minutes of [600, 0, 4, 6]) await look(minutes);
  expect(store.all.map(({ verdict, observed }) => `${verdict} ${observed}`)).toEqual(['fail 360']);
});

test(`late rows are those of a brute force over the whole stream, with crashes and without (seed ${SEED})`, async () => {
  const contract = contractOf(
    'source: { event_time: after.created_at }\nchecks: [{ id: late, late_ratio: { max: 0.1, by: 1m } }, { id: lag, event_lag: { max: 10m } }]',
  );
  const random = new Random(SEED);
  for (let round = 0; round < 20; round++) {
    const stream = Array.from({ length: 8 }, (_, batch) =>
      Array.from({ length: random.below(12) }, () =>
        random.chance(0.1) ? null : NOW + batch * 60_000 - Math.floor(random.next() ** 3 * 1_200_000),
      ),
    );
    expect(await counted(stream, () => random.chance(0.4))).toEqual(bruteForce(stream));
  }

  function bruteForce(stream: readonly (readonly (number | null)[])[]): Record<string, GoodAndBad> {
    const sums = { late: { good: 0, bad: 0 }, lag: { good: 0, bad: 0 } };
    let newest = -Infinity;
    for (const [batch, times] of stream.entries())
      for (const timeMs of times) {
        if (timeMs === null) continue;
        sums.late[newest - timeMs > 60_000 ? 'bad' : 'good']++;
        sums.lag[NOW + batch * 60_000 - timeMs > 600_000 ? 'bad' : 'good']++;
        newest = Math.max(newest, timeMs);
      }
    return { 'late_ratio late': sums.late, 'event_lag lag': sums.lag };
  }

  /** Through the stages, whose run ends now and then before its batch is committed. */
  async function counted(stream: readonly (readonly (number | null)[])[], crashes: () => boolean): Promise<Record<string, GoodAndBad>> {
    const store = new MemoryStore();
    const sums: Record<string, { good: number; bad: number }> = {
      'late_ratio late': { good: 0, bad: 0 },
      'event_lag lag': { good: 0, bad: 0 },
    };
    let nowMs = NOW;
    const contracts = () => new Map([[contract.dataset, contract]]);
    const started = () => {
      const options = { contracts, store, lots: NO_LOTS, clock: clockAt(() => nowMs) };
      return [windowStage(options), arrivalStage(options)];
    };
    let stages = started();
    let after: Position | null = null;
    for (const [index, times] of stream.entries()) {
      nowMs = NOW + index * 60_000;
      const position = String(index + 1).padStart(2, '0') as Position;
      for (let committed = false; !committed; committed = true) {
        while (crashes()) {
          await judged(stages, times, after, position, nowMs);
          stages = started();
        }
        const { windows } = await judged(stages, times, after, position, nowMs);
        if (windows === null) continue;
        store.write('shop/slot' as LaneId, windows);
        for (const { counted: of, good, bad } of windows.minutes) {
          const sum = sums[of];
          if (sum === undefined) throw new Error(`nobody asked for ${of}`);
          sum.good += good;
          sum.bad += bad;
        }
      }
      after = position;
    }
    return sums;
  }
});

async function judged(
  stages: readonly ReturnType<typeof windowStage>[],
  times: readonly (number | null)[],
  after: Position | null,
  position: Position,
  nowMs: number,
): Promise<Batch> {
  const events = times.map((timeMs, i): ChangeEvent => {
    const created = timeMs === null ? null : new Date(timeMs).toISOString().replace('T', ' ').replace('Z', '+00');
    return { ...insert({ id: BigInt(i), created_at: created }), committedAtMs: nowMs };
  });
  const batch = new Batch(events, { lane: 'shop/slot' as LaneId, position });
  batch.after = after;
  for (const stage of stages) await stage.run(batch, new AbortController().signal);
  return batch;
}
