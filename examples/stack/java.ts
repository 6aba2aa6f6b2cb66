/** Finds the JDK and the Maven that the stack needs; on Debian as root, installs what is missing, elsewhere says what to install. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

export interface Java {
  /** The JDK's folder. */
  readonly home: string;
  readonly version: number;
}

/** Kafka and Debezium run on 17; the registry is compiled for 21. */
const JAVA_MIN = 17;
export const REGISTRY_JAVA_MIN = 21;

/** The newest JDK: what JAVA_HOME names, the one on the PATH, and those in folders beside it. */
export function findJava(): Java | null {
  const onPath = which('java');
  const homes = new Set(
    [process.env['JAVA_HOME'], onPath === null ? undefined : dirname(dirname(onPath))].filter((home) => home !== undefined),
  );
  for (const home of homes) for (const sibling of siblings(home)) homes.add(sibling);
  const found = [...homes].flatMap((home) => {
    const version = versionOf(home);
    return version === null || version < JAVA_MIN ? [] : [{ home, version }];
  });
  return found.sort((a, b) => b.version - a.version)[0] ?? null;
}

export function findMaven(): string | null {
  return which('mvn');
}

/** Whether the stack can be started as things are. */
export const hasTools = (): boolean => (findJava()?.version ?? 0) >= REGISTRY_JAVA_MIN && findMaven() !== null;

/** Installs what is missing where that is simple. Throws with the words of what to do where it is not. */
export function ensureTools(say: (line: string) => void): { readonly java: Java; readonly maven: string } {
  for (let tried = false; ; tried = true) {
    const java = findJava();
    const maven = findMaven();
    const isMissing = java === null || java.version < REGISTRY_JAVA_MIN || maven === null;
    if (java !== null && maven !== null && (tried || !isMissing)) return { java, maven };
    const isDebian = existsSync('/etc/debian_version') && process.getuid?.() === 0;
    if (tried || !isDebian) {
      if (java !== null && maven !== null) return { java, maven };
      throw new Error(
        'the streaming stack needs a JDK (25 or 21; 17 runs all but the schema registry) and Maven: install them, for example by `apt-get install maven default-jdk-headless`, or set JAVA_HOME',
      );
    }
    say('installing a JDK and Maven by apt-get');
    const apt = (...args: string[]) =>
      execFileSync('apt-get', args, { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
    apt('update');
    const jdk = ['openjdk-25-jdk-headless', 'openjdk-21-jdk-headless', 'openjdk-17-jdk-headless'].find(isOffered);
    apt('install', '-y', '--no-install-recommends', ...(maven === null ? ['maven'] : []), ...(jdk === undefined ? [] : [jdk]));
  }
}

function isOffered(name: string): boolean {
  try {
    return /Candidate: \d/.test(execFileSync('apt-cache', ['policy', name], { encoding: 'utf8' }));
  } catch {
    return false;
  }
}

export function which(program: string): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, program);
    if (folder !== '' && existsSync(path)) return realpathSync(path);
  }
  return null;
}

function siblings(home: string): string[] {
  try {
    const folder = dirname(home);
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** Every JDK says in a file of its own which it is. One without `jar` can't make what is missing in the converter's folder. */
function versionOf(home: string): number | null {
  try {
    if (!existsSync(join(home, 'bin/jar'))) return null;
    const found = /^JAVA_VERSION="(?:1\.)?(\d+)/m.exec(readFileSync(join(home, 'release'), 'utf8'));
    return found === null ? null : Number(found[1]);
  } catch {
    return null;
  }
}
