/** Counts of service levels at a real target: exact whatever crashes, however many lanes there are, and when minutes become hours. */
import { expect, inject, test } from 'vitest';
import type { DatasetName, LaneId } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import { migrate } from '../../sync/postgres/migrations.ts';
import { emitMinutes, PostgresSlo, prepareMinutes } from '../../sync/postgres/slo.ts';
import { Turns } from '../../sync/postgres/turns.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { FrontendWriter } from '../../wire/postgres/messages.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';

const SEED = 20_260_801;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NOW = Date.UTC(2026, 6, 1, 12, 34, 56);
const dataset = 'shop.public.orders' as DatasetName;

async function target() {
  const database = await createDatabase(inject('targetServer'), 'slo');
  const [connection, lane] = [await PgConnection.connect({ url: database.url }), await PgConnection.connect({ url: database.url })];
  await migrate(connection);
  const prepared = new FrontendWriter();
  prepareMinutes(prepared);
  await lane.exchange(prepared.sync().bytes());
  return {
    lane,
    store: new PostgresSlo({ pipeline: 'p', turns: new Turns(connection) }),
    write: async (of: string, minuteMs: number, good: number, bad: number): Promise<void> => {
      const writer = new FrontendWriter();
      emitMinutes(writer, [{ dataset, counted: 'rows', minuteMs, good, bad }], 'p', of as LaneId);
      await lane.exchange(writer.sync().bytes());
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([connection.close(), lane.close()]);
      await database[Symbol.asyncDispose]();
    },
  };
}

