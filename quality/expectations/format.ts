/** format: a text is of a named format. */
import { anyValue } from '../encoded/tests.ts';
import { cellTests, columnOf, defineExpectation, textTests, typeOf } from '../expectation.ts';
import { encodedFormat, FORMATS } from '../formats.ts';

export const format = defineExpectation({
  name: 'format',
  schema: {
    enum: ['uuid', 'email', 'ipv4', 'ipv6', 'uri', 'date', 'date-time', 'iban', 'currency', 'country'],
    title: 'Format',
    description:
      'The value is a text of this format; iban is checked mod 97, currency is ISO 4217, country is ISO 3166-1 alpha-2 or alpha-3.',
  },
  bind: (name, site) => {
    const column = columnOf(site);
    if (column.native === name || (name === 'date' && column.type === 'date') || (name === 'date-time' && column.type === 'timestamp')) {
      site.warn(`${column.name} is ${typeOf(column)}, so it cannot fail`, 'Remove the check: the type holds already.');
    } else if (column.type !== 'text' && column.type !== 'other')
      return site.refuse(`${column.name} is ${typeOf(column)}, and formats are for texts`, 'Remove the check, or use between.');
    return {
      ...(column.native === name || column.type === 'date' || column.type === 'timestamp'
        ? cellTests(site, () => true, anyValue)
        : textTests(site, FORMATS[name], encodedFormat(name))),
      reason: `is no valid ${name}`,
      columns: [column.index],
    };
  },
});
