/** What several rules hold of one batch: how often they are asked. What they hold is held against a target, in several-workers.real.test.ts. */
import { expect, test } from 'vitest';
import { Verdict } from '../../../core/batch.ts';
import { type Dataset, type DatasetName, ValueRow, type Version } from '../../../core/event.ts';
import { heldInOrder } from '../../../sync/postgres/keyed/in-order.ts';
import type { Asked, Judged } from '../../../sync/postgres/keyed/rules.ts';

const ROWS = 300;
const TABLE: Dataset = {
  name: 'shop.public.orders' as DatasetName,
  version: 1,
  columns: [{ name: 'id', type: 'integer', native: 'bigint', nullable: false }],
  key: [0],
};

const ruleOf = (id: string): Asked => ({
  id,
  column: null,
  verdict: Verdict.Quarantine,
  severity: 'critical',
  halts: false,
  holds: true,
  meets: () => true,
  describe: () => id,
  question: { kind: 'unique', columns: [0] },
});

/** A row of a transaction of its own. */
const judgedOf = (rule: Asked, index: number): Judged => ({
  index,
  rule,
  isJudged: true,
  fate: 'written',
  event: {
    op: 'insert',
    dataset: TABLE,
    before: null,
    after: new ValueRow(index),
    key: String(index),
    movedFrom: null,
    version: String(index).padStart(8, '0') as Version,
    ordinal: 0,
    committedAtMs: index,
  },
});

test('rows that every rule fails are held at once by the first of them', async () => {
  const rules = ['a', 'b'].map((id) => ruleOf(id));
  let asked = 0;
  const held = await heldInOrder(
    rules.map((rule) => Array.from({ length: ROWS }, (_, index): Judged => judgedOf(rule, index))),
    (changes) => {
      asked++;
      return Promise.resolve(changes.filter(({ index }) => index % 2 === 1));
    },
    () => false,
  );
  expect(held.map(({ index, rule }) => [index, rule.id])).toEqual(Array.from({ length: ROWS / 2 }, (_, n) => [2 * n + 1, 'a']));
  expect(asked).toBeLessThanOrEqual(4);
});
