/** score_drift, abstain_rate and feature_missing: the examples of the page, against a naive count over kills and late rows, and what a real model makes of rows. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { inferenceStage } from '../../../inference/stage.ts';
import { Scorer } from '../../../inference/scorer/supervisor.ts';
import { WORDS } from '../../../quality/gx/registry.ts';
import { windowStage } from '../../../quality/live/stage.ts';
import { parseContract } from '../../../quality/contract.ts';
import { psiOf } from '../../../quality/windows/distances.ts';
import { batchOf, linearModel, plainDataset, plainInsert, registryOf, useOf } from '../../inference/models.ts';
import fc from '../../support/fast-check.ts';
import { contractOf, FILE, HEAD, messages } from '../support.ts';
import { type Change, clockAt, closes, MemoryStore, MINUTE, MODEL, NO_LOTS, NOON, type Score, TestLane } from './support.ts';

fc.configureGlobal({ seed: 20_261_127, endOnFailure: true });

const never = new AbortController().signal;
const clock = clockAt(() => NOON);
let keys = 0;
const change = (score: Score | undefined, atMs: number, cells: object = {}, op: Change['op'] = 'insert'): Change => {
  const row = { id: ++keys, ...cells };
  return { op, key: String(keys), before: op === 'update' ? row : null, after: row, atMs, ...(score !== undefined && { score }) };
};

/** What the rules say of one window of these scores. */
async function said(rules: string, scores: readonly (Score | undefined)[], op: Change['op'] = 'insert') {
  const contract = contractOf(rules);
  const store = new MemoryStore();
  const lane = new TestLane(store, contract, clock);
  await lane.batch(scores.map((score) => change(score, NOON, {}, op)));
  await lane.batch([change(undefined, NOON + 60 * MINUTE)]);
  await closes(store, contract);
  return store.all.filter(({ startMs }) => startMs <= NOON);
}

describe('docs/expectations.md', () => {
  const page = readFileSync(new URL('../../../docs/expectations.md', import.meta.url), 'utf8');
  const examples = [
    ...page.matchAll(/^### (\w+)\n(?:(?!^###)[^])*?```yaml\n([^`]*?)# by scores of order-risk\n# passes (.*)\n# fails (.*)\n```$/gm),
  ];
  const scoresOf = (line = '') => line.split(/(?<=\}) (?=\{)/).map((row) => (JSON.parse(row) as { score: Score }).score);

  test('it has every word about scores', () => {
    const words = [...WORDS.values()].filter(({ word }) => word.example.scoredBy !== undefined).map(({ word }) => word.name);
    expect(examples.map(([, name]) => name)).toEqual(words);
  });

  test.each(examples.map(([, name = '', ...rest]) => ({ name, rest })))(
    '$name holds, and does not, as its example says',
    async ({ rest: [rule = '', passes, fails] }) => {
      expect((await said(rule, scoresOf(passes))).map(({ verdict }) => verdict)).toEqual(['pass']);
      expect((await said(rule, scoresOf(fails))).map(({ verdict }) => verdict)).toEqual(['fail']);
    },
  );
});

const RULES = `checks:
  - { id: drift, score_drift: { model: ${MODEL}, bins: [0, 0.25, 0.5, 1], weights: [2, 1, 1], max: 0.3 } }
  - { id: abstained, abstain_rate: { model: ${MODEL}, max: 0.3 } }
  - { id: unread, feature_missing: { model: ${MODEL}, max: 0.2 } }
  - { id: paid, abstain_rate: { model: ${MODEL}, max: 0.3 }, where: after.status == "paid", group_by: email }
`;

test('each time that the model was asked counts once, in its window and group, whatever crashes', async () => {
  const score = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 8 }).map((eighths) => eighths / 8) },
    { weight: 2, arbitrary: fc.constantFrom<Score>('feature missing', 'unavailable') },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
  const one = fc.record({
    score,
    minute: fc.integer({ min: 0, max: 11 }),
    status: fc.constantFrom('new', 'paid'),
    email: fc.constantFrom('a', 'b'),
    op: fc.constantFrom<Change['op']>('insert', 'update'),
  });
  const batches = fc.array(fc.record({ rows: fc.array(one, { maxLength: 12 }), dies: fc.boolean() }), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(batches, async (all) => {
      const contract = contractOf(`${RULES}defaults: { window: { out_of_order: 1h } }\n`);
      const store = new MemoryStore();
      const lane = new TestLane(store, contract, clock);
      for (const { rows, dies } of all) {
        const changes = rows.map((row) => change(row.score, NOON + row.minute * MINUTE, row, row.op));
        if (dies) await lane.batch(changes, false);
        await lane.batch(changes);
      }
      await lane.batch([change(undefined, NOON + 180 * MINUTE)]);
      await closes(store, contract);

      const rows = all.flatMap((batch) => batch.rows);
      const wanted = [0, 5, 10].flatMap((from) =>
        expected(
          rows.filter(({ minute }) => minute >= from && minute < from + 5),
          from,
        ),
      );
      const found = store.all.map((one) => `${(one.startMs - NOON) / MINUTE} ${one.group} ${one.rule} ${one.verdict} ${one.observed}`);
      expect(found.sort()).toEqual(wanted.sort());
    }),
    { numRuns: 150 },
  );
});

