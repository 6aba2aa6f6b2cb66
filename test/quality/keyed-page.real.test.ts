/** docs/keyed.md: every example is a rule file that loads, and the rows beside it are judged at a target as the page says, one after the other. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { Batch, type Finding, HOLD_KEY_RULE } from '../../core/batch.ts';
import {
  type ChangeEvent,
  type Column,
  type Dataset,
  type DatasetName,
  type LaneId,
  type Position,
  type Row,
  ValueRow,
  type Value,
  type Version,
} from '../../core/event.ts';
import { compileContract } from '../../quality/compile.ts';
import { EXPECTATIONS } from '../../quality/expectations/registry.ts';
import { contract, target } from '../sync/keyed/support.ts';

const page = readFileSync(new URL('../../docs/keyed.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/^```yaml\n([^]*?)^```$/gm)].map(([, text = '']) => text);
const tried = new Map<string, Set<string>>();

const column = (name: string, type: Column['type'], native: string): Column => ({ name, type, native, nullable: name !== 'id' });
const orders: Dataset = {
  name: 'shop.public.orders' as DatasetName,
  version: 1,
  columns: [
    column('id', 'integer', 'bigint'),
    column('email', 'text', 'text'),
    column('region', 'text', 'text'),
    column('number', 'integer', 'bigint'),
    column('status', 'text', 'text'),
    column('customer', 'integer', 'bigint'),
  ],
  key: [0],
};
const customers: Dataset = {
  name: 'shop.public.customers' as DatasetName,
  version: 1,
  columns: [column('id', 'integer', 'bigint'), column('name', 'text', 'text')],
  key: [0],
};

type Cells = Readonly<Record<string, Value>>;
const rowOf = ({ columns }: Dataset, cells: Cells): Row => new ValueRow(...columns.map(({ name }) => cells[name] ?? null));

function eventOf(dataset: Dataset, at: number, first: Cells, second: string | undefined): ChangeEvent {
  const [before, after] = second === undefined ? [null, first] : [first, second === 'deleted' ? null : (parse(second) as Cells)];
  return {
    op: before === null ? 'insert' : after === null ? 'delete' : 'update',
    before: before === null ? null : rowOf(dataset, before),
    after: after === null ? null : rowOf(dataset, after),
    dataset,
    key: String(first['id']),
    movedFrom: null,
    version: place(at) as string as Version,
    ordinal: 0,
    committedAtMs: 0,
  } as ChangeEvent; // The rows are those that the operation has.
}

const place = (at: number): Position => String(at).padStart(8, '0') as Position;

test.each(examples.map((text) => [text.split('\n').slice(0, 3).join(' '), text]))(
  '%s',
  async (_, text) => {
    const rules = contract(orders.name, text);
    const compiled = compileContract(rules, orders);
    expect('warnings' in compiled ? compiled.warnings : compiled).toEqual([]);
    await using at = await target([rules]);
    const rows = [...text.matchAll(/^# (passes|fails|customers) (\{.*?\})(?: -> (\{.*\}|deleted))?$/gm)];
    for (const [n, [line, outcome = '', first = '', second]] of rows.entries()) {
      const event = eventOf(outcome === 'customers' ? customers : orders, n + 1, parse(first) as Cells, second);
      const batch = new Batch([event], { lane: 'shop/slot' as LaneId, position: place(n + 1) });
      await at.run([batch]);
      const found = batch.findings.filter(({ rule }: Finding) => rule !== HOLD_KEY_RULE);
      expect([line, found.length === 0 ? 'passes' : 'fails']).toEqual([line, outcome === 'customers' ? 'passes' : outcome]);
      for (const { id, expectation } of rules.checks)
        if (outcome === 'passes' || found.some(({ rule }) => rule === id))
          tried.set(expectation.name, (tried.get(expectation.name) ?? new Set()).add(outcome));
    }
  },
  30_000,
);

test('the page has an example of every check that asks the target, of a row that passes and of one that fails', () => {
  const missing = [...EXPECTATIONS.values()].filter(({ asksTarget, name }) => asksTarget !== null && tried.get(name)?.size !== 2);
  expect(missing).toEqual([]);
});
