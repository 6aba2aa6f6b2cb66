/// <reference lib="dom" />
/**
 * The page in a real browser, over the stand-in service (stand-in.ts). What runs in the page is written here too, hence the DOM's types;
 * the build leaves test/ out, so what ships is still checked without them.
 */
import { describe, expect, test } from 'vitest';
import type { SloView } from '../../app/http/rule-shapes.ts';
import type { PipelineStatus } from '../../app/http/shapes.ts';
import type { DatasetName } from '../../core/event.ts';
import { newest, shownInBrowser } from './shown.ts';

const open = shownInBrowser();

const windowOf = (rule: string, verdict: 'pass' | 'fail' | 'indeterminate', more: Partial<PipelineStatus['windows'][number]> = {}) => ({
  pipeline: 'shop-to-warehouse',
  dataset: 'shop.public.orders',
  rule,
  type: 'mean',
  column: 'total',
  startMs: Date.UTC(2026, 4, 1, 10),
  endMs: Date.UTC(2026, 4, 1, 10, 5),
  group: null,
  verdict,
  revision: 1,
  observed: 41.25,
  reason: null,
  rows: 1200,
  missing: 0,
  severity: 'critical' as const,
  onFail: 'alert' as const,
  version: 1,
  digest: '3fa9c1d2e4b5',
  atMs: Date.UTC(2026, 4, 1, 10, 6),
  ...more,
});
/** What they said last: of a rule by groups, of freshness, and of more rules than a card shows. */
const WINDOWS = [
  windowOf('total.mean', 'pass', { observed: 1234567.891 }),
  ...['2', '3', '4'].map((shop) => windowOf('paid.null_rate', 'pass', { group: shop, observed: 0.0123456789 })),
  windowOf('email.max', 'indeterminate', { observed: null, reason: 'the values of 3 rows are not known' }),
  windowOf('volume', 'fail', { type: 'row_count', observed: 0, rows: 1, revision: 2, reason: 'fewer orders than on any day' }),
  windowOf('freshness', 'fail', { type: 'freshness', observed: 330, rows: 0 }),
];

const level = (id: 'rows' | 'windows' | 'minutes', promise: string, more: Partial<SloView>): SloView => ({
  pipeline: 'shop-to-warehouse',
  dataset: 'shop.public.orders',
  id,
  promise,
  objective: 99,
  of: id,
  rules: [],
  overMs: 86_400_000,
  good: 0,
  bad: 0,
  budgetLeft: null,
  burns: [],
  troubles: [],
  ...more,
});
const burn = { shortMs: 300_000, rate: 14.4, page: true, short: 0, isBurning: false };
const LEVELS = [
  level('rows', '99.9 % of rows over 28d', {
    good: 199_950,
    bad: 50,
    budgetLeft: 0.75,
    burns: [
      { ...burn, longMs: 3_600_000, window: '1h', long: 0.25 },
      { ...burn, longMs: 259_200_000, window: '3d', long: 0.1 },
    ],
  }),
  level('windows', '99 % of windows over 7d', {
    good: 90,
    bad: 10,
    budgetLeft: -9,
    troubles: ['99 % of windows over 7d is not kept: more was bad than it allows'],
  }),
  level('minutes', '95 % of minutes fresh (freshness) over 90m', {}),
];

