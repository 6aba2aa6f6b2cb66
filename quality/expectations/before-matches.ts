/** before_matches: the old row that comes with an update or a delete is what the stream last said of its key. It tells of a change that was lost, or came twice. */
import { askedTests, defineExpectation } from '../expectation.ts';

export const beforeMatches = defineExpectation({
  name: 'before_matches',
  on: 'row',
  bare: true,
  judgesNulls: true,
  needsBefore: true,
  asksTarget: 'some',
  ops: ['update', 'delete'],
  schema: {
    title: 'Old row',
    description:
      'The old row of an update or a delete is what the stream last said of its key: of these columns, or of all. missing: what a key does of which the target has no row.',
    anyOf: [
      { const: true },
      {
        type: 'object',
        additionalProperties: false,
        properties: {
          columns: {
            type: 'array',
            minItems: 1,
            items: { type: 'string', minLength: 1 },
            description: 'Those that are compared. Default: all.',
          },
          missing: {
            enum: ['skip', 'fail'],
            default: 'skip',
            description: 'What a change of a key does of which the target has no row: its insert may be lost, or not copied yet.',
          },
        },
      },
    ],
  },
  bind: (parameters, site) => {
    const { columns: names, missing = 'skip' } = parameters === true ? {} : parameters;
    const found = names?.map((name, at) => site.columnIndex(name, 'columns', at)) ?? site.dataset.columns.map((_, at) => at);
    if (found.includes(null)) return null;
    const columns = found.filter((place) => place !== null);
    return {
      columns,
      reason: 'the row before this change is not what the stream last said of it',
      ...askedTests([]),
      question: { kind: 'before', columns, whenUnknown: { noBefore: site.noBefore, missing } },
    };
  },
});
