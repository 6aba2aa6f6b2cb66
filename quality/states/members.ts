/** How often each value of a given set is there, and how many values are others: exact, whatever the others are, and all of it can be taken back. */
import { createHash } from 'node:crypto';
import type { Present } from './cell.ts';
import type { Sketch, SketchKind } from './sketch.ts';
import { type Encoded, fieldsOf, wholeOf } from './state.ts';
import { ValueCounts } from './value-counts.ts';

const MEMBER_BYTES = 120;

export class Members implements Sketch {
  readonly counts: ValueCounts;
  readonly #isMember: (cell: Present) => boolean;
  #others: number;

  constructor(isMember: (cell: Present) => boolean, counts = new ValueCounts(), others = 0) {
    this.#isMember = isMember;
    this.counts = counts;
    this.#others = others;
  }

  put(cell: Present, times: number): void {
    if (this.#isMember(cell)) this.counts.put(cell, times);
    else this.#others += times;
  }

  get bytes(): number {
    return MEMBER_BYTES * this.counts.distinct + 100;
  }

  get others(): number {
    return this.#others;
  }

  get total(): number {
    return this.counts.total + this.#others;
  }

  merge(from: Members): this {
    this.counts.merge(from.counts);
    this.#others += from.#others;
    return this;
  }

  encode(): Encoded {
    return { counts: this.counts.encode(), others: this.#others };
  }
}

/** `wanted`: the set as it is written. Another set counts other values, and is kept under another name. */
export function members(wanted: readonly unknown[], isMember: (cell: Present) => boolean): SketchKind<Members> {
  const text = JSON.stringify(wanted, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
  return {
    id: `members ${createHash('sha256').update(text).digest('hex').slice(0, 16)}`,
    create: () => new Members(isMember),
    merge: (into, from) => into.merge(from),
    decode: (encoded) => {
      const { counts, others } = fieldsOf(encoded);
      return new Members(isMember, ValueCounts.decode(counts ?? null), wholeOf(others));
    },
  };
}
