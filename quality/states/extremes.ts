/** Extremes: the least and the greatest value. Nothing can be taken back: the second least is not known. */
import { compareCells, type Present } from './cell.ts';
import { decodeCell, type Encoded, encodeCell, fieldsOf, type State, type StateKind } from './state.ts';

export class Extremes implements State {
  least: Present | null = null;
  greatest: Present | null = null;

  add(cell: Present): void {
    if (this.least === null || compareCells(cell, this.least) < 0) this.least = cell;
    if (this.greatest === null || compareCells(cell, this.greatest) > 0) this.greatest = cell;
  }

  get isEmpty(): boolean {
    return this.least === null;
  }

  encode(): Encoded {
    if (this.least === null || this.greatest === null) return {};
    return { least: encodeCell(this.least), greatest: encodeCell(this.greatest) };
  }
}

export const extremes: StateKind<Extremes> = {
  name: 'extremes',
  retracts: false,
  size: 'fixed',
  create: () => new Extremes(),
  merge: (into, from) => {
    if (from.least !== null) into.add(from.least);
    if (from.greatest !== null) into.add(from.greatest);
    return into;
  },
  decode: (encoded) => {
    const state = new Extremes();
    const { least, greatest } = fieldsOf(encoded);
    if (least !== undefined) state.add(decodeCell(least));
    if (greatest !== undefined) state.add(decodeCell(greatest));
    return state;
  },
};
