/**
 * A reader that is behind, against a model of the way between two sockets: a sender is slow while what it sends goes the whole way, fast while it only adds to
 * what lies there, and waits when nothing more fits.
 */
import { expect, test } from 'vitest';
import { WAY_MAX_MS, WAY_MS } from '../../wire/postgres/pace.ts';
import { FLOOD_BYTES, Rests } from '../../wire/postgres/rests.ts';
import { Random } from '../support/random.ts';

const SEED = 5519;
const STEP_MS = 0.05;
/** What one read brings at most. */
const SLAB = 1 << 18;

/** The sender's clock is another one. */
const CLOCK_MS = 5e8;

/** Bytes a millisecond. */
interface Speeds {
  readonly open: number;
  readonly full: number;
  /** Of who reads. */
  readonly reads: number;
}

interface Told {
  readonly read: number;
  readonly longestRest: number;
  /** In the last half second. */
  readonly lastRest: number;
  /** The longest that something lay on the way. */
  readonly longestWay: number;
}

class Way {
  queued = 0;
  produced = 0;
  readonly #window: number;
  readonly #room: number;
  readonly #goesOnAt: number;
  #waits = false;

  constructor(window: number, goesOnAt: number) {
    this.#window = window;
    this.#room = 4 * window;
    this.#goesOnAt = goesOnAt;
  }

