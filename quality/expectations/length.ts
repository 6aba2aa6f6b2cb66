/** length: of texts in code points, of bytes in bytes. */
import { codePoints } from '../../core/expression/calls.ts';
import { textLength } from '../encoded/tests.ts';
import { type Cell, cellTests, columnOf, defineExpectation, typeOf } from '../expectation.ts';
import { Unreadable } from '../literals.ts';
import { lengthMax } from '../type-limits.ts';

const count = { type: 'integer', minimum: 0 } as const;

export const length = defineExpectation({
  name: 'length',
  schema: {
    title: 'Length',
    description: 'The text has so many characters (code points), the bytes so many bytes: a number, or bounds.',
    anyOf: [
      { ...count, description: 'Exactly so many.' },
      {
        type: 'object',
        additionalProperties: false,
        minProperties: 1,
        properties: {
          min: { ...count, description: 'At least so many.' },
          max: { ...count, description: 'At most so many.' },
          strict_min: { type: 'boolean', default: false, description: 'More than min.' },
          strict_max: { type: 'boolean', default: false, description: 'Fewer than max.' },
        },
      },
    ],
  },
  bind: (parameters, site) => {
    const column = columnOf(site);
    if (column.type !== 'text' && column.type !== 'bytes' && column.type !== 'json' && column.type !== 'other') {
      return site.refuse(`${column.name} is ${typeOf(column)}, which has no length`, 'Use between for numbers and times.');
    }
    const bounds = typeof parameters === 'number' ? { min: parameters, max: parameters } : parameters;
    const min = (bounds.min ?? 0) + ('strict_min' in bounds && bounds.strict_min ? 1 : 0);
    const max = (bounds.max ?? Infinity) - ('strict_max' in bounds && bounds.strict_max ? 1 : 0);
    const longest = lengthMax(column);
    if (min > longest) return site.refuse(`min is longer than every ${column.native}, so it always fails`, 'Lower it.');
    if (min === 0 && max >= longest && max < Infinity)
      return site.refuse(`allows every ${column.native}, so it can never fail`, 'Give it a min above 0, a smaller max, or both.');
    if (min > max) return site.refuse('no length satisfies min and max, so it always fails', 'Exchange or widen them.');
    if (min === 0 && max === Infinity)
      return site.refuse('allows every length, so it can never fail', 'Give it a min above 0, a max, or both.');
    const passes = (cell: Cell) => {
      // The code points of a text are at most its code units and at least half of them: mostly no counting is needed.
      if (typeof cell === 'string') {
        if (cell.length < min || (cell.length + 1) >> 1 > max) return false;
        if (cell.length <= max && (cell.length + 1) >> 1 >= min) return true;
        const points = codePoints(cell);
        return points >= min && points <= max;
      }
      if (!(cell instanceof Uint8Array)) throw new Unreadable('has no length');
      return cell.length >= min && cell.length <= max;
    };
    const reason =
      min === max
        ? `is not ${min} long`
        : max === Infinity
          ? `is shorter than ${min}`
          : min === 0
            ? `is longer than ${max}`
            : `is not between ${min} and ${max} long`;
    return { ...cellTests(site, passes, textLength(min, max)), reason, columns: [column.index] };
  },
});
