/** `mostly`: the share of the rows of a window that pass a check of rows. */
import { bindCheck } from '../bind.ts';
import type { Check, Contract } from '../contract.ts';
import { Outcome } from '../outcome.ts';
import { CELL_NULL, CELL_UNCHANGED, type ChangeEvent, type Dataset, type EncodedType, type Row, UNCHANGED } from '../../core/event.ts';
import { type EncodedTest, lengthOf, Undecided } from '../encoded/cells.ts';
import type { Bound } from '../expectation.ts';
import { ignoredRows } from '../ignored-rows.ts';
import type { Present } from '../states/cell.ts';
import { type Encoded, listOf, type State, type StateKind } from '../states/state.ts';
import { type WindowCheck, windowCheck } from '../windows/check.ts';
import { type ReadCell, UNSEEN, unseen } from './cells.ts';

/** How many rows passed, and how many did not. Its cells are true and false. */
class Share implements State {
  passed = 0;
  failed = 0;

  add(cell: Present): void {
    this.count(cell, 1);
  }

  count(cell: Present, times: 1 | -1): void {
    if (cell === true) this.passed += times;
    else this.failed += times;
  }

  get isEmpty(): boolean {
    return this.passed === 0 && this.failed === 0;
  }

  encode(): Encoded {
    return [this.passed, this.failed];
  }
}

const share: StateKind<Share> = {
  name: 'share',
  retracts: true,
  size: 'fixed',
  create: () => new Share(),
  merge: (into, from) => {
    into.passed += from.passed;
    into.failed += from.failed;
    return into;
  },
  retract: (state, cell) => state.count(cell, -1),
  decode: (encoded) => {
    const state = new Share();
    const [passed, failed] = listOf(encoded).map(Number);
    state.passed = passed ?? 0;
    state.failed = failed ?? 0;
    return state;
  },
};

/** As over files: of the rows that have a value, so many pass; where none has, all do. */
export function shareCheck(mostly: number): WindowCheck {
  return windowCheck(share, ({ passed, failed }: Share) => {
    const judged = passed + failed;
    return judged === 0 ? { success: true, observed: null } : { success: passed / judged >= mostly, observed: passed / judged };
  });
}

/** The test of encoded rows of these types: most rows that come are of those of the last one. */
function byTypes(make: Bound['encoded']): (types: readonly EncodedType[]) => EncodedTest | null {
  let last: readonly EncodedType[] | null = null;
  let test: EncodedTest | null = null;
  return (types) => {
    if (types !== last) {
      last = types;
      test = make?.(types) ?? null;
    }
    return test;
  };
}

/** Whether a row passes; null where it has no value and the check skips such, or ignores it. */
export function shareReader(check: Check, { place, schemaFiles }: Pick<Contract, 'place' | 'schemaFiles'>, dataset: Dataset): ReadCell {
  const bound = bindCheck(check, { dataset, place, schemaFiles, problems: [] });
  if (bound === null) return unseen;
  const skipsNulls = !check.expectation.judgesNulls && check.nulls === 'skip' && check.column !== null;
  const { columns, test, isMissing } = bound;
  const encodedTest = byTypes(bound.encoded);
  const isIgnored = ignoredRows(check, bound);
  const skipped = skipsNulls ? (columns[0] ?? -1) : -1;
  return (row: Row, _other: Row | null, event: ChangeEvent) => {
    const { encoded } = row;
    if (encoded !== null && isIgnored === null) {
      for (let at = 0; at < columns.length; at++) {
        const column = columns[at] ?? -1;
        const length = lengthOf(encoded, 2 * column);
        if (length >= 0) continue;
        if (length === CELL_NULL && column === skipped) return null;
        if (length === CELL_UNCHANGED) return UNSEEN;
      }
      const said = encodedTest(encoded.types)?.(encoded, event) ?? Undecided;
      if (said !== Undecided) return said === Outcome.Pass;
    }
    try {
      for (const column of columns) {
        const value = row.value(column);
        if (column === skipped && (value === null || isMissing?.(row, column) === true)) return null;
        // The stage that judges rows lets a cell pass that was not sent: here that would count as one that is right.
        if (value === UNCHANGED) return UNSEEN;
      }
      if (isIgnored?.(row) === true) return null;
      return test(row, event) === Outcome.Pass;
    } catch {
      return false;
    }
  };
}
