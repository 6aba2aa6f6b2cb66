/** null_rate and non_null_rate with values that stand for none, against a count over the rows as they are at the end. */
import { expect, test } from 'vitest';
import fc from '../../support/fast-check.ts';
import { contractOf, messages } from '../support.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, NOON, TestLane } from './support.ts';

fc.configureGlobal({ seed: 20_261_129, endOnFailure: true });

const clock = clockAt(() => NOON);

interface Cells {
  readonly status: string | null;
  readonly total: string | null;
  readonly day: string | null;
}

const RULES = `columns:
  status: [{ null_rate: { max: 0.4, tokens: ["", n/a] } }]
  total: [{ non_null_rate: { min: 0.5, tokens: [-1, 9999.5] } }]
  day: [{ null_rate: { max: 0.4, tokens: ["1900-01-01"] } }]
checks:
  - { id: missing, column: status, null_rate: { max: 0.4 }, missing: ["", n/a] }
  - { id: sum, column: total, sum: { min: 0 }, missing: [-1, 9999.5] }
  - { id: different, column: day, distinct_count: { max: 1 }, missing: ["1900-01-01"] }
  - { id: new, column: status, in_set: [new], missing: ["", n/a], mostly: 0.5, on_fail: tag }
`;

/** The same said once: each value counts in the columns of which it is one. */
const BY_DEFAULT = `defaults: { missing: ["", n/a, -1, 9999.5, "1900-01-01"] }\n${RULES.replace(/, (tokens|missing): \[[^\]]*\]/g, '')}`;

const isNone = {
  status: (value: string | null) => value === null || value === '' || value === 'n/a',
  total: (value: string | null) => value === null || Number(value) === -1 || Number(value) === 9999.5,
  day: (value: string | null) => value === null || value === '1900-01-01',
};

test('a token counts as null, whatever rows are changed, deleted or read again after a crash', async () => {
  const cells = fc.record<Cells>({
    status: fc.constantFrom('new', 'N/A', 'n/a', '', ' ', null),
    total: fc.constantFrom('1', '-1', '-1.00', '9999.50', '9999', null),
    day: fc.constantFrom('1900-01-01', '2026-11-26', null),
  });
  const step = fc.record({ id: fc.integer({ min: 1, max: 6 }), cells: fc.option(cells, { freq: 4 }), dies: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), fc.constantFrom(RULES, BY_DEFAULT), async (steps, rules) => {
      const contract = contractOf(rules);
      const store = new MemoryStore();
      const lane = new TestLane(store, contract, clock);
      const rows = new Map<number, Cells>();
      for (const { id, cells: after, dies } of steps) {
        const changes = changeOf(id, rows.get(id) ?? null, after);
        if (dies) await lane.batch(changes, false);
        await lane.batch(changes);
        if (after === null) rows.delete(id);
        else rows.set(id, after);
      }
      await lane.batch([{ op: 'insert', key: '99', before: null, after: { id: 99 }, atMs: NOON + 60 * MINUTE }]);
      await closes(store, contract);

      const left = [...rows.values()];
      const none = (name: keyof Cells) => left.filter((row) => isNone[name](row[name])).length / left.length;
      const totals = left.flatMap(({ total }) => (isNone.total(total) ? [] : [Number(total)]));
      const there = left.filter(({ status }) => !isNone.status(status));
      const fresh = there.filter(({ status }) => status === 'new').length;
      const wanted = [
        `status.null_rate ${none('status') <= 0.4} ${none('status')}`,
        `total.non_null_rate ${1 - none('total') >= 0.5} ${(left.length - none('total') * left.length) / left.length}`,
        `day.null_rate ${none('day') <= 0.4} ${none('day')}`,
        `missing ${none('status') <= 0.4} ${none('status')}`,
        `sum ${totals.length > 0} ${totals.length === 0 ? null : totals.reduce((sum, total) => sum + total, 0)}`,
        `different true ${new Set(left.map(({ day }) => day).filter((day) => !isNone.day(day))).size}`,
        `new ${there.length === 0 || fresh / there.length >= 0.5} ${there.length === 0 ? null : fresh / there.length}`,
      ];
      const found = store.all.filter(({ startMs }) => startMs === NOON);
      const said = found.map(({ rule, verdict, observed }) => `${rule} ${verdict === 'pass'} ${observed}`);
      expect(said).toEqual(left.length === 0 ? [] : wanted);
    }),
    { numRuns: 200 },
  );
});

function changeOf(id: number, before: Cells | null, after: Cells | null): Change[] {
  const row = (cells: Cells | null) => (cells === null ? null : { id, ...cells });
  if (before === null && after === null) return [];
  const op = before === null ? 'insert' : after === null ? 'delete' : 'update';
  return [{ op, key: String(id), before: row(before), after: row(after), atMs: NOON }];
}

test('other tokens begin anew: of a window that was counted by the old ones nothing is said', async () => {
  const contracts = ['n/a', 'none'].map((token) => contractOf(`columns: { status: [{ null_rate: { max: 0.4, tokens: [${token}] } }] }`));
  const store = new MemoryStore();
  let now = 0;
  const contract = () => contracts[now] ?? contractOf('');
  const lane = new TestLane(store, contract, clock);
  const insert = (id: number, atMs: number): Change => ({
    op: 'insert',
    key: String(id),
    before: null,
    after: { id, status: 'none' },
    atMs,
  });
  await lane.batch([insert(1, NOON)]);
  now = 1;
  await lane.batch([insert(2, NOON), insert(3, NOON + 5 * MINUTE)]);
  await lane.batch([insert(4, NOON + 60 * MINUTE)]);
  await closes(store, contract());
  expect(store.all.slice(0, 2).map(({ verdict, observed }) => [verdict, observed])).toEqual([
    ['indeterminate', null],
    ['fail', '1'],
  ]);
});

test('tokens alone hold nothing, and are refused', () => {
  expect([
    ...messages('columns: { status: [{ null_rate: { tokens: [n/a] } }] }'),
    ...messages('columns: { status: [{ null_rate: { max: 0.1, tokens: [] } }] }'),
  ]).toMatchInlineSnapshot(`
    [
      "null_rate: max is missing",
      "it is empty",
    ]
  `);
});
