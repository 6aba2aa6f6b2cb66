/** Places of a lane as text: they sort as the lane goes, say what was said, and know which tables the lane has. */
import { describe, expect, test } from 'vitest';
import type { Position } from '../../core/event.ts';
import { fromLsnNumber, putTogether, takeApart } from '../../core/position.ts';
import {
  doneLsn,
  inLog,
  nextStep,
  type LastCommit,
  notBegun,
  parsePlace,
  placeText,
  progressOf,
  reachedLsn,
  readOnText,
  type RereadProgress,
  snapshotMark,
  type SnapshotMark,
  tableCount,
  withEntries,
  withoutEntries,
  withinText,
} from '../../cdc/postgres/lane-position.ts';
import { SeenTransactions } from '../../cdc/postgres/seen.ts';
import { visibility } from '../../cdc/postgres/settle.ts';
import { tablesBeingCopied } from '../../cdc/postgres/source-rows.ts';
import { Random } from '../support/random.ts';

const tables = (random: Random) =>
  Array.from({ length: 1 + random.below(4) }, (_, i) => {
    const done = random.chance(0.4);
    return {
      table: `public.Größe "${i}`,
      rowsDone: random.below(1e9),
      last: done || random.chance(0.3) ? null : [`k${random.below(99)}`, 'ö\n'],
      done,
      ...(!done && random.chance(0.3) ? { isAgain: true } : {}),
      ...(random.chance(0.5) ? { entry: String(1 + random.below(2 ** 32 - 1)) } : {}),
    };
  });

const rereads = (random: Random): RereadProgress[] =>
  Array.from({ length: random.below(3) }, (_, i) => {
    const byKey = random.chance(0.5);
    return {
      table: `public.Größe "${i}`,
      rowsDone: random.below(1e9),
      last: byKey || random.chance(0.3) ? null : [`k${random.below(99)}`, 'ö\n'],
      done: false,
      reread: {
        id: `r${i}`,
        where: byKey || random.chance(0.3) ? null : `n = 'ä' --`,
        keys: byKey ? [['1', 'ü'], ['']] : null,
        rowsEstimated: random.chance(0.3) ? null : 7,
        ...(!byKey && random.chance(0.5) ? { columns: [{ id: 1 + random.below(1600), name: 'ß "' }] } : {}),
      },
    };
  });

test.each([1, 2, 3, 4, 5])('each place of a lane sorts behind the one before, and is read as it was written (seed %i)', (seed) => {
  const random = new Random(seed);
  let lsn = BigInt(random.below(2 ** 32)) << 8n;
  let mark: SnapshotMark | null = null;
  let events = 0;
  let readOn: bigint | null = null;
  let before = '' as Position;
  let timeline = 1;
  // What an earlier version wrote says nothing of the server, and nothing of the last commit.
  let system: string | null = null;
  let last: LastCommit | null = null;
  const outside = (): Position => {
    const place = placeText(fromLsnNumber(lsn), mark);
    return readOn === null ? place : readOnText(place, timeline, fromLsnNumber(readOn));
  };
  for (let step = 0; step < 500; step++) {
    const dice = random.next();
    let position: Position;
    if (step === 100) system = fromLsnNumber(7_654_321n);
    // A standby takes over now and then, and may lack what was read on: what comes next may lie before that.
    if (random.chance(0.02)) {
      timeline++;
      if (readOn !== null && random.chance(0.5)) readOn = lsn + BigInt(random.below(Number(readOn - lsn)));
    }
    if (dice < 0.3) {
      const commit = fromLsnNumber(lsn + 1n);
      lsn += BigInt(2 + random.below(2 ** 30));
      [events, readOn] = [0, null];
      if (system !== null) last = { commit, xid: random.below(2 ** 32), atMs: random.below(2 ** 41) };
      position = outside();
    } else if (dice < 0.5 && events === 0) {
      readOn = (readOn ?? lsn) + BigInt(1 + random.below(2 ** 20));
      position = outside();
    } else if (dice < 0.7) {
      events += 1 + random.below(1000);
      position = withinText(outside(), fromLsnNumber((readOn ?? lsn) + 5n), events);
    } else {
      mark = snapshotMark((mark?.seq ?? 0) + 1, tables(random), rereads(random));
      position = outside();
      events = 0;
    }
    position = inLog(position, { timeline, system, last });
    expect(position > before, `${position} behind ${before}`).toBe(true);
    expect(reachedLsn(position)).toBe(fromLsnNumber(readOn ?? lsn));
    before = position;
    const place = parsePlace(position);
    expect(place).toEqual({
      lsn: fromLsnNumber(lsn),
      readOn: readOn === null ? null : fromLsnNumber(readOn),
      snapshot: mark,
      within: events === 0 ? null : { commit: fromLsnNumber((readOn ?? lsn) + 5n), events },
      timeline,
      system,
      last,
    });
  }
});

