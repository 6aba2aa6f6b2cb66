/**
 * MariaDB's programs: those that are installed, else what Debian's packages hold, unpacked into the user's cache once. Nothing is installed, and nobody has to be root.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { stackCache } from './fetch.ts';
import { which } from './java.ts';

const run = promisify(execFile);

export interface MariadbPrograms {
  readonly server: string;
  readonly client: string;
  /** Fills the folder of a new server. */
  readonly installer: string;
  /** Where they are not installed: the folder that their own files are in. */
  readonly base: string | null;
  /** Their environment: where their libraries are. */
  readonly env: NodeJS.ProcessEnv;
}

const PACKAGES = ['mariadb-server-core', 'mariadb-client-core', 'mariadb-common'];
const ADVICE =
  'install MariaDB 10.6 or newer, for example by `apt-get install mariadb-server`, so that mariadbd, mariadb-install-db and mariadb are on the PATH';
/** What every program of the machine is linked with: of another build it would break them. */
const OF_THE_SYSTEM = new Set(['libc6', 'libcrypt1', 'libgcc-s1', 'libstdc++6']);

/** Null where they are neither installed nor fetched. */
export function findMariadb(): MariadbPrograms | null {
  // Debian keeps servers where only root's PATH leads.
  const [server, client, installer] = [which('mariadbd') ?? present('/usr/sbin/mariadbd'), which('mariadb'), which('mariadb-install-db')];
  if (server !== null && client !== null && installer !== null) return { server, client, installer, base: null, env: process.env };
  const fetched = cached();
  return existsSync(fetched) ? unpacked(fetched) : null;
}

/** Fetches them where they are missing. Throws with the words of what to do where that cannot be done. */
export async function fetchMariadb(say: (line: string) => void = () => {}): Promise<MariadbPrograms> {
  const found = findMariadb();
  if (found !== null) return found;
  if (which('apt-get') === null || which('dpkg') === null) throw new Error(`there is no MariaDB server: ${ADVICE}`);
  const folder = cached();
  mkdirSync(dirname(folder), { recursive: true });
  // Beside its place, so that it is there whole or not at all; whoever comes second throws its own away.
  const out = mkdtempSync(`${folder}-`);
  try {
    say("fetching MariaDB's packages by apt-get (a few seconds, 15 MB, once; nothing is installed)");
    await download(out);
    for (const name of readdirSync(out).filter((one) => one.endsWith('.deb'))) {
      await run('dpkg', ['-x', name, '.'], { cwd: out });
      rmSync(join(out, name));
    }
    await mustStart(unpacked(out));
    if (!existsSync(folder)) renameSync(out, folder);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
  return unpacked(folder);
}

const cached = (): string => join(stackCache(), '../mariadb');
const present = (path: string): string | null => (existsSync(path) ? path : null);

function unpacked(folder: string): MariadbPrograms {
  const base = join(folder, 'usr');
  const libraries = ['usr/lib', 'lib'].flatMap((name) => foldersOf(join(folder, name)).filter((path) => path.endsWith('-linux-gnu')));
  return {
    server: join(base, 'sbin/mariadbd'),
    client: join(base, 'bin/mariadb'),
    installer: join(base, 'bin/mariadb-install-db'),
    base,
    env: {
      ...process.env,
      LD_LIBRARY_PATH: [...libraries, process.env['LD_LIBRARY_PATH'] ?? ''].filter((one) => one !== '').join(delimiter),
    },
  };
}

function foldersOf(path: string): string[] {
  return existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : [];
}

async function download(cwd: string): Promise<void> {
  try {
    await run('apt-get', ['download', ...PACKAGES, ...(await librariesOf())], { cwd });
  } catch (error) {
    // The lists of packages may be missing or old, as in a new container.
    if (process.getuid?.() !== 0) throw new Error(`MariaDB's packages cannot be fetched by apt-get: ${ADVICE}`, { cause: error });
    await run('apt-get', ['update']);
    await run('apt-get', ['download', ...PACKAGES, ...(await librariesOf())], { cwd });
  }
}

/** The libraries that they are linked with, whether the machine has them or not. */
async function librariesOf(): Promise<string[]> {
  const { stdout } = await run('apt-cache', ['depends', '--important', ...PACKAGES]);
  const names = [...stdout.matchAll(/^ +Depends: (lib[^\s:]+)/gm)].map(([, name = '']) => name);
  return [...new Set(names)].filter((name) => !OF_THE_SYSTEM.has(name));
}

async function mustStart({ server, client, env }: MariadbPrograms): Promise<void> {
  for (const program of [server, client]) {
    const missing = await run('ldd', [program], { env }).then(
      ({ stdout }) => [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name),
      () => [], // Where there is no ldd the program says it itself.
    );
    if (missing.length > 0) throw new Error(`MariaDB's programs lack ${missing.join(', ')}: ${ADVICE}`);
    await run(program, ['--no-defaults', '--version'], { env });
  }
}
