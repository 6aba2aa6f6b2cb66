/** docs/alerts.md names every alert there is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ALERT_TYPES } from '../../ops/alerts/events.ts';

test('every alert is in the table of docs/alerts.md, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/alerts.md'), 'utf8');
  const rows = page.split('\n').filter((line) => /^\| `\w+\.\w+`/.test(line));
  const named = rows.flatMap((line) => (line.split('|')[1] ?? '').match(/\w+\.\w+/g) ?? []);
  expect(named.toSorted()).toEqual([...ALERT_TYPES].toSorted());
});
