/** immutable and transitions: what an update may do to a column, by its old and its new value. */
import { compareDecimalTexts } from '../../core/expression/decimal.ts';
import { CELL_UNCHANGED, type ChangeEvent, type Column, type EncodedRow, UNCHANGED, type Value } from '../../core/event.ts';
import { isCaseless, isPadded, unpadded } from '../../core/expression/columns.ts';
import { lengthOf, offsetOf, sameBytes } from '../encoded/cells.ts';
import { columnOf, defineExpectation, type Site, type Test, typeOf } from '../expectation.ts';
import { Unreadable } from '../literals.ts';
import { Outcome } from '../outcome.ts';

export const immutable = defineExpectation({
  name: 'immutable',
  bare: true,
  judgesNulls: true,
  needsBefore: true,
  schema: {
    const: true,
    title: 'Immutable',
    description: 'No update changes the column. Needs the old row (REPLICA IDENTITY FULL), or the column in the key.',
  },
  bind: (_, site) => {
    const column = columnOf(site);
    const same = column.type === 'decimal' ? sameDecimal : isCaseless(column) ? sameInAnyCase : sameValue;
    return {
      columns: [column.index],
      reason: 'was changed, and is immutable',
      test: changeTest(site, (before, after) => same(before, after)),
    };
  },
});

export const transitions = defineExpectation({
  name: 'transitions',
  judgesNulls: true,
  needsBefore: true,
  schema: {
    type: 'object',
    title: 'Transitions',
    description:
      'The values an update may move each value to ({new: [paid, cancelled], paid: []}). Keeping the value is always allowed; a value that is not named here has no way out.',
    minProperties: 1,
    additionalProperties: { type: 'array', items: { type: ['string', 'number', 'boolean'] } },
  },
  bind: (parameters, site) => {
    const column = columnOf(site);
    if (column.type !== 'text' && column.type !== 'integer' && column.type !== 'boolean' && column.type !== 'other') {
      return site.refuse(
        `${column.name} is ${typeOf(column)}, and transitions are for texts and whole numbers`,
        'Use an expr with before and after.',
      );
    }
    const states = Object.keys(parameters);
    const key = keyOf(column);
    const allowed = new Map<string, ReadonlySet<string>>();
    let valid = true;
    for (const [from, targets] of Object.entries(parameters)) {
      const isValue =
        column.type === 'integer' ? /^(?:0|-?[1-9]\d*)$/.test(from) : column.type !== 'boolean' || from === 'true' || from === 'false';
      if (!isValue) {
        const fix = column.type === 'integer' ? 'Write whole numbers.' : 'Write true and false.';
        site.refuse(`"${from}" is no value of ${column.name}, which is ${typeOf(column)}`, fix, from);
        valid = false;
      }
      for (const [index, to] of targets.entries()) {
        if (states.includes(String(to))) continue;
        const fix = `Add "${String(to)}: []" (nothing leads out of it), or correct the name.`;
        site.refuse(`"${String(to)}" is no state of its own`, fix, from, index);
        valid = false;
      }
      allowed.set(key(from), new Set(targets.map(key)));
    }
    if (!valid) return null;
    if (states.every((from) => states.every((to) => from === to || allowed.get(from)?.has(to) === true)) && states.length > 1) {
      site.warn('every state may become every other, so only unnamed values can fail', 'Use in_set.');
    }
    return {
      columns: [column.index],
      reason: 'moved to a value that its old value does not lead to',
      // A value that appears from null starts somewhere, and one that becomes null has ended: not_null judges those.
      test: changeTest(site, (before, after) => {
        if (before === null || after === null || before === after) return true;
        const [from, to] = [key(before), key(after)];
        return from === to || allowed.get(from)?.has(to) === true;
      }),
    };
  },
});

/** The name of a value's state. */
function keyOf(column: Column): (value: Exclude<Known, null>) => string {
  if (isPadded(column)) return (value) => unpadded(String(value));
  return isCaseless(column) ? (value) => String(value).toLowerCase() : String;
}

export type Known = Exclude<Value, typeof UNCHANGED>;

/** Judges updates alone; an old value that was not sent goes by the policy `no_before`, a new one that was not sent did not change. */
export function changeTest(site: Site, allows: (before: Known, after: Known) => boolean): Test {
  const { index } = columnOf(site);
  const unknown = site.noBefore === 'fail' ? Outcome.Unreadable : Outcome.Pass;
  return (_, event: ChangeEvent) => {
    if (event.op !== 'update') return Outcome.Pass;
    if (event.before !== null && isUntouched(event.before.encoded, event.after.encoded, 2 * index)) return Outcome.Pass;
    const after = event.after.value(index);
    if (after === UNCHANGED) return Outcome.Pass;
    const before = event.before === null ? UNCHANGED : event.before.value(index);
    if (before === UNCHANGED) return unknown;
    return allows(before, after) ? Outcome.Pass : Outcome.Fail;
  };
}

/** Equal bytes of one relation are equal values: most updates leave most columns alone, and nothing has to be read of them. */
function isUntouched(before: EncodedRow | null, after: EncodedRow | null, at: number): boolean {
  if (before === null || after === null || before.types !== after.types) return false;
  const length = lengthOf(after, at);
  if (length !== lengthOf(before, at) || length === CELL_UNCHANGED) return false;
  return length < 0 || sameBytes(before.bytes, offsetOf(before, at), after.bytes, offsetOf(after, at), length);
}

function sameInAnyCase(a: Known, b: Known): boolean {
  return a === b || (typeof a === 'string' && typeof b === 'string' && a.toLowerCase() === b.toLowerCase());
}

function sameValue(a: Known, b: Known): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return typeof a === 'number' && typeof b === 'number' && Number.isNaN(a) && Number.isNaN(b);
}

/** 1.0 and 1.00 are one number. */
function sameDecimal(a: Known, b: Known): boolean {
  if (a === b) return true;
  if (a === null || b === null) return false;
  if (typeof a !== 'string' || typeof b !== 'string') throw new Unreadable('not a decimal');
  return a !== 'NaN' && b !== 'NaN' && compareDecimalTexts(a, b) === 0;
}
