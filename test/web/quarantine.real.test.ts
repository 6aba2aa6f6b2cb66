/// <reference lib="dom" />
/** The quarantine of the page in a real browser, as page.real.test.ts has the rest of it. */
import { describe, expect, test } from 'vitest';
import { newest, shownInBrowser } from './shown.ts';
import type { StandIn } from './stand-in.ts';

const open = shownInBrowser();

describe('the quarantine', () => {
  test('releasing shows first what would become of the row, and does nothing until it is confirmed', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    const item = newest(service);
    await page.locator('.quarantine tbody tr').first().getByRole('button', { name: 'Release' }).click();
    const words = { 'would-pass': 'would pass', 'still-fails': 'still fails', superseded: 'superseded' }[item.outcome];
    await page.getByRole('dialog').locator('.results').getByText(words).waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(item.status).toBe('held');
    await page.locator('.quarantine tbody tr').first().getByRole('button', { name: 'Release' }).click();
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^Release/ })
      .click();
    await page.getByText('The row is on its way back.').waitFor();
    expect(item.status).toBe('applied');
    await page.locator('.quarantine tbody').getByText(item.key, { exact: true }).waitFor({ state: 'detached' });
  });

  test('every row that fits is released at once, also those beyond what is shown', async () => {
    await using shown = await open({ history: 300 });
    const { page, service } = shown;
    const rule = 'orders.currency.format';
    const [fitting, others] = [service.items.filter(holds(rule)), service.items.filter((item) => !holds(rule)(item))];
    await page.getByLabel('Rule', { exact: true }).selectOption(rule);
    await page.waitForFunction(
      ([id]) => [...document.querySelectorAll('.quarantine tbody code')].every((code) => code.textContent === id),
      [rule],
    );
    await page.getByRole('checkbox', { name: 'Select all rows shown' }).check();
    await page.getByRole('button', { name: 'Choose every open row that fits' }).click();
    await page.getByRole('button', { name: 'Release all…' }).click();
    await page
      .getByRole('dialog')
      .getByRole('heading', { name: `Release ${fitting.length} rows?` })
      .waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Release', exact: true }).click();
    await page.getByText(`${fitting.length} rows are on their way back.`).waitFor();
    expect(fitting.length).toBeGreaterThan(100);
    expect(new Set(fitting.map(({ status }) => status))).toEqual(new Set(['applied']));
    expect(new Set(others.map(({ status }) => status))).toEqual(new Set(['held']));
    expect(await page.getByRole('button', { name: 'Release…' }).isDisabled()).toBe(true);
  });

  test('what is held is told by rule, and a rule shows its rows', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    const chip = page.locator('.by-rule button').first();
    await chip.waitFor();
    const rule = (await chip.locator('code').textContent()) ?? '';
    expect(await chip.locator('.badge').textContent()).toBe(String(service.items.filter(holds(rule)).length));
    await chip.click();
    await page.locator(".by-rule button[aria-pressed='true']").waitFor();
    expect(await page.getByLabel('Rule', { exact: true }).inputValue()).toBe(rule);
    const listed = await page.locator('.quarantine tbody code').allTextContents();
    expect([new Set(listed), listed.length > 0]).toEqual([new Set([rule]), true]);
    await chip.click();
    await page.locator(".by-rule button[aria-pressed='true']").waitFor({ state: 'detached' });
    expect(await page.getByLabel('Rule', { exact: true }).inputValue()).toBe('');
  });

  test('a row is found by its key, and released from where its cells are shown', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    const item = service.items.findLast(({ outcome }) => outcome === 'would-pass');
    if (item === undefined) throw new Error('the stand-in holds nothing');
    await page.getByLabel('Key', { exact: true }).fill(item.key);
    await page.waitForFunction(() => document.querySelectorAll('.quarantine tbody tr').length === 1);
    await page.getByRole('button', { name: new RegExp(item.key) }).click();
    await page.getByRole('dialog').getByText(item.id).waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Release…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Release', exact: true }).click();
    await page.getByText('The row is on its way back.').waitFor();
    expect(item.status).toBe('applied');
  });

  test('a row that waits for the one that it names says until when, and of another day which', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    const [held] = service.items;
    if (held === undefined) throw new Error('the stand-in holds nothing');
    const { nowMs } = service.status();
    for (const days of [0, 3])
      service.items.push({ ...held, id: `waiting ${days}`, key: 'waiting', waitsUntilMs: nowMs + days * 86_400_000 });
    await page.getByLabel('Key', { exact: true }).fill('waiting');
    await page.waitForFunction(() => document.querySelectorAll('.quarantine tbody tr').length === 2);
    expect(await page.locator('.quarantine tbody .state.waiting').allTextContents()).toEqual([
      expect.stringMatching(/^Waits until (?!\d\d:)/),
      expect.stringMatching(/^Waits until \d\d:\d\d:\d\d$/),
    ]);
  });

  test('each pipeline shows its own', async () => {
    await using shown = await open({ history: 60 });
    shown.service.pipeline = { name: 'another' };
    await shown.page.getByRole('heading', { name: 'another', exact: true }).waitFor();
    await shown.page.getByText('Nothing is held').waitFor();
  });

  test('several rows are discarded at once, with the reason that was given', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    const chosen = service.items.slice(-2);
    for (const { key } of chosen) await page.getByRole('checkbox', { name: `Select orders ${key}`, exact: true }).check();
    await page.getByRole('button', { name: 'Discard 2…' }).click();
    await page.getByRole('button', { name: 'Discard', exact: true }).click();
    expect(chosen.map(({ status }) => status)).toEqual(['held', 'held']); // Without a reason nothing happens.
    await page.getByLabel('Why').fill('test orders');
    await page.getByRole('button', { name: 'Discard', exact: true }).click();
    await page.getByText('2 rows are discarded.').waitFor();
    expect(chosen.map(({ status, why }) => [status, why])).toEqual([
      ['discarded', 'test orders'],
      ['discarded', 'test orders'],
    ]);
  });

  test('rows do not move while some are chosen; newer ones wait behind a button', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    const first = newest(service);
    await page.getByRole('checkbox', { name: `Select orders ${first.key}`, exact: true }).check();
    while (newest(service) === first) service.tick();
    await page.getByRole('button', { name: 'Show newer rows' }).waitFor();
    expect(await page.locator('.quarantine tbody .key').first().textContent()).toBe(first.key);
    await page.getByRole('button', { name: 'Show newer rows' }).click();
    await page.getByRole('checkbox', { name: `Select orders ${newest(service).key}`, exact: true }).waitFor();
    expect(await page.getByRole('checkbox', { name: `Select orders ${first.key}`, exact: true }).isChecked()).toBe(true);
  });

  test('a row opens with its cells, and what the rules hide stays hidden', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    await page.getByRole('button', { name: new RegExp(newest(service).key) }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('numeric').or(dialog.getByText('120.00')).first().waitFor();
    await dialog.getByText('redacted').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  test('filters ask for what they say, and older rows come on demand', async () => {
    await using shown = await open({ history: 60 });
    const { page, service } = shown;
    await page.getByRole('button', { name: 'Show older' }).click();
    await page.waitForFunction(() => document.querySelectorAll('.quarantine tbody tr').length > 12);
    await page.getByLabel('Status').selectOption('discarded');
    await page.getByText('Nothing here').waitFor();
    await page.getByLabel('Status').selectOption('open');
    await page.getByLabel('Dataset').selectOption('shop.public.customers');
    await page.getByText('Nothing is held').waitFor();
    expect(service.items.length).toBeGreaterThan(12);
  });
});

const holds =
  (rule: string) =>
  ({ findings }: StandIn['items'][number]) =>
    findings.some((finding) => finding.rule === rule);