test('inside a transaction that was not there when the log was read on, no more is done than what came before it', () => {
  const readOn = readOnText(placeText(fromLsnNumber(10n), null), 1, fromLsnNumber(90n));
  const inside = withinText(readOn, fromLsnNumber(40n), 3);
  expect(inside > readOn).toBe(true);
  expect([readOn, inside].map(reachedLsn)).toEqual([fromLsnNumber(90n), fromLsnNumber(40n)]);
  expect([readOn, inside].map((position) => doneLsn(parsePlace(position)))).toEqual([fromLsnNumber(90n), fromLsnNumber(40n)]);
});

describe('a place says which tables the lane has', () => {
  const t = { table: 'public.t', rowsDone: 5, last: ['5'], done: false };
  const u = { table: 'public.u', rowsDone: 7, last: null, done: true };

  test('while they are copied and afterwards', () => {
    const copying = snapshotMark(1, [t, u]);
    expect([progressOf(copying, 'public.t'), progressOf(copying, 'public.u'), progressOf(copying, 'public.v')]).toEqual([t, u, null]);
    expect(tableCount(copying)).toBe(2);
    const done = parsePlace(placeText(fromLsnNumber(1n), snapshotMark(2, [{ ...t, done: true }, u]))).snapshot;
    expect(done?.tables).toEqual([]);
    expect(['t', 'u', 'v'].map((name) => progressOf(done, `public.${name}`)?.done)).toEqual([true, true, undefined]);
    expect(progressOf(done, 'public.v')).toBeNull();
    expect(done === null ? 0 : tableCount(done)).toBe(2);
  });

  test('with their entries in the publication, which one that did not know them learns', () => {
    const old = snapshotMark(4, [{ ...t, done: true }, u]);
    const learned = withEntries(old, ['public.t', 'public.u'], new Map([['public.t', '4294967295']]));
    const read = parsePlace(placeText(fromLsnNumber(1n), learned)).snapshot;
    expect([read?.seq, progressOf(read, 'public.t')?.entry, progressOf(read, 'public.u')]).toEqual([
      5,
      '4294967295',
      { ...notBegun('public.u'), done: true },
    ]);
    expect([progressOf(read, 'public.v'), read === null ? 0 : tableCount(read)]).toEqual([null, 2]);
    expect(parsePlace(placeText(fromLsnNumber(1n), read === null ? null : withoutEntries(read))).snapshot).toEqual(
      parsePlace(placeText(fromLsnNumber(1n), snapshotMark(6, [{ ...t, done: true }, u]))).snapshot,
    );
    // What is known stays as it is: that it is another now is what is looked for.
    expect(read === null ? null : withEntries(read, ['public.t', 'public.u'], new Map([['public.t', '7']]))).toBeNull();
  });

  test('or does not say it', () => {
    expect(progressOf(null, 'public.t')).toBeUndefined();
    expect(progressOf(parsePlace(`${fromLsnNumber(1n)}@00000003.` as Position).snapshot, 'public.t')).toBeUndefined();
  });
});

