/** dateutil_parseable: a text is a date that Python's dateutil reads. */
import { defineExpectation, textTests } from '../expectation.ts';
import { parseDate } from '../gx/dates.ts';
import { textColumn } from './match-strftime.ts';

export const dateutilParseable = defineExpectation({
  name: 'dateutil_parseable',
  bare: true,
  schema: {
    const: true,
    title: 'Readable dates',
    description: 'The text is a date or a time in one of the forms that dateutil reads, such as 24 Nov 2026 or 11/24/2026 1:45 pm.',
  },
  bind: (_, site) => {
    const column = textColumn(site, 'dates to be read');
    if (column === null) return null;
    // What a text leaves out is of the day of its change, and not of today: read again, a row is judged as it was.
    let committedAtMs = 0;
    const { test } = textTests(site, (text) => parseDate(text, committedAtMs) !== null);
    return {
      test: (row, event) => {
        ({ committedAtMs } = event);
        return test(row, event);
      },
      reason: 'is no date that can be read',
      columns: [column.index],
    };
  },
});