interface Asked {
  readonly score: Score | undefined;
  readonly status: string;
  readonly email: string;
}

/** By the definitions, over plain lists. */
function expected(rows: readonly Asked[], from: number): string[] {
  const asked = rows.filter(({ score }) => score !== undefined);
  const scores = asked.flatMap(({ score }) => (typeof score === 'number' ? [score] : []));
  const isMissing = ({ score }: Asked) => score === 'feature missing';
  const read = asked.filter((row) => typeof row.score === 'number' || isMissing(row));
  const share = (id: string, group: string, part: number, of: number, max: number) =>
    of === 0 ? [] : [`${from} ${group} ${id} ${part / of <= max ? 'pass' : 'fail'} ${part / of}`];
  const without = (of: readonly Asked[]) => of.filter(({ score }) => typeof score !== 'number').length;
  const groups = ['a', 'b'].flatMap((email) => {
    const own = asked.filter((row) => row.email === email && row.status === 'paid');
    return share('paid', `["${email}"]`, without(own), own.length, 0.3);
  });
  return [
    ...share('abstained', '', without(asked), asked.length, 0.3),
    ...share('unread', '', read.filter(isMissing).length, read.length, 0.2),
    ...groups,
    ...(asked.length === 0 ? [] : [drift(scores, from)]),
  ];
}

function drift(scores: readonly number[], from: number): string {
  if (scores.length === 0) return `${from}  drift fail null`;
  const share = (low: number, high: number) => scores.filter((score) => score >= low && score < high).length / scores.length;
  const observed = psiOf([0, 0.5, 0.25, 0.25, 0], [0, share(0, 0.25), share(0.25, 0.5), share(0.5, 2), 0], scores.length);
  return `${from}  drift ${observed <= 0.3 ? 'pass' : 'fail'} ${observed}`;
}

test('scores are held against those of the windows before', async () => {
  const contract = contractOf(`checks:
  - score_drift: { model: ${MODEL}, metric: ks, reference: { rolling: { windows: 3, min_windows: 3 } }, max: 0.3 }
    window: { lateness: 0s }
`);
  const store = new MemoryStore();
  const lane = new TestLane(store, contract, clock);
  const windows: Score[][] = [
    [0.1, 0.2],
    [0.1, 0.2],
    [0.2, 0.1],
    [0.2, 0.1],
    [0.8, 0.9],
    [0.1, 0.2],
  ];
  for (const [at, scores] of windows.entries()) await lane.batch(scores.map((score) => change(score, NOON + at * 5 * MINUTE)));
  await lane.batch([change(undefined, NOON + 180 * MINUTE)]);
  await closes(store, contract);
  expect(store.all.map(({ verdict }) => verdict)).toEqual([...Array.from({ length: 3 }, () => 'indeterminate'), 'pass', 'fail', 'pass']);
});