describe('what flows', () => {
  test('numbers, charts, rules, scores and held rows are shown, and the page asks nobody else and reports no error', async () => {
    await using shown = await open({ history: 120 });
    const { page } = shown;
    await page.getByText('Live', { exact: true }).waitFor();
    for (const name of ['customers', 'orders', 'payments']) await page.getByRole('article', { name: `shop.public.${name}` }).waitFor();
    const orders = page.getByRole('article', { name: 'shop.public.orders' });
    expect(await orders.getByRole('img', { name: 'Rows of orders' }).getAttribute('aria-label')).toMatch(
      /^Rows of orders a second\. In the last 5 min: [1-9][\d.,]*K? passed, /,
    );
    expect(await orders.locator('.rules li').count()).toBe(4);
    expect((await orders.locator('path.pass').getAttribute('d'))?.length).toBeGreaterThan(500);
    expect(
      await page
        .getByRole('img', { name: /Scores of order-risk version 1/ })
        .locator('rect.bin')
        .count(),
    ).toBe(20);
    expect(await page.locator('.quarantine tbody tr').count()).toBe(12);
    expect(await page.locator('.tile', { hasText: 'Ledger' }).locator('b').textContent()).toBe('closed');
    expect(shown.errors).toEqual([]);
    expect(shown.elsewhere).toEqual([]);
  });

  test('it goes on by itself: another second of traffic is seen without a reload', async () => {
    await using shown = await open({ history: 30 });
    const total = shown.page.locator('.tile').first().locator('.note');
    const before = await total.textContent();
    shown.service.tick();
    await shown.page.waitForFunction(([was]) => document.querySelector('.tile .note')?.textContent !== was, [before]);
  });

  test('before the first change it says that there is none, and that nothing is held', async () => {
    await using shown = await open({ quiet: true });
    await shown.page.getByText('Nothing is held').waitFor();
    expect(await shown.page.locator('.tile').first().locator('b').textContent()).toBe('0');
  });

  test('the first copy shows how far it is', async () => {
    await using shown = await open({ quiet: true });
    shown.service.pipeline = { snapshot: [{ dataset: 'shop.public.orders', rowsDone: 50_000, rowsEstimated: 200_000, state: 'copying' }] };
    const bar = shown.page.getByRole('progressbar', { name: 'First copy of shop.public.orders' });
    await bar.waitFor();
    expect(await bar.getAttribute('value')).toBe('25');
  });
});

describe('the charts', () => {
  test('a short peak is cut and says how high it was, so that what follows is not pressed flat', async () => {
    await using shown = await open({ history: 60, firstRows: 9000 });
    const orders = shown.page.getByRole('article', { name: 'shop.public.orders' });
    await orders.getByText(/^▲ [23],\d{3}$/).waitFor(); // In steps of three seconds.
    const line = (await orders.locator('path.edge').getAttribute('d')) ?? '';
    const heights = [...line.matchAll(/ ([\d.]+)/g)].map(([, y]) => 112 - Number(y));
    expect(heights.length).toBeLessThan(25); // What came before the service started is not drawn.
    // Of 96. The first step may hold nothing but the second of the start, and the newest may still be filling.
    expect(Math.min(...heights.slice(1, -2))).toBeGreaterThan(24);
  });

  test('of many tables those that hold something are shown, and the rest on demand', async () => {
    await using shown = await open({ history: 30 });
    const { page, service } = shown;
    const orders = service.status().pipelines[0]?.datasets.find(({ dataset }) => dataset === 'shop.public.orders');
    if (orders === undefined) throw new Error('the stand-in has orders');
    const quiet = Array.from({ length: 24 }, (_, i) => ({
      ...orders,
      dataset: `shop.public.t${i}` as DatasetName,
      quarantine: { ...orders.quarantine, held: 0 },
    }));
    service.pipeline = { name: 'many', datasets: [...quiet, orders] };
    await page.getByRole('button', { name: 'Show all 25 tables' }).waitFor();
    expect(await page.getByRole('article').count()).toBe(9);
    expect(await page.getByRole('article', { name: 'shop.public.orders' }).count()).toBe(1);
    await page.getByRole('button', { name: 'Show all 25 tables' }).click();
    expect(await page.getByRole('article').count()).toBe(25);
  });
});

