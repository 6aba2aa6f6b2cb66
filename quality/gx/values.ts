/** Expectations of single cells by their value: sets, bounds, lengths, order. */
import { codePoints } from '../../core/expression/calls.ts';
import { compareCells, type FileCell, keyOf, kindOf, Moment, type Present, Unusable } from '../states/cell.ts';
import { OF_TYPE } from '../expectations/of-type.ts';
import { PER_KEY } from '../expectations/order.ts';
import { kindOfWord, type WordKind } from '../type-words.ts';
import { parseDate } from './dates.ts';
import { defineMap, type GxExpectation, type Word } from './expectation.ts';
import { orderWindow } from '../windows/order.ts';
import { rowsOf } from '../windows/words.ts';
import { BOUNDS, type Kwargs, refuse } from './kwargs.ts';

export const inSet = defineMap({
  name: 'expect_column_values_to_be_in_set',
  takes: ['value_set'],
  bind: (kwargs) => {
    const isMember = membership(kwargs.valueSet(), kwargs);
    return isMember ?? (() => true);
  },
});

export const notInSet = defineMap({
  name: 'expect_column_values_to_not_be_in_set',
  takes: ['value_set'],
  bind: (kwargs) => {
    const isMember = membership(kwargs.valueSet(), kwargs);
    return isMember === null ? () => true : (cell) => !isMember(cell);
  },
});

/** Whether a value is one of a set; null where there is no set. Dates of the set that are texts are read for cells that are moments. */
export function membership(values: readonly FileCell[] | null, kwargs: Kwargs): ((cell: FileCell) => boolean) | null {
  if (values === null) return null;
  const keys = new Set(values.map(keyOf));
  let moments: ReadonlySet<unknown> | null = null;
  return (cell) => {
    if (!(cell instanceof Moment)) return keys.has(keyOf(cell));
    moments ??= new Set(values.map((value) => keyOf(typeof value === 'string' ? (parseDate(value, kwargs.nowMs) ?? value) : value)));
    return moments.has(keyOf(cell));
  };
}

export const between = defineMap({
  name: 'expect_column_values_to_be_between',
  takes: BOUNDS,
  bind: (kwargs) => {
    const { min, max, strictMin, strictMax } = kwargs.orderedBounds();
    if (min === null && max === null) refuse('min_value and max_value', 'cannot both be None', 'Give one of them.');
    const [low, high] = [comparison(min, 'min_value', kwargs), comparison(max, 'max_value', kwargs)];
    const [least, most] = [strictMin ? 1 : 0, strictMax ? -1 : 0];
    return (cell) => (low === null || low(cell) >= least) && (high === null || high(cell) <= most);
  },
});

/** Compares a cell with a bound; a text beside a moment is read as a date, whichever of the two is the text. */
function comparison(bound: Present | null, name: string, kwargs: Kwargs): ((cell: Present) => number) | null {
  if (bound === null) return null;
  const date = typeof bound === 'string' ? parseDate(bound, kwargs.nowMs) : null;
  return (cell) => {
    if (typeof cell === 'number' && typeof bound === 'number') return cell < bound ? -1 : cell > bound ? 1 : cell === bound ? 0 : NaN;
    if (cell instanceof Moment && typeof bound === 'string') return compareCells(cell, date ?? kwargs.date(name, bound));
    if (typeof cell === 'string' && bound instanceof Moment) {
      const read = parseDate(cell, kwargs.nowMs);
      if (read === null) throw new Unusable(`${name} is a date, and the column holds texts that are none. Compare them as texts.`);
      return compareCells(read, bound);
    }
    if ((typeof cell === 'string') !== (typeof bound === 'string') || cell instanceof Moment !== bound instanceof Moment)
      throw new Unusable(`${name} and the column's values must be of the same type: one is a ${kindOf(bound)}, another a ${kindOf(cell)}.`);
    return compareCells(cell, bound);
  };
}

export const lengthBetween = defineMap({
  name: 'expect_column_value_lengths_to_be_between',
  takes: BOUNDS,
  bind: (kwargs) => {
    const [min, max] = [kwargs.whole('min_value'), kwargs.whole('max_value')];
    if (min === null && max === null) refuse('min_value and max_value', 'cannot both be None', 'Give one of them.');
    const least = (min ?? -Infinity) + (kwargs.flag('strict_min') ? 1 : 0);
    const most = (max ?? Infinity) - (kwargs.flag('strict_max') ? 1 : 0);
    return (cell) => {
      const length = lengthOf(cell);
      return length >= least && length <= most;
    };
  },
});

