/** Judging one row by looks at both ends, against a row whose whole history is known: no false alarm, no difference missed. */
import { expect, test } from 'vitest';
import { Judge } from '../../app/verify/judge.ts';
import type { RowSight } from '../../wire/postgres/row-sums.ts';
import { Random } from '../support/random.ts';

const FIRST = Number(process.env['JUDGE_SEED'] ?? 1);
const SEEDS = Number(process.env['JUDGE_SEEDS'] ?? 3000);

/** One commit of the row: what it made of it, its place in the log, and when others see it. */
interface Commit {
  readonly lsn: number;
  readonly cells: string | null;
  /** Times are ticks of the simulation. */
  readonly atTick: number;
  readonly seenTick: number;
}

type Fault = 'none' | 'lost' | 'changed by others';

/** A source that changes one row, and a lane that brings it to a target some time later. */
class RowHistory {
  readonly #random: Random;
  readonly fault: Fault;
  readonly commits: Commit[] = [];
  readonly #values: number;
  readonly #changeRate: number;
  readonly #slowness: number;
  tick = 0;
  lsn = 100;
  #busyUntil: number;
  #applied = 0;
  #lost = -1;
  #version = 0;
  target: RowSight = { cells: null, version: null };
  place = 100;

  constructor(random: Random, fault: Fault) {
    this.#random = random;
    this.fault = fault;
    this.#values = 1 + random.below(4);
    this.#changeRate = random.chance(0.3) ? 0.4 : 0.05;
    this.#slowness = random.chance(0.5) ? 0.1 : 0.5;
    this.#busyUntil = 30 + random.below(150);
    if (fault === 'lost') this.#lost = random.below(8);
    if (random.chance(0.7)) {
      // The row is there from the start, at both ends.
      this.commits.push({ lsn: 50, cells: 'v0', atTick: -1, seenTick: -1 });
      this.#applied = 1;
      this.target = { cells: 'v0', version: 't0' };
    }
  }

  get isQuiet(): boolean {
    return this.tick > this.#busyUntil + 60;
  }

  /** The row as whoever looks now sees it. */
  get seen(): Commit | undefined {
    return this.commits.findLast(({ seenTick }) => seenTick <= this.tick);
  }

  get sourceSight(): RowSight {
    const seen = this.seen;
    return seen === undefined || seen.cells === null ? { cells: null, version: null } : { cells: seen.cells, version: `s${seen.lsn}` };
  }

  /** Whether a commit is in the log that others don't see. */
  get inLimbo(): boolean {
    return this.commits.some(({ atTick, seenTick }) => atTick <= this.tick && seenTick > this.tick);
  }

  /** What the target should hold at its lane's place. */
  get right(): string | null {
    return this.commits[this.#applied - 1]?.cells ?? null;
  }

  step(): void {
    const random = this.#random;
    this.tick++;
    if (random.chance(0.3)) this.lsn += 1 + random.below(3); // Others write as well.
    // A row is changed by one transaction after the other: the next waits until the one before is seen.
    if (this.tick < this.#busyUntil && !this.inLimbo && random.chance(this.#changeRate)) {
      const present = this.commits.at(-1)?.cells ?? null;
      const cells = present !== null && random.chance(0.3) ? null : `v${random.below(this.#values)}`;
      if (present !== null || cells !== null) {
        this.lsn += 5;
        const limbo = random.chance(0.5) ? 0 : random.below(random.chance(0.2) ? 40 : 5);
        this.commits.push({ lsn: this.lsn, cells, atTick: this.tick, seenTick: this.tick + limbo });
      }
    }
    if (random.chance(this.#slowness)) this.#apply();
    if (this.fault === 'changed by others' && this.tick === 20) this.#write(random.chance(0.5) ? null : 'other');
  }

  /** The lane applies what was committed, in one batch, and stands behind it. */
  #apply(): void {
    const upTo =
      this.isQuiet || this.#random.chance(0.5)
        ? this.commits.length
        : this.#applied + this.#random.below(this.commits.length - this.#applied + 1);
    const last = this.commits[upTo - 1];
    const batch = Array.from({ length: upTo - this.#applied }, (_, i) => this.#applied + i).filter((n) => n !== this.#lost);
    const newest = batch.at(-1);
    this.#applied = upTo;
    if (upTo === this.commits.length) this.place = this.lsn;
    else if (last !== undefined && last.lsn > this.place) this.place = last.lsn;
    if (newest !== undefined) this.#write(this.commits[newest]?.cells ?? null);
  }

  #write(cells: string | null): void {
    this.target = { cells, version: cells === null ? null : `t${++this.#version}` };
  }
}

/** Looks in turn, as the comparison does, until it is known or time is up. */
function judged(random: Random, history: RowHistory): { judgement: 'equal' | 'differs' | null; wasRight: boolean } {
  const judge = new Judge();
  const wait = (most: number): void => {
    for (let n = random.below(most); n >= 0; n--) history.step();
  };
  wait(60);
  for (let looks = 0; looks < 200; looks++) {
    // By the time that the source is looked at, the target may be right again.
    const wasRight = history.target.cells === history.right;
    const there = judge.seeTarget(history.target, hex(history.place));
    if (there === 'equal' || there === 'differs') return { judgement: there, wasRight };
    const wasInLimbo = history.inLimbo;
    wait(6);
    // As by transactions that were under way at both moments.
    const settled = !(wasInLimbo && history.inLimbo) && !random.chance(0.1);
    const sight = history.sourceSight;
    // The place is asked for a moment after the rows.
    const here = judge.seeSource(sight, hex(history.lsn + random.below(3)), settled);
    if (here === 'equal' || here === 'differs') return { judgement: here, wasRight };
    wait(6);
  }
  return { judgement: null, wasRight: true };
}

const hex = (lsn: number): string => lsn.toString(16).padStart(16, '0');

test.each<[Fault]>([['none'], ['lost'], ['changed by others']])('a row with the fault: %s', (fault) => {
  const outcomes = { equal: 0, differs: 0 };
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const random = new Random(seed);
    const history = new RowHistory(random, fault);
    const at = `seed ${seed}`;
    const live = judged(random, history);
    if (live.judgement === null) throw new Error(`${at}: nothing was found out`);
    if (live.judgement === 'differs') expect([at, live.wasRight]).toEqual([at, false]);
    outcomes[live.judgement]++;
    // Whatever was said while it changed: once all is quiet, it says what is.
    while (!history.isQuiet) history.step();
    for (let n = 0; n < 100; n++) history.step();
    const quiet = judged(random, history).judgement;
    expect([at, quiet]).toEqual([at, history.target.cells === history.right ? 'equal' : 'differs']);
    if (quiet === 'differs') outcomes.differs++;
  }
  if (fault === 'none') expect(outcomes.differs).toBe(0);
  else expect(outcomes.differs).toBeGreaterThan(SEEDS / 20);
});

test('a state of the source that the target has passed makes it equal no more', () => {
  const judge = new Judge();
  const row = (cells: string): RowSight => ({ cells, version: cells });
  expect(judge.seeTarget(row('a'), hex(10))).toBeNull();
  expect(judge.seeSource(row('b'), hex(20), true)).toBeNull();
  expect(judge.seeSource(row('c'), hex(30), true)).toBeNull();
  // It had b on its way, and stands behind c: the change to c is lost.
  expect(judge.seeTarget(row('b'), hex(30))).toBeNull();
  expect(judge.seeSource(row('c'), hex(30), true)).toBe('differs');
});