test('a change of a table that waits for somebody is told at the table, with how to look at it', async () => {
  await using shown = await open({ history: 30 });
  const { page, service } = shown;
  const change = {
    id: 'shop-to-warehouse-3',
    pipeline: 'shop-to-warehouse',
    dataset: 'shop.public.orders',
    status: 'held',
    kinds: [],
    message: 'the column total is numeric(10,2) and was numeric(12,2)',
    problem: null,
    held: 1234,
    reread: null,
    atMs: Date.now(),
    settledAtMs: null,
    by: null,
    why: null,
  } as const;
  service.pipeline = { schemaChanges: [change] };
  const notice = page.getByRole('article', { name: 'shop.public.orders' }).locator('.parked');
  await notice.getByText('A change of this table waits for you').waitFor();
  expect(await notice.textContent()).toContain('was numeric(12,2). 1,234 events are held for it.');
  expect(await notice.locator('code').textContent()).toBe('tidegate schema show CONFIG shop-to-warehouse-3');
  expect(await page.locator('.parked:visible').count()).toBe(1);
  const kinds = [{ kind: 'table', policy: 'hold', column: null, message: 'the table is new' }];
  service.pipeline = {
    schemaChanges: [{ ...change, kinds, message: 'the table is new', held: 0 }],
    ready: false,
    notReady: ['shop.public.orders is new and is not read'],
  };
  await notice.getByText('This new table waits for you').waitFor();
  expect(await notice.textContent()).toContain('waits for youIt is copied and followed once you approve it.');
  await page.getByText('shop.public.orders is new and is not read.').waitFor();
  await page.getByText('All else goes on, and nothing is lost.').waitFor();
  service.pipeline = { schemaChanges: [], ready: true, notReady: [] };
  await notice.waitFor({ state: 'hidden' });
});

test('a card has what rules over windows said last: what failed first, with what was observed, of which window, in which revision', async () => {
  await using shown = await open({ history: 60 });
  const { page, service } = shown;
  const card = page.getByRole('article', { name: 'shop.public.orders' });
  const list = card.getByRole('list', { name: 'Windows of orders' });
  expect(await list.isHidden()).toBe(true);
  service.pipeline = { windows: WINDOWS };
  await list.waitFor();
  const said = await list
    .locator('li')
    .evaluateAll((lines) => lines.map((line) => [...line.children].slice(0, 3).map(({ textContent }) => textContent)));
  expect(said).toEqual([
    ['volume', '0', 'failed'],
    ['freshness', '5 min 30 s', 'failed'],
    ['email.max', '', 'not known'],
    ['total.mean', '1,234,567.89', 'passed'],
    ['paid.null_rate · 2', '0.0123457', 'passed'],
  ]);
  expect(await list.locator('li').first().locator('p').textContent()).toMatch(/ – .* · 1 row · revision 2 · fewer orders than on any day$/);
  await card.getByText('and 2 more, 2 passed').waitFor();
  expect(shown.errors).toEqual([]);
  expect(await page.getByRole('article', { name: 'shop.public.payments' }).locator('.windows').isHidden()).toBe(true);
});

test('a rule shows its last hour on the card, and all rules of the table what they found and let pass', async () => {
  await using shown = await open({ history: 120 });
  const { page } = shown;
  const card = page.getByRole('article', { name: 'shop.public.orders' });
  const hour = card.locator('.rules li svg').first();
  expect(await hour.getAttribute('aria-label')).toMatch(/^[\w.[\]-]+: [1-9][\d,]* in the last hour, at most [1-9][\d,]* a minute$/);
  expect((await hour.locator('path').getAttribute('d'))?.match(/M/g)?.length).toBeGreaterThanOrEqual(2);
  await card.getByRole('button', { name: 'All rules…' }).click();
  const rows = page.getByRole('dialog', { name: 'Rules of shop.public.orders' }).locator('tbody tr');
  await rows.first().waitFor();
  const cells = await rows.evaluateAll((lines) =>
    lines.map((line) => [...line.children].slice(0, 4).map(({ textContent }) => textContent)),
  );
  expect(cells.map(([name]) => name)).toContain('order-risk.route[1]');
  for (const [, , found, passed] of cells) expect([found, passed].join(' ')).toMatch(/^[1-9][\d,.]*K? [1-9][\d,.]*K?$/);
  await page.getByRole('button', { name: 'Close' }).click();
  expect(shown.errors).toEqual([]);
});

