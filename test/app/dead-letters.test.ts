/** Whose records a dead letter queue holds, where a person says it. */
import { expect, test } from 'vitest';
import { datasetNamed, tableNamed } from '../../app/dead-letters.ts';

const columns = { id: 'bigint' };
const source = { name: 'shop', tables: [{ table: 'public.orders', topic: 'orders', columns }], tableOf: null };
const byPattern = { ...source, tableOf: () => null };

test('a dataset is one of the tables, and with a pattern any of the source', () => {
  expect(datasetNamed(source, null)).toBeNull();
  for (const one of [source, byPattern]) {
    expect(datasetNamed(one, 'shop.public.orders')).toBe('shop.public.orders');
    expect(tableNamed(one, 'shop.public.orders')).toMatchObject({ table: 'public.orders', columns });
    expect(() => datasetNamed(one, 'other.public.orders')).toThrow(
      'other.public.orders is no dataset of shop: name one of shop.public.orders',
    );
  }
  expect(() => datasetNamed(source, 'shop.public.more')).toThrow('shop.public.more is no dataset of shop');
  expect(datasetNamed(byPattern, 'shop.public.more')).toBe('shop.public.more');
  expect(tableNamed(byPattern, 'shop.public.more')).toEqual({ table: 'public.more', columns: null });
});
