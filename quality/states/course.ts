/**
 * The course of a column: its values with the times of their rows, so that they can be put in the order of time however they came. Rows of one
 * time have no order among each other.
 */
import { compareCells, keyOf, type Present, Unusable } from './cell.ts';
import { decodeCell, type Encoded, encodeCell, listOf, type State, type StateKind, wholeOf } from './state.ts';

/** A value, and when its row happened: what a `Course` takes as a cell. */
export class Timed {
  readonly micros: number | bigint;
  readonly value: Present;

  constructor(micros: number | bigint, value: Present) {
    this.micros = micros;
    this.value = value;
  }
}

interface Kept extends Timed {
  readonly count: number;
}

export class Course implements State {
  readonly #kept = new Map<string, Kept>();

  add(cell: Present): void {
    this.#put(cell, 1);
  }

  retract(cell: Present): void {
    this.#put(cell, -1);
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  get held(): number {
    return this.#kept.size;
  }

  /** How many values there are, and how many of them are less (1) or greater (-1) than one of the time before theirs, or, with `strictly`, equal to it. A NaN is out of order. */
  outOfOrder(direction: 1 | -1, strictly: boolean): { readonly count: number; readonly failed: number } {
    let [total, failed] = [0, 0];
    /** The value that lies farthest, of the time before this one and of this one. */
    let [before, farthest]: [Present | null, Present | null] = [null, null];
    let time: number | bigint | null = null;
    for (const { micros, value, count } of this.#sorted()) {
      if (count < 0) continue; // Taken back, and never there.
      total += count;
      if (Number.isNaN(value)) {
        failed += count;
        continue;
      }
      if (micros !== time) [before, farthest, time] = [farthest, null, micros];
      if (before !== null && compareCells(value, before) * direction < (strictly ? 1 : 0)) failed += count;
      if (farthest === null || compareCells(value, farthest) * direction > 0) farthest = value;
    }
    return { count: total, failed };
  }

  merge(from: Course): this {
    for (const { micros, value, count } of from.#kept.values()) this.#add(micros, value, count);
    return this;
  }

  encode(): Encoded {
    return this.#sorted().map(({ micros, value, count }) => [encodeCell(micros), encodeCell(value), count]);
  }

  static decode(encoded: Encoded): Course {
    const course = new Course();
    for (const entry of listOf(encoded)) {
      const [micros, value, count] = listOf(entry);
      const time = decodeCell(micros);
      if (typeof time !== 'number' && typeof time !== 'bigint') throw new Error('an encoded course has its times in microseconds');
      course.#add(time, decodeCell(value), wholeOf(count));
    }
    return course;
  }

  #put(cell: Present, times: 1 | -1): void {
    if (!(cell instanceof Timed)) throw new Unusable('the rows have no times');
    if (typeof cell.value === 'string') throw new Unusable('column holds texts, and only numbers and dates increase.');
    this.#add(cell.micros, cell.value, times);
  }

  #add(micros: number | bigint, value: Present, times: number): void {
    const key = `${micros} ${String(keyOf(value))}`;
    const count = (this.#kept.get(key)?.count ?? 0) + times;
    if (count === 0) this.#kept.delete(key);
    else this.#kept.set(key, { micros, value, count });
  }

  /** By time, and those of one time by value. */
  #sorted(): Kept[] {
    return [...this.#kept.values()].sort((a, b) =>
      a.micros < b.micros ? -1 : a.micros > b.micros ? 1 : compareCells(a.value, b.value) || 0,
    );
  }
}

export const course: StateKind<Course> = {
  name: 'course',
  retracts: true,
  size: 'timed values',
  create: () => new Course(),
  merge: (into, from) => into.merge(from),
  retract: (state, cell) => state.retract(cell),
  decode: (encoded) => Course.decode(encoded),
};