test(`with crashes, several lanes and compaction in between, the counts are those of every row by itself (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  await using at = await target();
  const { lane, store, write } = at;
  const rows: { readonly minuteMs: number; readonly good: number; readonly bad: number }[] = [];
  const started = NOW - 34 * DAY;
  const edgeOf = (nowMs: number) => Math.floor((nowMs - 3 * DAY) / HOUR) * HOUR;
  let compacted = 0;
  for (let step = 0; step < 250; step++) {
    const nowMs = started + Math.floor((step / 249) * 34 * DAY);
    const lateMs = random.chance(0.9) ? random.below(10 * MINUTE) : random.below(5 * DAY);
    const row = { minuteMs: Math.floor((nowMs - lateMs) / MINUTE) * MINUTE, good: random.below(5), bad: random.below(3) };
    const name = `l${random.below(3)}`;
    // A crash between the write and its commit: the batch comes once more.
    for (let crashes = random.chance(0.3) ? 1 + random.below(2) : 0; crashes > 0; crashes--) {
      await lane.script('begin');
      await write(name, row.minuteMs, row.good, row.bad);
      await lane.script('rollback');
    }
    await write(name, row.minuteMs, row.good, row.bad);
    rows.push(row);
    if (!random.chance(0.15)) continue;
    await store.compact(nowMs);
    compacted = nowMs;
  }
  await store.compact(NOW);
  expect(compacted).toBeGreaterThan(started);
  const spans = [5 * MINUTE, HOUR, 6 * HOUR, 3 * DAY, 7 * DAY, 28 * DAY];
  // What is older than three days counts with its hour.
  const placeOf = (minuteMs: number) => (minuteMs < edgeOf(NOW) ? Math.floor(minuteMs / HOUR) * HOUR : minuteMs);
  const expected = spans.map((spanMs) => {
    const counted = rows.filter(({ minuteMs }) => placeOf(minuteMs) >= NOW - spanMs);
    return { good: counted.reduce((sum, { good }) => sum + good, 0), bad: counted.reduce((sum, { bad }) => sum + bad, 0) };
  });
  expect(
    await store.counts(
      dataset,
      'rows',
      spans.map((spanMs) => NOW - spanMs),
    ),
  ).toEqual(expected);
  expect(expected.at(-1)?.bad).toBeGreaterThan(expected[3]?.bad ?? 0);
  // Bounded: three lanes by the minute for three days, one row an hour before, nothing before 31 days.
  const { rows: kept } = await lane.query(
    `select count(*) filter (where at < ${edgeOf(NOW)} and lane <> ''), count(*) filter (where at < ${NOW - 32 * DAY}) from tidegate.slo_counts`,
  );
  expect(kept).toEqual([['0', '0']]);
}, 60_000);

test('compaction leaves the rows that a lane is at to a later time, and loses nothing of them', async () => {
  await using at = await target();
  const { lane, store, write } = at;
  const old = Math.floor((NOW - 10 * DAY) / HOUR) * HOUR;
  await write('a', old, 1, 0);
  await write('a', old + MINUTE, 2, 0);
  await lane.script('begin');
  await write('a', old, 0, 7);
  await store.compact(NOW);
  await lane.script('commit');
  const sums = () => store.counts(dataset, 'rows', [0]);
  expect(await sums()).toEqual([{ good: 3, bad: 7 }]);
  await store.compact(NOW);
  expect(await sums()).toEqual([{ good: 3, bad: 7 }]);
  expect((await lane.query('select lane, good, bad from tidegate.slo_counts')).rows).toEqual([['', '3', '7']]);
}, 30_000);

test('a window counts as it was judged last, and minutes as who was first said', async () => {
  await using at = await target();
  const { lane, store } = at;
  const result = (starts: number, revision: number, verdict: string, rule = 'volume') =>
    lane.script(`insert into tidegate.window_results
      (pipeline, dataset, rule, type, win, starts, ends, grp, revision, verdict, rows, missing, severity, on_fail, version, digest, at)
      values ('p', '${dataset}', '${rule}', 'row_count', '5m', ${starts}, ${starts + 300_000}, '', ${revision}, '${verdict}', 1, 0, 'critical', 'alert', 1, 'd', now())`);
  await result(0, 1, 'fail');
  await result(0, 2, 'pass');
  await result(300_000, 1, 'pass');
  await result(300_000, 2, 'fail');
  await result(600_000, 1, 'indeterminate');
  await result(900_000, 1, 'fail', 'another');
  expect(await store.windowCounts(dataset, ['volume'], [0, 600_000, 900_001])).toEqual([
    { good: 1, bad: 1 },
    { good: 0, bad: 1 },
    { good: 0, bad: 0 },
  ]);

  const look = (minute: number, good: number) =>
    store.keepMinutes(dataset, 'minutes f', [{ minuteMs: minute * MINUTE, good, bad: 1 - good }], {
      minuteMs: minute * MINUTE,
      newestMs: 5,
    });
  await look(1, 1);
  await look(1, 0);
  await look(2, 0);
  expect(await store.counts(dataset, 'minutes f', [0])).toEqual([{ good: 1, bad: 1 }]);
  expect(await store.lastLook(dataset, 'minutes f')).toEqual({ minuteMs: 2 * MINUTE, newestMs: 5 });
  await store.forgetLooks([]);
  expect(await store.lastLook(dataset, 'minutes f')).toBe(null);
}, 30_000);

test('a trouble is one incident while it lasts, whoever opens it, and another when it comes back', async () => {
  await using at = await target();
  const { store } = at;
  const trouble = { dataset, slo: 'rows', cause: 'burn', severity: 'warning', message: 'm' } as const;
  await store.open(trouble, 1);
  await store.open(trouble, 2);
  const [first, ...more] = await store.pending();
  expect([first, more]).toMatchObject([{ ...trouble, openedMs: 1, resolvedMs: null, told: null }, []]);
  const id = first?.id ?? '';
  await store.change(id, { severity: 'critical', message: 'n' });
  await store.told(id, 'critical');
  await store.resolve(id, 7);
  await store.resolve(id, 9);
  expect(await store.pending()).toMatchObject([{ severity: 'critical', message: 'n', resolvedMs: 7, told: 'critical' }]);
  await store.told(id, 'resolved');
  await store.open(trouble, 8);
  expect((await store.incidents(10)).map(({ openedMs, resolvedMs }) => [openedMs, resolvedMs])).toEqual([
    [8, null],
    [1, 7],
  ]);
  expect(await store.pending()).toHaveLength(1);
  await at.lane.script('drop table tidegate.slo_incidents');
  await expect(store.pending()).rejects.toThrow(PipelineError);
}, 30_000);
