/** Bounds on what a window observed. */
import { compareCells, Moment, type Present, Unusable } from '../states/cell.ts';
import type { Interval } from '../states/sketch.ts';

export interface Bounds {
  /** null: open. */
  readonly min: Present | null;
  readonly max: Present | null;
  readonly strictMin: boolean;
  readonly strictMax: boolean;
}

/** Throws `Unusable` where the value has no order with a bound. A text beside a moment is read by `readDate`. */
export function isWithin(value: Present, bounds: Bounds, readDate: (text: string) => Moment | null): boolean {
  const compare = (bound: Present): number => {
    const other = typeof bound === 'string' && value instanceof Moment ? readDate(bound) : bound;
    if (other === null) throw new Unusable('a bound is no date, and the column is one. Write it as 2026-11-24 or 2026-11-24T13:45:00.');
    return compareCells(value, other);
  };
  const { min, max, strictMin, strictMax } = bounds;
  const above = min === null ? true : strictMin ? compare(min) > 0 : compare(min) >= 0;
  const below = max === null ? true : strictMax ? compare(max) < 0 : compare(max) <= 0;
  return above && below;
}

/** true where all of the interval lies within, false where none of it does, null where it is cut by a bound. */
export function liesWithin({ low, high }: Interval, bounds: Bounds, readDate: (text: string) => Moment | null): boolean | null {
  const isIn = (value: Present, sides: Partial<Bounds>) =>
    isWithin(value, { min: null, max: null, strictMin: false, strictMax: false, ...sides }, readDate);
  const { min, max, strictMin, strictMax } = bounds;
  if (!isIn(high, { min, strictMin }) || !isIn(low, { max, strictMax })) return false;
  return isWithin(low, bounds, readDate) && isWithin(high, bounds, readDate) ? true : null;
}
