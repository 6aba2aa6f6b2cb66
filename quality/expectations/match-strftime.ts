/** match_strftime: a text is a time written in a format of strptime, as Python reads it. */
import { type Column } from '../../core/event.ts';
import { columnOf, defineExpectation, type Site, textTests, typeOf } from '../expectation.ts';
import { strptime } from '../gx/dates.ts';

export const matchStrftime = defineExpectation({
  name: 'match_strftime',
  schema: {
    type: 'string',
    minLength: 1,
    title: 'Time format',
    description: 'The text is a time in this format of strptime, such as %Y-%m-%d, to its last character.',
  },
  bind: (format, site) => {
    const column = textColumn(site, 'time formats');
    if (column === null) return null;
    const test = strptime(format);
    if (test === null)
      return site.refuse(
        `strptime does not read ${JSON.stringify(format)}`,
        'Write directives of strptime, such as %Y-%m-%d, each once; %% is a percent sign.',
      );
    if (!/%[^%]/.test(format.replaceAll('%%', '')))
      return site.refuse(`${JSON.stringify(format)} has no directive, so it is one text alone`, 'Write one such as %Y, or use in_set.');
    return { ...textTests(site, test), reason: 'is not in the time format', columns: [column.index] };
  },
});

/** The column, where its values are texts; `what`: of which only texts are. */
export function textColumn(site: Site, what: string): (Column & { readonly index: number }) | null {
  const column = columnOf(site);
  if (column.type === 'text' || column.type === 'other') return column;
  const holds = column.type === 'timestamp' || column.type === 'date' || column.type === 'time';
  return site.refuse(
    `${column.name} is ${typeOf(column)}, and ${what} are for texts`,
    holds ? 'Remove the check: the type holds already.' : 'Remove the check, or use between.',
  );
}