test('all rules of a table are shown with what those over windows said lately: each window once, with what was observed, oldest first', async () => {
  await using shown = await open({ history: 5 });
  const { page, service } = shown;
  const MINUTE_MS = 60_000;
  const minute = (rule: string, n: number, verdict: 'pass' | 'fail' | 'indeterminate', more: Parameters<typeof windowOf>[2] = {}) =>
    windowOf(rule, verdict, { startMs: n * MINUTE_MS, endMs: (n + 1) * MINUTE_MS, atMs: (n + 2) * MINUTE_MS, ...more });
  const volume = Array.from({ length: 40 }, (_, n) => minute('volume', n, n === 38 ? 'fail' : 'pass', { observed: n === 38 ? 0 : 100 }));
  const late = minute('volume', 37, 'fail', { observed: 50, revision: 2, reason: 'late rows', atMs: 50 * MINUTE_MS });
  const elsewhere = Array.from({ length: 100 }, () => minute('volume', 39, 'fail', { pipeline: 'another' }));
  const kinds = minute('status.values', 3, 'indeterminate', { observed: ['new', 'paid'], group: '2' });
  service.windows = [late, ...elsewhere, ...volume.toReversed(), kinds];
  service.pipeline = { windows: [minute('volume', 39, 'pass', { observed: 100 }), kinds] };
  await page.getByRole('list', { name: 'Windows of orders' }).waitFor();
  const card = page.getByRole('article', { name: 'shop.public.orders' });
  await card.getByRole('button', { name: 'All rules…' }).click();
  const history = page.getByRole('list', { name: 'The last windows of each rule' });
  const rows = history.locator('li');
  await rows.first().waitFor();
  expect(
    await rows.evaluateAll((lines) =>
      lines.map((line) => [...line.children].filter(({ tagName }) => tagName !== 'svg').map(({ textContent }) => textContent)),
    ),
  ).toEqual([
    ['status.values · 2', '["new","paid"]', 'not known', expect.stringMatching(/ – .* · 1,200 rows$/), '0 of the last 1 windows failed'],
    ['volume', '100', 'passed', expect.stringMatching(/ – .* · 1,200 rows$/), '2 of the last 30 windows failed'],
  ]);
  const strip = history.getByRole('img', { name: 'volume: 2 of the last 30 windows failed' });
  const bars = await strip
    .locator('rect')
    .evaluateAll((rects) =>
      rects.map((rect) => ({ kind: rect.getAttribute('class'), height: Number(rect.getAttribute('height')), title: rect.textContent })),
    );
  const most = Math.max(...bars.map(({ height }) => height));
  expect(bars.map(({ kind }) => kind)).toEqual([...Array<string>(27).fill('good'), 'bad', 'bad', 'good']);
  expect(bars[27]?.height).toBe(most / 2);
  expect(bars[28]?.height).toBeGreaterThan(0);
  expect(bars[28]?.height).toBeLessThan(most / 2);
  expect(bars[27]?.title).toMatch(/ – .* · failed, 50 observed · late rows$/);
  await page.getByRole('button', { name: 'Close' }).click();

  service.windows = null;
  await card.getByRole('button', { name: 'All rules…' }).click();
  await page.getByText('What rules over windows said cannot be read: The target cannot be asked.').waitFor();
  await page.getByRole('button', { name: 'Close' }).click();
  expect(shown.errors.filter((error) => !error.includes('503'))).toEqual([]);
});

