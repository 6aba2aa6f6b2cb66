/** The spread of more numbers than there is room for: their sums, exact, beside how many lie in each cell of a grid. Gives how many lie how far from their mean. */
import type { Present } from './cell.ts';
import { QuantileSketch } from './quantile-sketch.ts';
import type { Sketch, SketchKind } from './sketch.ts';
import { type Encoded, fieldsOf } from './state.ts';
import { Sums } from './sums.ts';

const SUMS_BYTES = 600;

export class Spread implements Sketch {
  readonly sums: Sums;
  readonly cells: QuantileSketch;

  constructor(sums = new Sums(), cells = new QuantileSketch()) {
    this.sums = sums;
    this.cells = cells;
  }

  put(cell: Present, times: number): void {
    for (let left = times; left > 0; left--) this.sums.add(cell);
    for (let left = times; left < 0; left++) this.sums.retract(cell);
    this.cells.put(cell, times);
  }

  get bytes(): number {
    return SUMS_BYTES + this.cells.bytes;
  }

  encode(): Encoded {
    return { sums: this.sums.encode(), cells: this.cells.encode() };
  }
}

export const spread: SketchKind<Spread> = {
  id: 'spread',
  create: () => new Spread(),
  merge: (into, from) => {
    into.sums.merge(from.sums);
    into.cells.merge(from.cells);
    return into;
  },
  decode: (encoded) => {
    const { sums, cells } = fieldsOf(encoded);
    return new Spread(Sums.decode(sums ?? null), QuantileSketch.decode(cells ?? null));
  },
};
