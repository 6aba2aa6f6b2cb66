/** `node test/web/screenshot.ts`: takes docs/page.png, the picture of the page in the README, over the stand-in service. */
import { launchBrowser, NO_BROWSER } from './browser.ts';
import { startStandIn } from './stand-in.ts';

const browser = await launchBrowser();
if (browser === null) throw new Error(NO_BROWSER);
try {
  await using service = await startStandIn({ seed: 3, history: 320, judgesAll: true });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(service.url);
  await page.locator('.quarantine tbody tr').first().waitFor();
  await page.addStyleTag({ content: '* { animation: none !important; transition: none !important }' }).catch(() => {}); // Forbidden by the page's policy: then what moves is caught as it stands.
  await page.screenshot({ path: 'docs/page.png', animations: 'disabled' });
} finally {
  await browser.close();
}
