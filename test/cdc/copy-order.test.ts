/** The order of copies over random references: nobody waits for ever, and what is named comes first where that can be. */
import { expect, test } from 'vitest';
import { comesAfter } from '../../cdc/postgres/copy-order.ts';
import { Random } from '../support/random.ts';

/** Copies the tables, as the reader of snapshots does with one connection, and answers the order in which they end. */
function copied(tables: readonly string[], names: (table: string) => readonly string[]): string[] {
  const order: string[] = [];
  for (let left = [...tables]; left.length > 0;) {
    const next = left.find((table) => !comesAfter(table, left, names));
    if (next === undefined) throw new Error(`each of ${left.join(', ')} waits for another one`);
    order.push(next);
    left = left.filter((table) => table !== next);
  }
  return order;
}

test('what is named is copied before what names it, unless that names it too, by whatever way; and all are copied', () => {
  const seed = 7;
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const tables = Array.from({ length: 1 + random.below(8) }, (_, i) => `t${i}`);
    const named = new Map(tables.map((table) => [table, [...tables, 'elsewhere'].filter(() => random.chance(0.2))]));
    const names = (table: string): readonly string[] => named.get(table) ?? [];
    const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
      names(from).some((one) => one === to || (!seen.has(one) && reaches(one, to, seen.add(one))));
    const order = copied(tables, names);
    expect(order.toSorted(), `seed ${seed}, round ${round}`).toEqual(tables.toSorted());
    for (const [at, table] of order.entries())
      for (const later of order.slice(at + 1))
        expect(reaches(table, later) && !reaches(later, table), `seed ${seed}, round ${round}: ${table} before ${later}`).toBe(false);
  }
});

test('without references tables are copied in the order in which they are named', () => {
  expect(copied(['c', 'a', 'b'], () => [])).toEqual(['c', 'a', 'b']);
  expect(copied(['c', 'a', 'b'], (table) => (table === 'c' ? ['b'] : []))).toEqual(['a', 'b', 'c']);
});
