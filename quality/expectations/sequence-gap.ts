/** sequence_gap: numbers that are given one after the other, such as those of invoices, have none missing between them. */
import { askedTests, defineExpectation, columnOf, typeOf } from '../expectation.ts';

const OUT_OF_ORDER_MAX = 1_000_000;

export const sequenceGap = defineExpectation({
  name: 'sequence_gap',
  bare: true,
  judgesNulls: true,
  asksTarget: 'some',
  ops: ['insert'],
  onFail: ['warn', 'tag', 'halt'],
  schema: {
    title: 'Gaps in numbers',
    description:
      'The number before the new row’s own is there. step: how far numbers are apart. group_by: each of these columns’ values has numbers of its own. out_of_order: so many numbers may come before one that belongs before them. one_partition: of topics, the rows of a group come by one partition.',
    anyOf: [
      { const: true },
      {
        type: 'object',
        additionalProperties: false,
        properties: {
          step: { type: 'integer', minimum: 1, default: 1, description: 'How far one number is from the next.' },
          group_by: {
            anyOf: [
              { type: 'string', minLength: 1 },
              { type: 'array', minItems: 1, items: { type: 'string', minLength: 1 } },
            ],
            description: 'A column, or a list: each of their values has numbers of its own.',
          },
          out_of_order: {
            type: 'integer',
            minimum: 0,
            maximum: OUT_OF_ORDER_MAX,
            default: 0,
            description: 'A number is missing once so many later ones could have come before it.',
          },
          one_partition: {
            type: 'boolean',
            default: false,
            description: 'Where topics are read: say true if the rows of each group come by one partition, and so in their order.',
          },
        },
      },
    ],
  },
  bind: (parameters, site) => {
    const column = columnOf(site);
    if (column.type !== 'integer')
      return site.refuse(`${column.name} is ${typeOf(column)}, and numbers in a row are whole`, 'Name a column of whole numbers.');
    const { step = 1, group_by: names = [], out_of_order: outOfOrder = 0 } = parameters === true ? {} : parameters;
    const groupBy = (typeof names === 'string' ? [names] : names).map((name) => site.columnIndex(name, 'group_by'));
    if (groupBy.includes(null)) return null;
    const groups = groupBy.filter((place) => place !== null);
    if (groups.includes(column.index))
      return site.refuse(`${column.name} cannot have numbers of its own for each of its values`, 'Name another column.', 'group_by');
    return {
      columns: [column.index, ...groups],
      reason: 'follows a number that is missing',
      ...askedTests([column.index]),
      question: { kind: 'sequence', column: column.index, groupBy: groups, step: BigInt(step), outOfOrder },
    };
  },
});