test('a card has the service levels of its table: what is left of the budget, and what is wrong with one', async () => {
  await using shown = await open({ history: 60 });
  const { page, service } = shown;
  const card = page.getByRole('article', { name: 'shop.public.orders' });
  const list = card.getByRole('list', { name: 'Service levels of orders' });
  expect(await list.isHidden()).toBe(true);
  service.pipeline = { slo: LEVELS };
  await list.waitFor();
  const said = await list
    .locator('li')
    .evaluateAll((lines) => lines.map((line) => [...line.children].map(({ textContent }) => textContent)));
  expect(said).toEqual([
    ['99.9 % of rows over 28d', '75 % of budget left', '', '50 bad of 200K · burns 0.25× over 1h, 0.1× over 3d'],
    ['99 % of windows over 7d', 'not kept', '', '99 % of windows over 7d is not kept: more was bad than it allows'],
    ['95 % of minutes fresh (freshness) over 90m', 'nothing counted', '', '0 bad of 0'],
  ]);
  const budget = list.getByRole('meter').first();
  expect([await budget.getAttribute('aria-valuenow'), await budget.locator('i').evaluate(({ style }) => style.width)]).toEqual([
    '75',
    '75%',
  ]);
  expect(shown.errors).toEqual([]);
  service.pipeline = { slo: [] };
  await list.waitFor({ state: 'hidden' });
});

test('a card says by which rules its table is judged, what a draft would change, and that a newer revision was refused', async () => {
  await using shown = await open({ history: 60 });
  const { page, service } = shown;
  const card = page.getByRole('article', { name: 'shop.public.orders' });
  const dataset = 'shop.public.orders';
  const file = { dataset, file: 'orders.yaml', sinceMs: Date.now() };
  const counts = { events: 1200, freed: 5, taken: 3, out: 40, failures: 0 };
  const draft = { ...file, revision: '8@0123456789ab', ...counts, rules: [], notAsked: ['email.unique'], examples: [] };
  const problem = { severity: 'error', path: 'orders.yaml:3:1', message: 'unknown key "colums"', fix: 'Did you mean columns?' } as const;
  const current = { ...file, version: 7, revision: '7@3fa9c1d2e4b5', mode: 'enforce' } as const;
  service.pipeline = { rules: { datasets: [current], drafts: [draft], changedOnDisk: false, refused: { atMs: 0, problems: [problem] } } };
  await card.getByText('Draft 8@0123456789ab would hold 3 that pass and let 5 pass that are held, of 1,200 rows.').waitFor();
  expect(await card.locator('.draft').textContent()).toMatch(/ Left out, .*: email\.unique\.$/);
  expect(await card.locator('.revision').textContent()).toContain('A newer revision was refused: orders.yaml:3:1: unknown key "colums"');
  service.pipeline = { rules: { datasets: [current], drafts: [], changedOnDisk: false, refused: null } };
  await card.locator('.draft').waitFor({ state: 'hidden' });
  expect(await card.locator('.revision').textContent()).toMatch(/^Rules 7@3fa9c1d2e4b5 since/);
});

