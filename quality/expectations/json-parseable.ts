/** json_parseable: a text is JSON, as Python reads it. */
import { columnOf, defineExpectation, textTests, typeOf } from '../expectation.ts';
import { parseJson } from '../gx/python-json.ts';

export const jsonParseable = defineExpectation({
  name: 'json_parseable',
  bare: true,
  schema: {
    const: true,
    title: 'Readable JSON',
    description: 'The text is JSON, in which Python takes NaN and infinities too. A json column holds nothing else.',
  },
  bind: (_, site) => {
    const column = columnOf(site);
    const isText = column.type === 'text' || column.type === 'other';
    if (!isText && column.type !== 'json')
      return site.refuse(`${column.name} is ${typeOf(column)}, which holds no JSON`, 'Use it at a json or text column.');
    // The database has read what its json columns hold.
    const test = isText ? (text: string) => parseJson(text) !== undefined : () => true;
    return { ...textTests(site, test), reason: 'is no JSON', columns: [column.index] };
  },
});