test('rows of a snapshot that were scored have a window to themselves', async () => {
  const found = await said(`checks: [{ abstain_rate: { model: ${MODEL}, max: 0.2 } }]`, [0.5, 'unavailable', undefined], 'read');
  expect(found.map(({ endMs, verdict, observed, rows }) => [endMs, verdict, observed, rows])).toEqual([[null, 'fail', '0.5', 2]]);
});

test('another model says nothing of the window', async () => {
  expect(await said('checks: [{ abstain_rate: { model: other, max: 0 } }]', [0.5, 'unavailable'])).toEqual([]);
});

/** The messages of a rule file that is to judge a file. */
function ofFile(body: string): readonly string[] {
  const parsed = parseContract(HEAD + body, FILE, 'file');
  return 'problems' in parsed ? parsed.problems.map(({ message }) => message) : [];
}

test('what cannot be meant is refused by name', () => {
  const drift = (more: string) => messages(`checks: [{ score_drift: { model: m, max: 1, ${more} } }]`);
  expect([
    ...messages('checks: [{ abstain_rate: { model: m, max: 0.1 }, window: { of: rows } }]'),
    ...drift('metric: psi'),
    ...drift('bins: [0, 1], weights: [1], reference: { rolling: { windows: 3 } }'),
    ...drift('metric: ks, reference: { rolling: { windows: 3, bins: 5 } }'),
    ...messages('checks: [{ abstain_rate: { model: "m@3", max: 0.1 } }]'),
    ...ofFile(`checks: [{ feature_missing: { model: m, max: 0.1 } }]`),
    ...messages('columns: { total: [{ abstain_rate: { model: m, max: 0.1 } }] }'),
  ]).toMatchInlineSnapshot(`
    [
      "abstain_rate counts each time that a model was asked",
      "score_drift: weights is missing",
      "score_drift: bins and reference: one of them is needed, and no more",
      "score_drift: bins is not among its kwargs",
      ""m@3" has not the form that is needed",
      "feature_missing is about what a model makes of rows, and none scores those of a file",
      "abstain_rate: column is not among its kwargs",
      ""abstain_rate" is not known here",
    ]
  `);
});

test('what a model makes of rows reaches their window: a score, a feature that is missing, or nothing', async () => {
  const rules = ['score_drift: { model: plain, bins: [0, 1, 2], weights: [1, 1], max: 0.1 }'];
  for (const word of ['abstain_rate', 'feature_missing']) rules.push(`${word}: { model: plain, max: 0.3 }`);
  const head = `apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${plainDataset.name}\n`;
  const parsed = parseContract(`${head}checks:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`, 'plain.yaml');
  if ('problems' in parsed) throw new Error(parsed.problems.map(({ message }) => message).join(' '));
  const { contract } = parsed;
  const contracts = () => new Map([[contract.dataset, contract]]);
  const store = new MemoryStore();
  await using scorer = new Scorer({ runLimitMs: 150, microBatchRowsMax: 64 });
  await using inference = inferenceStage({
    registry: await registryOf('plain', { bytes: linearModel([1, 100]) }),
    scorer,
    uses: [useOf()],
  });
  const windows = windowStage({ contracts, store, lots: NO_LOTS, clock });
  // 3e38 * 100 is beyond what a float holds: the model gives no number.
  const batch = batchOf(plainInsert(1, 0.5), plainInsert(2, 1.5), plainInsert(3, null), plainInsert(4, 1, 3e38));
  const later = batchOf({ ...plainInsert(5, 1), committedAtMs: 60 * MINUTE });
  await inference.run(batch, never);
  for (const one of [batch, later]) {
    await windows.run(one, never);
    if (one.windows !== null) store.write(one.lane, one.windows);
  }
  await closes(store, contract);
  expect(store.all.map(({ type, verdict, observed, rows, missing }) => [type, verdict, observed, rows, missing])).toEqual([
    ['score_drift', 'pass', '0', 4, 2],
    ['abstain_rate', 'fail', '0.5', 4, 2],
    ['feature_missing', 'fail', '0.3333333333333333', 3, 1],
  ]);
});