describe('when something is wrong', () => {
  test('a halted pipeline says why and what to do, and goes on when it is resumed', async () => {
    await using shown = await open({ history: 30 });
    const { page, service } = shown;
    const error = {
      code: 'TOO_MUCH_QUARANTINE',
      message: '24 % of the last 160 events went to quarantine',
      fix: 'Look at them, then resume.',
      atMs: 0,
    };
    service.pipeline = { state: 'halted', error };
    const banner = page.getByRole('alert').filter({ hasText: 'Halted: TOO_MUCH_QUARANTINE' });
    await banner.getByText(error.message).waitFor();
    await banner.getByText(error.fix).waitFor();
    expect(await page.title()).toBe('(halted) Tidegate');
    await banner.getByRole('button', { name: 'Resume…' }).click();
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await banner.waitFor({ state: 'hidden' });
    expect(service.requests).toContain('POST /api/pipelines/shop-to-warehouse/resume');
  });

  test('a pipeline is halted from here, and says who and why', async () => {
    await using shown = await open({ history: 30 });
    const { page } = shown;
    await page.getByRole('button', { name: 'Halt…' }).click();
    await page.getByLabel('Why, if you like').fill('the night');
    await page.getByRole('button', { name: 'Halt', exact: true }).click();
    await page.getByRole('alert').getByText('halted by local: the night').waitFor();
    expect(await page.getByRole('button', { name: 'Halt…' }).count()).toBe(0);
  });

  test('one that runs and is not ready says why, and while it copies that it does', async () => {
    await using shown = await open({ history: 30 });
    const { page, service } = shown;
    await page.locator('.pill', { hasText: 'Running' }).waitFor();
    service.pipeline = { ready: false, notReady: ['the target has not answered for 12s'] };
    await page.getByRole('alert').getByText('The target has not answered for 12s.').waitFor();
    await page.locator('.pill', { hasText: 'Not ready' }).waitFor();
    const snapshot = [{ dataset: 'shop.public.orders', rowsDone: 1, rowsEstimated: 2, state: 'copying' as const }];
    service.pipeline = { ready: false, notReady: ['shop.public.orders is still being copied (1 of about 2 rows)'], snapshot };
    await page.locator('.pill', { hasText: 'Copying' }).waitFor();
    await page.getByRole('alert').waitFor({ state: 'hidden' });
  });

  test('a pipeline that tries again says when', async () => {
    await using shown = await open({ history: 30 });
    const error = { code: 'TARGET_UNREACHABLE', message: 'connecting to warehouse', fix: 'Check that the target is up.', atMs: 0 };
    shown.service.pipeline = { state: 'backing-off', error, attempt: 3, retryAtMs: Date.now() + 60_000 };
    await shown.page.getByText(/TARGET_UNREACHABLE, trying again in \d+ s \(attempt 4\)/).waitFor();
  });

  test('a lost connection is said, and the page comes back by itself', async () => {
    await using shown = await open({ history: 30 });
    await shown.page.getByText('Live', { exact: true }).waitFor();
    await shown.service.down();
    await shown.page.getByText(/Connection lost, trying again/).waitFor();
    await shown.service.up();
    await shown.page.getByText('Live', { exact: true }).waitFor();
  });

  test('where the service wants a token, the page asks for it and uses it', async () => {
    await using shown = await open({ history: 30, token: 'a-token-of-sixteen-or-more' });
    const { page } = shown;
    await page.getByLabel('Token', { exact: true }).fill('a-wrong-token-of-some-length');
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByLabel('Token', { exact: true }).fill('a-token-of-sixteen-or-more');
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByText('Live', { exact: true }).waitFor();
    await page.locator('.quarantine tbody tr').first().waitFor();
  });
});

