/** The page in a real browser, over the stand-in service. */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { launchBrowser, NO_BROWSER } from './browser.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

/** For a file of tests, which are left out where there is no browser. Opens the page over a service of its own, and keeps what goes wrong in it. */
export function shownInBrowser() {
  let browser: Browser | null = null;
  beforeAll(async () => {
    browser = await launchBrowser();
  }, 330_000);
  beforeEach((context) => context.skip(browser === null, NO_BROWSER));
  afterAll(async () => {
    await browser?.close();
  });
  return async (
    options: { history?: number; quiet?: boolean; firstRows?: number; token?: string },
    context: BrowserContextOptions = {},
  ) => {
    if (browser === null) throw new Error(NO_BROWSER);
    const service = await startStandIn(options);
    service.token = options.token ?? null;
    const profile = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...context });
    const page: Page = await profile.newPage();
    page.setDefaultTimeout(15_000);
    const errors: string[] = [];
    const elsewhere: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text());
    });
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('request', (request) => {
      if (!request.url().startsWith(service.url)) elsewhere.push(request.url());
    });
    await page.goto(service.url);
    if (options.token === undefined) await page.locator('.pipeline').waitFor();
    return {
      page,
      service,
      errors,
      elsewhere,
      async [Symbol.asyncDispose]() {
        await profile.close();
        await service[Symbol.asyncDispose]();
      },
    };
  };
}

/** What is held last. */
export const newest = (service: StandIn) => {
  const item = service.items.at(-1);
  if (item === undefined) throw new Error('the stand-in holds nothing');
  return item;
};
