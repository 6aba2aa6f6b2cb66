/** `node test/web/screenshot.ts`: takes docs/page.png, the picture of the page in the README, over the stand-in service. */
import type { SloView } from '../../app/http/rule-shapes.ts';
import type { WindowView } from '../../app/http/shapes.ts';
import { launchBrowser, NO_BROWSER } from './browser.ts';
import { startStandIn } from './stand-in.ts';

const orders = { pipeline: 'shop-to-warehouse', dataset: 'shop.public.orders' } as const;
const HOUR = 3_600_000;
const burn = { shortMs: HOUR / 12, rate: 14.4, page: true, short: 0.2, isBurning: false };
const LEVELS: readonly SloView[] = [
  {
    ...orders,
    id: 'rows',
    promise: '99.9 % of rows over 28d',
    objective: 99.9,
    of: 'rows',
    rules: [],
    overMs: 672 * HOUR,
    good: 8_412_077,
    bad: 2_310,
    budgetLeft: 0.725,
    burns: [
      { ...burn, longMs: HOUR, window: '1h', long: 0.31 },
      { ...burn, longMs: 72 * HOUR, window: '3d', long: 0.27 },
    ],
    troubles: [],
  },
];
const endMs = Math.floor(Date.now() / 300_000) * 300_000;
const judged = {
  ...orders,
  column: null,
  startMs: endMs - 300_000,
  endMs,
  group: null,
  verdict: 'pass',
  revision: 1,
  reason: null,
  rows: 118_204,
  missing: 0,
  severity: 'critical',
  onFail: 'alert',
  version: 7,
  digest: '3fa9c1d2e4b5',
  atMs: endMs,
} as const;
const WINDOWS: readonly WindowView[] = [
  { ...judged, rule: 'total.mean', type: 'mean', column: 'total', observed: 84.21 },
  { ...judged, rule: 'volume', type: 'row_count', observed: 118_204 },
];

const browser = await launchBrowser();
if (browser === null) throw new Error(NO_BROWSER);
try {
  await using service = await startStandIn({ seed: 3, history: 320, judgesAll: true });
  service.pipeline = { slo: LEVELS, windows: WINDOWS };
  const page = await browser.newPage({ viewport: { width: 1280, height: 1120 } });
  await page.goto(service.url);
  await page.locator('.quarantine tbody tr').first().waitFor();
  await page.addStyleTag({ content: '* { animation: none !important; transition: none !important }' }).catch(() => {}); // Forbidden by the page's policy: then what moves is caught as it stands.
  await page.screenshot({ path: 'docs/page.png', animations: 'disabled' });
} finally {
  await browser.close();
}
