/** Which columns a check reads, by the words of it. */
import { expect, test } from 'vitest';
import { readsColumn } from '../../app/column-reads.ts';

const NAMES = ['total', 'größe', 'two words', 'a "quoted" one', 'back\\slash', "it's"];

test.each(NAMES)('a check that names %s reads it, wherever the name stands, and those that name others do not', (name) => {
  const quoted = `row[${JSON.stringify(name)}] > 1`;
  const checks = [
    { column: name, parameters: {}, where: null },
    { column: null, parameters: { column_list: ['id', name] }, where: null },
    { column: null, parameters: { expr: quoted }, where: null },
    { column: 'id', parameters: {}, where: quoted },
  ];
  expect(checks.map((check) => readsColumn(check, name))).toEqual([true, true, true, true]);
  for (const other of NAMES.filter((others) => others !== name))
    expect(checks.map((check) => readsColumn(check, other))).toEqual([false, false, false, false]);
});
