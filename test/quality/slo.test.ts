/** Service levels in rule files: what is refused and how it is said, what is left to defaults, and which rows are counted in which minute. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Batch, Verdict } from '../../core/batch.ts';
import type { ChangeEvent, DatasetName, LaneId, Position } from '../../core/event.ts';
import type { Objective } from '../../core/slo.ts';
import { judgedMinutes } from '../../app/slo.ts';
import { parseContract } from '../../quality/contract.ts';
import { countRows, sloStage } from '../../quality/slo/stage.ts';
import { Random } from '../support/random.ts';
import { contractOf, FILE, HEAD, insert, lines, orders } from './support.ts';

const SEED = 20_260_801;
const HOUR = 3_600_000;
const WINDOWED = 'checks: [{ id: volume, row_count: { min: 1 } }, { freshness: { max: 5m } }]\n';

const problems = (text: string) => {
  const parsed = parseContract(HEAD + text, FILE);
  return lines('problems' in parsed ? parsed.problems : parsed.contract.warnings).map((line) => line.replace(/^.*?: (?=slo)/, ''));
};

test('what is left out: 28 days, all three burn rates of the workbook, and as many rows as say something', () => {
  expect(contractOf('slo: { objective: 99.9 }').slo).toEqual([
    {
      id: 'rows',
      percent: 99.9,
      of: 'rows',
      rules: [],
      counted: 'rows',
      maxAgeMs: null,
      overMs: 28 * 24 * HOUR,
      burns: [
        { longMs: HOUR, shortMs: HOUR / 12, rate: 14.4, page: true },
        { longMs: 6 * HOUR, shortMs: HOUR / 2, rate: 6, page: true },
        { longMs: 72 * HOUR, shortMs: 6 * HOUR, rate: 1, page: false },
      ],
      minCount: 100,
    },
  ]);
  // Of the burn rates that nobody wrote, those are left that can come to pass.
  expect(contractOf('slo: { objective: 90, over: 1d }').slo[0]?.burns).toMatchObject([{ rate: 6 }]);
});

test('several at once: of windows, of minutes, and with burn rates of their own', () => {
  const { slo } = contractOf(`${WINDOWED}slo:
  - { objective: 99, of: windows }
  - { objective: 99, of: windows, rule: volume, min_count: 7 }
  - { id: fresh, objective: 99.5, of: minutes, over: 7d, burn: [{ window: 1h30m, rate: 2, page: true }, { window: 5m, short: 1m, rate: 3 }] }`);
  expect(slo.map(({ id, rules, counted, maxAgeMs, minCount }) => [id, rules, counted, maxAgeMs, minCount])).toEqual([
    ['windows', ['volume'], 'windows', null, 3],
    ['windows.volume', ['volume'], 'windows', null, 7],
    ['fresh', ['freshness'], 'minutes freshness', 300_000, 5],
  ]);
  expect(slo[2]?.burns).toEqual([
    { longMs: 1.5 * HOUR, shortMs: 480_000, rate: 2, page: true },
    { longMs: 300_000, shortMs: 60_000, rate: 3, page: false },
  ]);
});

test('the rule file of docs/slo.md is one', () => {
  const page = readFileSync(new URL('../../docs/slo.md', import.meta.url), 'utf8');
  const [, text = ''] = /```yaml\n([^]*?)```/.exec(page) ?? [];
  const parsed = parseContract(text, FILE);
  expect('problems' in parsed ? lines(parsed.problems) : parsed.contract.slo.map(({ id }) => id)).toEqual(['rows', 'windows', 'fresh']);
});

test.each([
  ['slo: { objective: 100 }', 'slo.objective: an objective of 100 % leaves nothing that may go wrong', 'such as 99.9'],
  ['slo: { objective: 0 }', 'slo.objective: an objective of 0 % leaves nothing to promise', 'such as 99.9'],
  ['slo: { objective: -3 }', 'slo.objective: an objective of -3 %', 'such as 99.9'],
  ['slo: { objective: 99.9999999999 }', 'slo.objective: an objective of 99.9999999999 % leaves nothing', 'such as 99.9'],
  ['slo: { objective: high }', 'slo.objective: a text stands where a number is needed', 'Write a number.'],
  ['slo: {}', 'slo: "objective" is missing', 'Add objective: ….'],
  ['slo: []', 'slo: it is empty', 'Fill it in'],
  ['slo: 99.9', 'slo: a number stands where keys and values or a list is needed', ''],
  ['slo: { objective: 99, ower: 7d }', 'slo.ower: "ower" is not known here', 'over'],
  ['slo: { objective: 99, over: 10m }', 'slo.over: a service level is about 1h to 30d', 'over: 28d'],
  ['slo: { objective: 99, over: 90d }', 'slo.over: a service level is about 1h to 30d', 'over: 28d'],
  ['slo: { objective: 99, of: windows }', 'slo.of: no check of this file is over windows', 'row_count'],
  ['slo: { objective: 99, of: minutes }', 'slo.of: no check of this file says how old the newest row may be', 'freshness'],
  ['slo: { objective: 99, rule: x }', 'slo.rule: of rows, a service level is about all rules', 'Remove rule.'],
  [`${WINDOWED}slo: { objective: 99, of: windows, rule: volumes }`, 'slo.rule: no check over windows has the id "volumes"', 'volume'],
  [`${WINDOWED}slo: { objective: 99, of: minutes, rule: fresh }`, 'slo.rule: no check of freshness has the id "fresh"', ''],
  [
    'checks: [{ id: a, freshness: { max: 5m } }, { id: b, freshness: { max: 1h } }]\nslo: { objective: 99, of: minutes }',
    'slo: several checks are of freshness',
    'Add rule: a, or rule: b.',
  ],
  ['slo: [{ objective: 99 }, { objective: 98 }]', 'slo[1]: the id "rows" is taken by another service level', 'id'],
  ['slo: { objective: 99, burn: [] }', 'slo.burn: it is empty', ''],
  ['slo: { objective: 99, burn: [{ rate: 2 }] }', 'slo.burn[0]: "window" is missing', ''],
  ['slo: { objective: 99, burn: [{ window: 30s, rate: 2 }] }', 'slo.burn[0].window: rows are counted by the minute', '1m'],
  ['slo: { objective: 99, over: 1d, burn: [{ window: 2d, rate: 2 }] }', 'slo.burn[0].window: the window is longer than the 1d', ''],
  ['slo: { objective: 99, burn: [{ window: 1h, short: 2h, rate: 2 }] }', 'slo.burn[0].short: the short window is', 'Correct it'],
  [
    'slo: { objective: 90, burn: [{ window: 1h, rate: 14.4 }] }',
    'slo.burn[0].rate: 14.4 times a budget of 10 % is more than everything',
    '10 or less',
  ],
  ['slo: { objective: 99, min_count: 0 }', 'slo.min_count', ''],
])('%s is refused, with the place and the fix', (text, message, fix) => {
  const [said = ''] = problems(text);
  expect(said).toContain(message);
  expect(said).toContain(fix);
});

test(`a row is counted once, in the minute of its commit, by what the rules said of it (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  const other = { ...orders, name: 'shop.public.others' as DatasetName };
  for (let round = 0; round < 100; round++) {
    const events = Array.from({ length: random.below(60) }, () => {
      const event = insert({ id: 1n }, random.chance(0.2) ? other : orders);
      const op = random.chance(0.1) ? 'read' : 'insert';
      return { ...event, op, committedAtMs: random.below(400_000) } as ChangeEvent; // An insert by another name.
    });
    const batch = new Batch(events, { lane: 'shop/slot' as LaneId, position: '01' as Position });
    for (let i = 0; i < events.length; i++) batch.verdicts[i] = random.below(6);
    const expected = new Map<number, [number, number]>();
    for (const [i, { op, committedAtMs, dataset }] of events.entries()) {
      if (dataset !== orders || op !== 'insert') continue;
      const minute = committedAtMs - (committedAtMs % 60_000);
      const [good, bad] = expected.get(minute) ?? [0, 0];
      const isBad = batch.verdicts[i] === Verdict.Drop || batch.verdicts[i] === Verdict.Quarantine;
      expected.set(minute, isBad ? [good, bad + 1] : [good + 1, bad]);
    }
    const counted = countRows(batch, new Set([orders.name]));
    expect(new Map(counted.map(({ minuteMs, good, bad }) => [minuteMs, [good, bad]]))).toEqual(expected);
    const contract = contractOf('slo: { objective: 99 }');
    await sloStage(() => new Map([[contract.dataset, contract]])).run(batch, new AbortController().signal);
    expect(batch.windows?.minutes ?? []).toEqual(counted);
  }
});

test('minutes are judged by the newest row of their end; those that nobody was there for, by the one of before', () => {
  const objective = { maxAgeMs: 120_000, overMs: HOUR } as Objective;
  const minute = (n: number) => n * 60_000;
  const said = (from: number, newest: number | null, to: number, newestNow: number | null, since = 0) =>
    judgedMinutes(objective, { minuteMs: minute(from), newestMs: newest }, { minuteMs: minute(to), newestMs: newestNow }, since)
      .map(({ good }) => (good === 1 ? '+' : '-'))
      .join('');
  expect(said(9, minute(10), 10, minute(10))).toBe('+');
  expect(said(9, minute(3), 10, minute(9) - 1)).toBe('-');
  // Away from the 11th to the 15th minute: the row of the 10th is too old from the 12th on, and by the 15th there is another.
  expect(said(10, minute(10), 15, minute(15))).toBe('+---+');
  expect(said(10, null, 12, null, minute(11))).toBe('++');
  expect(said(10, null, 12, null, minute(10))).toBe('+-');
  // The first row came after the last look.
  expect(said(10, null, 14, minute(11), minute(14))).toBe('++--');
  expect(said(0, 0, 100_000, minute(100_001))).toHaveLength(61);
});