describe('for everybody', () => {
  test.each(['light', 'dark'] as const)('in %s, every text stands out from what is behind it (WCAG AA)', async (colorScheme) => {
    await using shown = await open({ history: 60 }, { colorScheme });
    const { page, service } = shown;
    service.pipeline = {
      state: 'halted',
      error: { code: 'RULE_HALT', message: 'a check failed', fix: 'Look at the row.', atMs: 0 },
      windows: WINDOWS,
    };
    await page.getByRole('alert').getByText('a check failed').waitFor();
    await page.locator('.quarantine tbody tr').first().waitFor();
    await page.addStyleTag({ content: '* { transition: none !important }' }).catch(() => {}); // The policy may forbid it; then nothing moves long.
    expect(await page.evaluate(faintTexts)).toEqual([]);
  });

  test('every control has a name, and the keyboard reaches them', async () => {
    await using shown = await open({ history: 60 });
    const { page } = shown;
    await page.locator('.quarantine tbody tr').first().waitFor();
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>('button, input, select, a')]
        .filter((one) => one.offsetParent !== null)
        .filter((one) => (one.getAttribute('aria-label') ?? one.closest('label')?.textContent ?? one.textContent ?? '').trim() === '')
        .map((one) => one.outerHTML.slice(0, 100)),
    );
    expect(nameless).toEqual([]);
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the pipelines');
  });

  test('the chosen theme is kept, and wins over that of the system', async () => {
    await using shown = await open({ history: 5 }, { colorScheme: 'light' });
    const { page } = shown;
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.getByRole('button', { name: 'Switch between light and dark' }).click();
    const dark = await background();
    expect(dark).not.toBe(light);
    await page.reload();
    expect(await background()).toBe(dark);
  });

  test.each([390, 768, 1440])('at a width of %i nothing has to be scrolled sideways', async (width) => {
    await using shown = await open({ history: 30 }, { viewport: { width, height: 800 } });
    const { page, service } = shown;
    await page.locator('.quarantine tbody tr').first().waitFor();
    const beyond = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(await beyond()).toBeLessThanOrEqual(0);
    await page.locator('.quarantine tbody').getByRole('button', { name: 'Release' }).first().click();
    await page.getByRole('dialog').waitFor();
    expect(
      await page.evaluate(() =>
        Math.max(...[...document.querySelectorAll('dialog, dialog *')].map((one) => one.scrollWidth - one.clientWidth)),
      ),
    ).toBeLessThanOrEqual(0);
    await page.getByRole('button', { name: 'Cancel' }).click();
    const long = 'a_name_that_somebody_made_by_a_tool_and_nobody_ever_reads_aloud';
    const [finding] = newest(service).findings;
    if (finding === undefined) throw new Error('the newest item has no reason');
    const findings = Array.from({ length: 40 }, (_, n) => ({ ...finding, rule: `${long}_${n}` }));
    service.items.push({ ...newest(service), id: long, findings });
    await page.reload();
    await page.getByText('and 36 more', { exact: true }).waitFor();
    expect(await page.locator('.quarantine tbody tr').first().locator('.reason').count()).toBe(4);
    expect(await beyond()).toBeLessThanOrEqual(0);

    service.pipeline = { name: long, source: long, target: long, targetSchema: long, windows: WINDOWS };
    await page.getByRole('heading', { name: long }).waitFor();
    expect(await beyond()).toBeLessThanOrEqual(0);
  });
});

/** Texts whose contrast with the background is below 4.5 (3 where large), as "ratio text". Runs in the page. */
function faintTexts(): string[] {
  const parse = (color: string) => {
    const parts = color.match(/[\d.]+/g)?.map(Number) ?? [];
    const scale = color.startsWith('color(') ? 255 : 1; // color(srgb r g b / a): what color-mix computes to.
    return { rgb: parts.slice(0, 3).map((part) => part * scale), alpha: parts[3] ?? 1 };
  };
  const luminance = (rgb: readonly number[]) => {
    const [r = 0, g = 0, b = 0] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backgroundOf = (element: Element): number[] => {
    const layers: { rgb: number[]; alpha: number }[] = [];
    for (let at: Element | null = element; at !== null; at = at.parentElement) {
      const layer = parse(getComputedStyle(at).backgroundColor);
      if (layer.alpha > 0) layers.push(layer);
      if (layer.alpha === 1) break;
    }
    return layers.reduceRight<number[]>(
      (below, { rgb, alpha }) => rgb.map((part, i) => part * alpha + (below[i] ?? 255) * (1 - alpha)),
      [255, 255, 255],
    );
  };
  const faint = new Set<string>();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = (node.textContent ?? '').trim();
    if (
      element === null ||
      text === '' ||
      !element.checkVisibility() ||
      element.closest('svg, .hidden, .skip, noscript, :disabled, .tip') !== null
    )
      continue;
    const style = getComputedStyle(element);
    const background = backgroundOf(element);
    const { rgb, alpha } = parse(style.color);
    const color = rgb.map((part, i) => part * alpha + (background[i] ?? 255) * (1 - alpha));
    const [low = 0, high = 0] = [luminance(color), luminance(background)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const large =
      Number.parseFloat(style.fontSize) >= 24 || (Number.parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.add(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return [...faint];
}
