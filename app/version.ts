/** The version of this package, from its package.json: beside the sources, or one folder above the built files. */
import { readFileSync } from 'node:fs';

function read(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { name?: unknown; version?: unknown };
      if (name === 'tidegate' && typeof version === 'string') return version;
    } catch {
      // Not at this place.
    }
  }
  return 'unknown';
}

export const VERSION = read();