export const lengthEquals = defineMap({
  name: 'expect_column_value_lengths_to_equal',
  takes: ['value'],
  bind: (kwargs) => {
    const value = kwargs.number('value');
    return (cell) => lengthOf(cell) === value;
  },
});

function lengthOf(cell: Present): number {
  if (typeof cell === 'string') return codePoints(cell);
  if (Array.isArray(cell)) return cell.length;
  throw new Unusable(`column holds a ${kindOf(cell)}, which has no length. Name a column of texts.`);
}

function orderWord(name: string, than: string, passes: readonly number[], fails: readonly number[]): Word {
  return {
    name,
    on: 'column',
    level: 'row',
    bare: true,
    schema: {
      title: `${name[0]?.toUpperCase()}${name.slice(1)} values`,
      description: `Every value is ${than} than the one in the row before that has one; with strictly: true, it is another as well. In a window rows come in the order of source.event_time, and those of one time in none. With per: key it is about the changes of each row, and [asked of the target](keyed.md#increasing-and-decreasing).`,
      anyOf: [
        { const: true },
        {
          type: 'object',
          additionalProperties: false,
          properties: PER_KEY.properties,
        },
      ],
    },
    ofRows: 'per',
    kwargs: (parameters) => (parameters === true ? {} : (parameters as Readonly<Record<string, unknown>>)),
    example: { rule: `id: [${name}]`, passes: rowsOf('id', ...passes), fails: rowsOf('id', ...fails) },
  };
}

export const increasing: GxExpectation = {
  ...defineMap({
    name: 'expect_column_values_to_be_increasing',
    word: orderWord('increasing', 'not less', [1, 2, 2], [2, 1]),
    takes: ['strictly'],
    bind: (kwargs) => inOrder(kwargs, 1),
  }),
  window: (kwargs) => orderWindow(kwargs, 1),
};

export const decreasing: GxExpectation = {
  ...defineMap({
    name: 'expect_column_values_to_be_decreasing',
    word: orderWord('decreasing', 'not greater', [2, 2, 1], [1, 2]),
    takes: ['strictly'],
    bind: (kwargs) => inOrder(kwargs, -1),
  }),
  window: (kwargs) => orderWindow(kwargs, -1),
};

/** Against the last value that was there; the first passes. */
function inOrder(kwargs: Kwargs, direction: 1 | -1): (cell: Present) => boolean {
  const least = kwargs.flagOrNull('strictly') ? 1 : 0;
  let last: Present | null = null;
  return (cell) => {
    if (typeof cell === 'string') throw new Unusable('column holds texts, and only numbers and dates increase. Declare dates in --types.');
    const passes = last === null || compareCells(cell, last) * direction >= least;
    last = cell;
    return passes;
  };
}

const TYPES: Readonly<Record<WordKind, (cell: Present) => boolean>> = {
  integer: (cell) => typeof cell === 'bigint' || (typeof cell === 'number' && Number.isInteger(cell)),
  float: (cell) => typeof cell === 'number',
  number: (cell) => kindOf(cell) === 'number',
  text: (cell) => typeof cell === 'string',
  boolean: (cell) => typeof cell === 'boolean',
  moment: (cell) => cell instanceof Moment,
  nested: (cell) => kindOf(cell) === 'nested',
};

export const ofType = defineMap({
  name: 'expect_column_values_to_be_of_type',
  takes: ['type_'],
  bind: (kwargs) => typeTest(kwargs.text('type_'), 'type_'),
});

export const inTypeList = defineMap({
  name: 'expect_column_values_to_be_in_type_list',
  word: {
    name: 'of_type',
    on: 'column',
    level: 'row',
    schema: OF_TYPE,
    kwargs: (parameters) => ({ type_list: [parameters].flat() }),
    example: { rule: 'status: [{ of_type: str }]', passes: rowsOf('status', 'new', null), fails: rowsOf('status', 'new', 1) },
  },
  takes: ['type_list'],
  bind: (kwargs) => {
    if (kwargs.get('type_list') === null) return () => true;
    const tests = kwargs.texts('type_list').map((name) => typeTest(name, 'type_list'));
    return (cell) => tests.some((test) => test(cell));
  },
});

function typeTest(name: string, kwarg: string): (cell: Present) => boolean {
  const kind = kindOfWord(name);
  if (kind === null)
    return refuse(kwarg, `names the type ${name}, which is not known`, 'Write int, float, str, bool, datetime, or a type of SQL.');
  return TYPES[kind];
}
