/** increasing and decreasing, `per: key`: a row's value never goes back over its changes. Other rows are nothing to it; those of a window are, without `per`. */
import { type Expectation, askedTests, columnOf, defineExpectation, typeOf } from '../expectation.ts';

const strictly = { type: 'boolean', default: false, description: 'Equal values fail.' } as const;

/** Beside the parameters of those over windows. */
export const PER_KEY = {
  type: 'object',
  additionalProperties: false,
  required: ['per'],
  properties: {
    per: { const: 'key', description: 'key: over the changes of each row, by itself. Left out: over the rows of a window.' },
    strictly,
  },
} as const;

function define(name: 'increasing' | 'decreasing', direction: 1 | -1): Expectation {
  const than = direction === 1 ? 'less' : 'greater';
  return defineExpectation({
    name,
    judgesNulls: true,
    asksTarget: 'some',
    ops: ['update'],
    schema: {
      ...PER_KEY,
      title: `${name[0]?.toUpperCase()}${name.slice(1)} values of each row`,
      description: `An update’s value is not ${than} than the last one of the row; with strictly: true, it is another as well.`,
    },
    bind: ({ strictly: isStrict = false }, site) => {
      const column = columnOf(site);
      if (!ORDERED.has(column.type))
        return site.refuse(`${column.name} is ${typeOf(column)}, and only numbers and times increase`, 'Name another column.');
      if (site.dataset.key.includes(column.index))
        return site.refuse(`${column.name} is in the key, which is the same over all changes of a row`, 'Name another column.');
      return {
        columns: [column.index],
        reason: `is ${than} than the row’s last one${isStrict ? ', or the same' : ''}`,
        ...askedTests([column.index]),
        question: { kind: 'course', column: column.index, direction, strictly: isStrict },
      };
    },
  });
}

const ORDERED: ReadonlySet<string> = new Set(['integer', 'decimal', 'float', 'timestamp', 'date']);

export const increasing = define('increasing', 1);
export const decreasing = define('decreasing', -1);
