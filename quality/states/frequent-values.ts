/**
 * The most frequent values of many, each with bounds on how often it is there.
 *
 * Misra, Gries: Finding repeated elements (1982), put together as in Agarwal, Cormode, Huang, Phillips, Wei, Yi: Mergeable summaries (2012): where there
 * are too many counters, the count of the (k + 1)th is taken from all of them, and those without anything left are gone. More than k counters lose it each
 * time, so that none of n values has lost more than n / (k + 1). What is taken back is counted by a second one of these; the bounds of the difference are those of both.
 */
import { keyOf, type Present } from './cell.ts';
import type { Sketch, SketchKind } from './sketch.ts';
import { decodeCell, type Encoded, encodeCell, fieldsOf, listOf, textBytesOf, wholeOf } from './state.ts';

/** Counters that are left when there were too many; there are twice as many before. */
export const COUNTERS = 1024;
const COUNTER_BYTES = 120;
/** Of them, for a text. */
const TEXT_BYTES = 64;

export interface Frequent {
  readonly value: Present;
  readonly low: number;
  readonly high: number;
}

export class FrequentValues implements Sketch {
  readonly #added = new Summary();
  readonly #taken = new Summary();

  put(cell: Present, times: number): void {
    if (times > 0) this.#added.put(keyOf(cell), cell, times);
    else if (times < 0) this.#taken.put(keyOf(cell), cell, -times);
  }

  get bytes(): number {
    return COUNTER_BYTES * (this.#added.size + this.#taken.size) + this.#added.textBytes + this.#taken.textBytes + 200;
  }

  /** Of a whole window: the values that are counted, those that are surely there most often first. */
  get counted(): Frequent[] {
    const { error } = this.#added;
    return [...this.#added.entries()]
      .map(([key, value, count]) => {
        const taken = this.#taken.countOf(key);
        return { value, low: Math.max(0, count - taken - this.#taken.error), high: Math.max(0, count + error - taken) };
      })
      .sort((a, b) => b.low - a.low || b.high - a.high);
  }

  /** No value that is not counted is there more often. */
  get uncounted(): number {
    return this.#added.error;
  }

  merge(from: FrequentValues): this {
    this.#added.merge(from.#added);
    this.#taken.merge(from.#taken);
    return this;
  }

  encode(): Encoded {
    return { added: this.#added.encode(), taken: this.#taken.encode() };
  }

  static decode(encoded: Encoded): FrequentValues {
    const { added, taken } = fieldsOf(encoded);
    const sketch = new FrequentValues();
    sketch.#added.restore(added);
    sketch.#taken.restore(taken);
    return sketch;
  }
}

class Summary {
  readonly #counts = new Map<unknown, number>();
  /** Values that are not their own keys. */
  readonly #values = new Map<unknown, Present>();
  /** What each count may have lost. */
  error = 0;

  get size(): number {
    return this.#counts.size;
  }

  /** Beyond what each counter is counted with. */
  get textBytes(): number {
    let bytes = 0;
    for (const key of this.#counts.keys()) bytes += Math.max(0, textBytesOf(key) - TEXT_BYTES);
    return bytes;
  }

  countOf(key: unknown): number {
    return this.#counts.get(key) ?? 0;
  }

  *entries(): Iterable<readonly [unknown, Present, number]> {
    for (const [key, count] of this.#counts) yield [key, this.#values.get(key) ?? (key as Present), count];
  }

  put(key: unknown, cell: Present, times: number): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + times);
    if (key !== cell) this.#values.set(key, cell);
    if (this.#counts.size > 2 * COUNTERS) this.#lessen();
  }

  merge(from: Summary): void {
    this.error += from.error;
    for (const [key, value, count] of from.entries()) this.put(key, value, count);
  }

  encode(): Encoded {
    return [this.error, ...[...this.entries()].map(([, value, count]) => [encodeCell(value), count])];
  }

  restore(encoded: Encoded | undefined): void {
    const [error, ...entries] = listOf(encoded);
    this.error = wholeOf(error, 0);
    if (entries.length > 2 * COUNTERS) throw new Error('a sketch holds more counters than it has');
    for (const entry of entries) {
      const [value, count] = listOf(entry);
      const cell = decodeCell(value);
      this.put(keyOf(cell), cell, wholeOf(count, 1));
    }
  }

  #lessen(): void {
    const counts = Float64Array.from(this.#counts.values()).sort();
    const lost = counts[counts.length - 1 - COUNTERS] ?? 0;
    this.error += lost;
    for (const [key, count] of this.#counts) {
      if (count > lost) this.#counts.set(key, count - lost);
      else {
        this.#counts.delete(key);
        this.#values.delete(key);
      }
    }
  }
}

export const frequentValues: SketchKind<FrequentValues> = {
  id: 'frequent',
  create: () => new FrequentValues(),
  merge: (into, from) => into.merge(from),
  decode: (encoded) => FrequentValues.decode(encoded),
};
