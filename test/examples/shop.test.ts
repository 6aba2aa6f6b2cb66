/** The example shop: its rule files are sound, and its workload is what its seed says. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SENTINEL_KEY, TABLES, toSql, workload } from '../../examples/shop/workload.ts';
import { parseContract } from '../../quality/contract.ts';

const options = { seed: 5, rows: 20_000, initial: 4_000, perTransaction: 50 };

describe('the rule files', () => {
  const folder = 'examples/shop/datasets';
  test.each(readdirSync(folder))('%s has no problems and names a table of the shop', (file) => {
    const parsed = parseContract(readFileSync(`${folder}/${file}`, 'utf8'), file);
    expect('problems' in parsed ? parsed.problems : []).toEqual([]);
    expect('contract' in parsed ? parsed.contract.dataset : null).toBe(`shop.public.${file.replace('.yaml', '')}`);
  });
});

describe('the workload', () => {
  const all = [...workload(options)];
  const changes = all.flatMap((transaction) => transaction.changes);

  test('a seed makes the same changes every time, and another seed others', () => {
    expect([...workload(options)].map(toSql)).toEqual(all.map(toSql));
    expect([...workload({ ...options, seed: 6 })].map(toSql)).not.toEqual(all.map(toSql));
  });

  test('it has as many changes as asked for, the sentinel last', () => {
    expect(changes).toHaveLength(options.rows);
    expect(changes.at(-1)).toMatchObject({ table: 'customers', op: 'insert', key: SENTINEL_KEY });
  });

  test('every kind of change occurs, one schema change, and about one bad row in a hundred of every kind', () => {
    expect(new Set(changes.map(({ op }) => op))).toEqual(new Set(['insert', 'update', 'delete', 'move']));
    expect(new Set(changes.map(({ table }) => table))).toEqual(new Set(TABLES));
    expect(all.filter(({ ddl }) => ddl !== null)).toHaveLength(1);
    const bad = changes.filter((change) => change.bad !== null);
    expect(bad.length / changes.length).toBeGreaterThan(0.006);
    expect(bad.length / changes.length).toBeLessThan(0.014);
    expect(new Set(bad.map((change) => change.bad)).size).toBe(10);
  });

  test('no change concerns a row that is not there, no key is used twice, and every change has a stamp of its own', () => {
    const live = new Set<string>();
    const used = new Set<string>();
    const wrong: string[] = [];
    for (const { table, op, key, newKey } of changes) {
      const id = `${table}/${key}`;
      const fresh = op === 'insert' ? id : newKey === null ? null : `${table}/${newKey}`;
      if ((op === 'insert') === live.has(id)) wrong.push(`${op} ${id}`);
      if (op === 'delete' || op === 'move') live.delete(id);
      if (fresh !== null && used.has(fresh)) wrong.push(`${op} ${fresh} again`);
      if (fresh === null) continue;
      live.add(fresh);
      used.add(fresh);
    }
    expect(wrong).toEqual([]);
    const stamps = changes.flatMap(({ cells }) => (cells === null ? [] : [cells['updated_at']]));
    expect(new Set(stamps).size).toBe(stamps.length);
  });
});
