/** row_count_equals: as many rows as a number says, or as another dataset has: of a file, or of the same window. */
import { Unusable } from '../states/cell.ts';
import { nothing, type Verdict, type WindowCheck, windowCheck } from '../windows/check.ts';
import { given, rowsOf } from '../windows/words.ts';
import type { GxExpectation } from './expectation.ts';
import { type Kwargs, refuse } from './kwargs.ts';
import { outcome, rowCountEquals } from './table.ts';

interface Other {
  readonly name: string;
  readonly says: (rows: number, other: number) => Verdict;
}

/** Of shares and factors that have no exact form in binary; far below one row. */
const ROUNDING = 1e-12;

/** So many times as many rows, give or take a share of them. */
function otherOf(kwargs: Kwargs): Other {
  const name = kwargs.text('other_table_name');
  const factor = kwargs.has('factor') ? kwargs.number('factor') : 1;
  const tolerance = kwargs.share('tolerance', 0);
  if (!(factor > 0)) refuse('factor', 'is not greater than 0', 'Write how many rows there are for each one of the other dataset.');
  return {
    name,
    says: (rows, other) => {
      const expected = other * factor;
      const about = `${factor === 1 ? '' : `, of which each stands for ${factor}`}${tolerance === 0 ? '' : ` (tolerance ${tolerance})`}`;
      return {
        success: Math.abs(rows - expected) <= (tolerance + ROUNDING) * expected,
        observed: { self: rows, other },
        why: `${rows} rows, and ${name} has ${other}${about}`,
      };
    },
  };
}

function window(kwargs: Kwargs): WindowCheck {
  const { name, says } = otherOf(kwargs);
  return { ...windowCheck(nothing, (_, { rows, beside = 0 }) => says(rows, beside)), beside: name };
}

export const rowCountEqualsOther: GxExpectation = {
  name: 'expect_table_row_count_to_equal_other_table',
  takes: ['other_table_name', 'factor', 'tolerance'],
  takesRows: true,
  word: {
    name: 'row_count_equals',
    on: 'row',
    level: 'window',
    schema: {
      title: 'As many rows',
      description:
        'Exactly so many rows, of a file or of a window; or as many as another dataset has: of a file by its name (`--table NAME=FILE` of judge), of a window [in the same window](windows.md#as-many-rows-as-another-dataset). With `factor`, so many times as many; `tolerance` is the share by which they may differ.',
      type: ['integer', 'string', 'object'],
      minimum: 0,
      minLength: 1,
      additionalProperties: false,
      required: ['dataset'],
      properties: {
        dataset: { type: 'string', minLength: 1, description: 'The other dataset, as source.schema.table.' },
        factor: {
          type: 'number',
          exclusiveMinimum: 0,
          default: 1,
          description: 'How many rows there are for each one of the other dataset.',
        },
        tolerance: {
          type: 'number',
          minimum: 0,
          maximum: 1,
          default: 0,
          description: 'The share of the rows expected by which there may be more or less, such as 0.01.',
        },
      },
    },
    kwargs: (parameters) => {
      if (typeof parameters === 'string') return { other_table_name: parameters };
      const { dataset, factor, tolerance } = parameters as Readonly<Record<string, unknown>>; // As the schema has it.
      return given({ other_table_name: dataset, factor, tolerance });
    },
    orNumber: { expectation: rowCountEquals, kwargs: (parameters) => ({ value: parameters }) },
    example: { rule: '- row_count_equals: copy', passes: rowsOf('id', 1, 2), fails: rowsOf('id', 1) },
  },
  window,
  prepare: (kwargs, _slots, format) => {
    const { name, says } = otherOf(kwargs);
    let rows = 0;
    return {
      row: () => void rows++,
      end: (facts) => {
        const other = facts.rowsOf(name);
        if (other === null) throw new Unusable(`other_table_name names ${name}, which is not given. Add --table ${name}=FILE.`);
        return outcome(says(rows, other), format.name === 'BOOLEAN_ONLY');
      },
    };
  },
};
