/** Extremes: the least and the greatest value. Nothing can be taken back: the second least is not known. */
import { Decimal } from '../../core/expression/values.ts';
import { compareCells, type Present } from './cell.ts';
import { decodeCell, type Encoded, encodeCell, fieldsOf, type State, type StateKind } from './state.ts';

export class Extremes implements State {
  least: Present | null = null;
  greatest: Present | null = null;

  add(cell: Present): void {
    if (this.least === null || compareCells(cell, this.least) < 0) this.least = cell;
    if (this.greatest === null || compareCells(cell, this.greatest) > 0) this.greatest = cell;
  }

  /** Adds a decimal by its digits: most lie between what is known, and need not be made. */
  addDigits(digits: number, scale: number): true {
    const { least, greatest } = this;
    const isBetween =
      least instanceof Decimal &&
      greatest instanceof Decimal &&
      least.scale === scale &&
      greatest.scale === scale &&
      digits >= least.digits &&
      digits <= greatest.digits;
    if (!isBetween) this.add(new Decimal(digits, scale));
    return true;
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
