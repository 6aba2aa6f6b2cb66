/** What a server may hear that a lane has done, while its log may be another one than the lane has read. */
import { expect, test } from 'vitest';
import type { Position } from '../../core/event.ts';
import { fromLsnNumber } from '../../core/position.ts';
import { beginning, DoneLog } from '../../cdc/postgres/done-log.ts';
import { doneLsn, type LanePlace, placeText, readOnText, withinText } from '../../cdc/postgres/lane-position.ts';

const lsn = (n: number) => fromLsnNumber(BigInt(n));
const after = (n: number): Position => placeText(lsn(n), null);
/** Its last commit is from 8 to 10. */
const place = (readOn: number | null, within: LanePlace['within'] = null): LanePlace => ({
  lsn: lsn(10),
  readOn: readOn === null ? null : lsn(readOn),
  snapshot: null,
  within,
  timeline: 1,
  system: lsn(1),
  last: { commit: lsn(8), xid: 7, atMs: 700 },
});
const begun = (from: LanePlace, confirmed: number): DoneLog => new DoneLog(beginning(from, lsn(confirmed)), from.within, doneLsn(from));
const lost = expect.objectContaining({ code: 'SOURCE_POSITION_LOST' }) as Error;

test('a slot whose server knows of the last commit is read from behind it', () => {
  expect(beginning(place(null), lsn(10))).toEqual({ from: lsn(10), expected: null });
  expect(beginning(place(90), lsn(50))).toEqual({ from: lsn(50), expected: null });
  expect(beginning({ ...place(null), last: null }, lsn(3))).toEqual({ from: lsn(10), expected: null });
  expect(begun(place(null), 10).told).toBe(lsn(10));
});

test('else the last commit comes once more, and until it came the server hears of nothing', () => {
  const done = begun(place(90), 8);
  expect([done.isKnown, done.isPassed, done.told]).toEqual([true, false, lsn(0)]);
  done.reach(lsn(8));
  expect(done.acknowledge(withinText(readOnText(after(10), 1, lsn(90)), lsn(95), 1))).toBe(false);
  expect(done.told).toBe(lsn(0));
  expect(done.begin(lsn(8), 7, 700)).toBeNull();
  expect(done.commit(lsn(10))).toBe(false);
  expect([done.isKnown, done.isPassed, done.told]).toEqual([false, true, lsn(10)]);
  done.reach(lsn(95));
  expect(done.told).toBe(lsn(90));
});

test.each([
  ['of another number', lsn(8), 6, 700],
  ['of another time', lsn(8), 7, 701],
  ['at another place', lsn(9), 7, 700],
])('a transaction %s is not the last commit', (_, commit, xid, atMs) => {
  expect(() => begun(place(null), 8).begin(commit, xid, atMs)).toThrow(lost);
});

test('a log that has come by beyond it does not have it, and the same is so of a transaction that is done in part', () => {
  expect(() => begun(place(null), 3).reach(lsn(9))).toThrow(lost);
  const inside = begun(place(null, { commit: lsn(20), events: 5 }), 10);
  inside.reach(lsn(20));
  expect(() => inside.reach(lsn(21))).toThrow(lost);
  expect(() => inside.begin(lsn(21), 9, 900)).toThrow(lost);
  expect(inside.begin(lsn(20), 8, 800)).toBe(5);
});

test('a commit in what was read on without one: the server hears of it, and of what comes behind, only once the target has that', () => {
  const done = begun(place(90), 10);
  done.reach(lsn(20));
  expect(done.told).toBe(lsn(20));
  expect(done.begin(lsn(40), 9, 900)).toBe(0);
  expect(done.commit(lsn(45))).toBe(true);
  expect(done.told).toBe(lsn(40));
  expect(done.acknowledge(readOnText(after(10), 1, lsn(90)))).toBe(false); // Made before that commit came.
  expect(done.acknowledge(withinText(readOnText(after(10), 1, lsn(90)), lsn(40), 2))).toBe(false);
  expect(done.told).toBe(lsn(40));
  expect(done.begin(lsn(60), 10, 1000)).toBe(0);
  expect(done.commit(lsn(65))).toBe(true);
  expect(done.acknowledge(after(45))).toBe(true);
  expect(done.told).toBe(lsn(45));
  expect(done.acknowledge(readOnText(after(65), 1, lsn(80)))).toBe(true);
  expect(done.told).toBe(lsn(65));
});