test('transactions that everybody sees are forgotten, so that those remembered stay few', () => {
  const seen = new SeenTransactions(100);
  const start = 2 ** 32 - 5000; // Ids wrap around on the way.
  let most = 0;
  for (let i = 0; i < 10_000; i++) {
    seen.add((start + i) % 2 ** 32);
    most = Math.max(most, seen.list().length);
    // One long transaction is under way, and the last three.
    if (seen.isLong) seen.forget(visibility(`${start + 7}:${start + i + 1}:${[7, i - 2, i - 1, i].map((n) => start + n).join(',')}`));
  }
  expect(most).toBeLessThanOrEqual(100);
  expect(seen.list()).toContain(start + 7);
});

test('the next step of a snapshot sorts behind the one before, and says the same', () => {
  const random = new Random(1);
  const lsn = fromLsnNumber(7n);
  for (const tablesOf of [() => [], () => tables(random)]) {
    for (let round = 0; round < 50; round++) {
      const mark = parsePlace(placeText(lsn, snapshotMark(random.below(1000), tablesOf(), rereads(random)))).snapshot;
      const next = nextStep(mark);
      expect(placeText(lsn, next) > placeText(lsn, mark)).toBe(true);
      expect([next.tables, next.rereads, next.had]).toEqual([mark?.tables, mark?.rereads, mark?.had]);
      expect(parsePlace(placeText(lsn, next)).snapshot).toEqual(next);
    }
  }
  expect(placeText(lsn, nextStep(null)) > placeText(lsn, null)).toBe(true);
});

test('a table counts as being copied while columns of it are read anew, and not while people have rows of it read again', () => {
  const copied = { table: 'public.t', rowsDone: 9, last: null, done: true };
  const reread = { id: 'r', where: null, keys: null, rowsEstimated: null };
  const at = (of: RereadProgress['reread']): ReadonlySet<string> =>
    tablesBeingCopied(placeText('0'.repeat(16), snapshotMark(1, [copied], [{ ...copied, done: false, reread: of }])));
  expect([...at({ ...reread, columns: [{ id: 3, name: 'd' }] })]).toEqual(['public.t']);
  expect([...at(reread)]).toEqual([]);
});

test.each([1, 2, 3])('a place that names many tables is kept in two parts, which make the same place and no other (seed %i)', (seed) => {
  const random = new Random(seed);
  let before = '';
  for (let round = 0; round < 100; round++) {
    const isCopied = random.chance(0.6);
    const many = Array.from({ length: 40 + random.below(40) }, (_, i) => {
      const last = isCopied || random.chance(0.5) ? null : [`k${random.below(99)}`];
      const entry = random.chance(0.5) ? { entry: String(1 + random.below(2 ** 32 - 1)) } : {};
      return { table: `public.Größe "${i}`, rowsDone: random.below(1e9), last, done: isCopied, ...entry };
    });
    const lsn = fromLsnNumber(BigInt(1 + random.below(2 ** 40)));
    let whole = placeText(lsn, snapshotMark(1 + random.below(1000), many, isCopied && random.chance(0.8) ? [] : rereads(random)));
    if (random.chance(0.3)) whole = readOnText(whole, 1, lsn);
    if (random.chance(0.3)) whole = withinText(whole, lsn, random.below(1000));
    if (random.chance(0.7)) whole = inLog(whole, { timeline: 2, system: fromLsnNumber(7n), last: { commit: lsn, xid: 7, atMs: 1 } });
    const { place, long } = takeApart(whole);
    expect(place.length).toBeLessThan(256);
    expect(putTogether(place, long)).toBe(whole);
    expect(takeApart(place as Position)).toEqual({ place, long: null });
    // Nobody takes it for a place without tables, and none is put together with what others have.
    expect(() => parsePlace(place as Position)).toThrow('no version of this source wrote');
    expect(place).not.toBe(before);
    for (const other of [null, '', `${long}A`]) expect(() => putTogether(place, other)).toThrow('another long part');
    before = place;
  }
  const few = placeText(fromLsnNumber(1n), snapshotMark(2, [{ ...notBegun('public.t'), done: true, entry: '7' }]));
  expect(takeApart(few)).toEqual({ place: few, long: null });
});