  send({ open, full }: Speeds): void {
    if (this.#waits && this.queued > this.#goesOnAt * this.#room) return;
    this.#waits = this.queued >= this.#room;
    const bytes = Math.min((this.queued < this.#window ? open : full) * STEP_MS, this.#room - this.queued);
    this.queued += bytes;
    this.produced += bytes;
  }

  take(): number {
    const bytes = Math.floor(Math.min(this.queued, this.#window, SLAB));
    this.queued -= bytes;
    return bytes;
  }
}

/** When what was read was sent, to a step. */
class Sent {
  lastMs = CLOCK_MS;
  waitedMs = 0;

  /** A message that was sent at `at`, by our clock. */
  take(at: number): void {
    const passed = at + CLOCK_MS - this.lastMs;
    if (passed > 1) this.waitedMs += passed;
    this.lastMs = at + CLOCK_MS;
  }
}

interface RunOptions {
  /** In bytes: there is room for four times as many. */
  readonly window?: number;
  /** How full the room is, at most, when a sender that waited goes on: as soon as anything fits, unless it is said. */
  readonly goesOnAt?: number;
  /** Whether anybody wants to have more. */
  readonly takes?: (now: number) => boolean;
}

function run(millis: number, speedsAt: (now: number) => Speeds, isBehind: boolean, options: RunOptions = {}): Told {
  const { window = 1 << 19, goesOnAt = 1, takes = () => true } = options;
  const rests = new Rests(0);
  const times = new Sent();
  let isTaken = true;
  const way = new Way(window, goesOnAt);
  let wakes = 0;
  let read = 0;
  let longestRest = 0;
  let lastRest = 0;
  let longestWay = 0;
  const sent: { upTo: number; at: number }[] = [];
  for (let now = 0; now < millis; now += STEP_MS) {
    const speeds = speedsAt(now);
    const before = way.produced;
    way.send(speeds);
    if (way.produced > before) sent.push({ upTo: way.produced, at: now });
    if (takes(now) !== isTaken) {
      isTaken = !isTaken;
      rests.held(now);
    }
    if (now < wakes || !isTaken || way.queued < 1) continue;
    const bytes = way.take();
    read += bytes;
    let at = 0;
    for (; at < sent.length && (sent[at]?.upTo ?? 0) <= read; at++) {
      const { at: atMs } = sent[at] as (typeof sent)[number];
      longestWay = Math.max(longestWay, now - atMs);
      times.take(atMs);
    }
    sent.splice(0, at);
    const done = now + bytes / speeds.reads;
    const rest = rests.after(bytes, done, () => isBehind, { lastMs: times.lastMs, waitedMs: times.waitedMs });
    longestRest = Math.max(longestRest, rest);
    if (now > millis - 500) lastRest = Math.max(lastRest, rest);
    wakes = done + rest;
  }
  return { read, longestRest, lastRest, longestWay };
}

const eightOf = (random: Random, make: (random: Random, n: number) => void): void => {
  for (let n = 0; n < 8; n++) make(random, n);
};

// A socket lets its sender go on once a third of it is free. One that goes on as soon as anything fits waits again and again, each time for less than counts as
// waiting, since a sender decodes for as long.
test.each([
  [1, 0.75],
  [2 / 3, 0.9],
])('who is behind reads nearly as fast as a sender can be, which one that only rests does not: it goes on at %f', (goesOnAt, least) => {
  eightOf(new Random(SEED), (random, n) => {
    const full = 4 * FLOOD_BYTES + random.below(8 * FLOOD_BYTES);
    const speeds = { open: full * (0.3 + 0.02 * random.below(10)), full, reads: 4 * full };
    const told = run(6000, () => speeds, true, { goesOnAt });
    const note = `way ${n}: ${JSON.stringify(speeds)}`;
    expect(told.read, `seed ${SEED}, ${note}`).toBeGreaterThan(least * full * 6000);
    expect(run(6000, () => speeds, false).read, `seed ${SEED}, ${note}`).toBeLessThan(1.2 * speeds.open * 6000);
  });
});

test('a reader that has less time at times, and a sender too, soon find their pace again', () => {
  eightOf(new Random(SEED + 1), (random, n) => {
    const full = 6 * FLOOD_BYTES;
    const phases = Array.from({ length: 4 }, () => 0.4 + 0.1 * random.below(7));
    const at = (now: number): Speeds => {
      const share = phases[Math.floor(now / 3000)] ?? 1;
      return { open: 0.4 * full * share, full: full * share, reads: 3 * full };
    };
    const possible = phases.reduce((sum, share) => sum + share * full * 3000, 0);
    expect(run(12_000, at, true).read, `seed ${SEED + 1}, way ${n}: ${phases.join()}`).toBeGreaterThan(0.7 * possible);
  });
});

test('who is slower than the sender is never made slower', () => {
  const speeds = { open: 40_000, full: 90_000, reads: 20_000 };
  expect(run(3000, () => speeds, true).read).toBeGreaterThan(0.93 * speeds.reads * 3000);
});

test('nothing lies for long where there is no more than is read, however old it is said to be, and who is not behind never takes a long rest', () => {
  eightOf(new Random(SEED + 2), (random, n) => {
    const rate = FLOOD_BYTES + random.below(2 * FLOOD_BYTES);
    const speeds = { open: rate, full: rate, reads: 10 * rate };
    const note = `way ${n}: ${rate}`;
    expect(run(5000, () => speeds, true).longestWay, `seed ${SEED + 2}, ${note}`).toBeLessThan(8 * WAY_MS);
    expect(run(5000, () => speeds, false).longestRest, `seed ${SEED + 2}, ${note}`).toBeLessThan(WAY_MS / 4);
  });
});

test('a flood that comes after silence is read as fast as the first, though all of it is old', () => {
  const flood = { open: 30_000, full: 80_000, reads: 300_000 };
  for (const trickle of [0, 0.002, 0.5, 50, 2000]) {
    const quiet = { ...flood, open: trickle, full: trickle };
    const told = run(12_000, (now) => (now > 2000 && now < 9000 ? quiet : flood), true);
    expect(told.read, `${trickle} bytes a millisecond between`).toBeGreaterThan(0.55 * 5000 * flood.full + 0.55 * 7000 * trickle);
    expect(told.longestRest, `${trickle} bytes a millisecond between`).toBeLessThanOrEqual(WAY_MAX_MS);
  }
});

test('once a flood is over nobody waits for what comes now and then, however old it is said to be', () => {
  const flood = { open: 30_000, full: 80_000, reads: 300_000 };
  for (const trickle of [0.002, 0.05, 2, 20]) {
    const told = run(8000, (now) => (now < 2000 ? flood : { ...flood, open: trickle, full: trickle }), true);
    expect(told.lastRest, `${trickle} bytes a millisecond`).toBe(0);
  }
});

test('who wants no more for a while, again and again, takes as much in between as would go in that time', () => {
  eightOf(new Random(SEED + 3), (random, n) => {
    const full = 6 * FLOOD_BYTES;
    const speeds = { open: 0.3 * full, full, reads: 4 * full };
    const [takes, holds] = [20 + random.below(60), 40 + random.below(60)];
    const told = run(8000, () => speeds, true, { takes: (now) => now % (takes + holds) < takes });
    // Both sockets are full when it begins again, and what is in them comes at once.
    const possible = Math.min(full, ((4 << 19) + full * takes) / (takes + holds));
    expect(told.read, `seed ${SEED + 3}, way ${n}: ${takes} of ${takes + holds}`).toBeGreaterThan(0.5 * possible * 8000);
  });
});

test.each([1 << 17, 1 << 19, 1 << 21])('a window of %i bytes, and room for four: the sender is fast, and hardly waits', (window) => {
  const full = 7 * FLOOD_BYTES;
  const told = run(8000, () => ({ open: 0.35 * full, full, reads: 5 * full }), true, { window });
  expect(told.read).toBeGreaterThan((window > 1 << 17 ? 0.85 : 0.6) * full * 8000);
});
