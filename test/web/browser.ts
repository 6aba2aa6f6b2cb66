/** A real Chromium for the tests of the page: the system's own, installed first where that is possible. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const MAC = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

/** Why there is no browser, for the tests to say. */
export const NO_BROWSER =
  'no Chromium or Chrome on this machine, and none could be installed: install one (Debian: apt-get install chromium) or name it in TIDEGATE_CHROMIUM';

/**
 * Starts the browser named by TIDEGATE_CHROMIUM, or one on the PATH; on Debian as root (a machine of CI), installs Debian's where there is
 * none. Null where there is none to be had.
 */
export async function launchBrowser(): Promise<Browser | null> {
  const found = find() ?? install();
  if (found === null) return null;
  // A new profile each time: playwright makes a temporary one and removes it.
  return chromium.launch({ executablePath: found, args: FLAGS, headless: true });
}

function find(): string | null {
  const named = process.env['TIDEGATE_CHROMIUM'];
  if (named !== undefined && named !== '') return named;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const paths = [...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))), MAC];
  return paths.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function install(): string | null {
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return null;
  process.stderr.write('test/web: installing chromium for the tests of the page (apt-get install chromium)\n');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    execFileSync('apt-get', ['update', '-qq'], { env, stdio: 'ignore' });
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], { env, stdio: 'ignore', timeout: 300_000 });
  } catch {
    return null; // Not reachable, or not allowed: the tests are skipped and say so.
  }
  return find();
}
