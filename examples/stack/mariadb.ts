/** A real MariaDB server in a folder and on a free loopback port of its own, with a binary log as Debezium reads it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, leaveWithProcess } from '../embedded-postgres.ts';
import { fetchMariadb, type MariadbPrograms } from './mariadb-programs.ts';

const run = promisify(execFile);

export interface Mariadb {
  readonly folder: string;
  readonly pid: number;
  /** Of a user who may do everything: `mysql://…`. */
  readonly url: string;
  /** Runs statements in one session, and returns the rows of all of them as text. A null is the text NULL. */
  sql(statements: string, database?: string): Promise<string[][]>;
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and data. */
  start(): Promise<void>;
  /** Ends it and removes the folder. */
  stop(): Promise<void>;
}

export interface MariadbOptions {
  readonly say?: (line: string) => void;
  /** It outlives this process. */
  readonly detached?: boolean;
  /** Beside what all have: `--server-id=2`. Of one option the last is taken. */
  readonly flags?: readonly string[];
}

const USER = 'tidegate';
const PASSWORD = 'tidegate';
const READY_MS = 60_000;
/** What is committed outlives the process, though not the machine. */
const SETTINGS = [
  '--bind-address=127.0.0.1',
  '--server-id=1',
  '--log-bin=bin',
  '--binlog-format=ROW',
  '--binlog-row-image=FULL',
  '--binlog-row-metadata=FULL',
  '--character-set-server=utf8mb4',
  '--default-time-zone=+00:00',
  '--innodb-flush-log-at-trx-commit=2',
  '--innodb-buffer-pool-size=32M',
  '--performance-schema=OFF',
];

/** Starts a server in `folder`, which is made. */
export async function startMariadb(
  folder: string,
  { say = () => {}, detached = false, flags = [] }: MariadbOptions = {},
): Promise<Mariadb> {
  const programs = await fetchMariadb(say);
  const port = await freePort();
  let child: ChildProcess | null = null;
  const leave = (): void => {
    if (child !== null && isRunning(child)) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  if (!detached) leaveWithProcess(leave);
  const sql = (statements: string, database?: string): Promise<string[][]> => ask(programs, port, statements, database);
  const start = async (): Promise<void> => {
    child = launch(programs, folder, port, flags);
    await ready(child, folder, sql);
    if (detached) child.unref();
  };
  const kill = async (): Promise<void> => end(child);
  try {
    await fill(programs, folder);
    await start();
  } catch (error) {
    leave();
    throw error;
  }
  return {
    folder,
    url: `mysql://${USER}:${PASSWORD}@127.0.0.1:${port}`,
    get pid() {
      return child?.pid ?? 0;
    },
    sql,
    kill,
    start,
    async stop() {
      await kill(); // Nobody needs what it would write while it ends in order.
      leave();
    },
  };
}

/** It refuses to run as root unless it is told to. */
const identity = (): string[] => (process.getuid?.() === 0 ? ['--user=root'] : []);

const whereabouts = ({ base }: MariadbPrograms, folder: string): string[] => [
  '--no-defaults',
  ...(base === null ? [] : [`--basedir=${base}`]),
  `--datadir=${join(folder, 'data')}`,
  // Of its own: a server that starts removes what looks like temporary tables there, those of others too.
  `--tmpdir=${folder}`,
  ...identity(),
];

async function fill(programs: MariadbPrograms, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'init.sql'),
    `set sql_log_bin = 0;\ncreate user if not exists '${USER}'@'%' identified by '${PASSWORD}';\ngrant all on *.* to '${USER}'@'%' with grant option;\n`,
  );
  await run(programs.installer, [...whereabouts(programs, folder), '--auth-root-authentication-method=normal', '--skip-test-db'], {
    env: programs.env,
  });
}

function launch(programs: MariadbPrograms, folder: string, port: number, flags: readonly string[]): ChildProcess {
  const log = openSync(join(folder, 'mariadb.log'), 'a');
  const own = [`--port=${port}`, '--socket=mariadb.sock', `--init-file=${join(folder, 'init.sql')}`];
  const child = spawn(programs.server, [...whereabouts(programs, folder), ...SETTINGS, ...own, ...flags], {
    cwd: folder,
    env: programs.env,
    detached: true, // Ctrl-C at a terminal reaches us alone.
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  return child;
}

async function ready(child: ChildProcess, folder: string, sql: Mariadb['sql']): Promise<void> {
  let failure: Error | null = null;
  child.once('error', (error) => (failure = error));
  const deadline = performance.now() + READY_MS;
  const isUp = (): Promise<boolean> =>
    sql('select 1').then(
      () => true,
      () => false,
    );
  while (!(await isUp())) {
    if (failure !== null) throw failure as Error;
    const problem = isRunning(child) ? `was not ready after ${READY_MS} ms` : `ended with code ${child.exitCode}`;
    if (!isRunning(child) || performance.now() > deadline) throw new Error(`MariaDB ${problem}:\n${endOfLog(folder)}`);
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
}

const endOfLog = (folder: string): string => readFileSync(join(folder, 'mariadb.log'), 'utf8').split('\n').slice(-15).join('\n');

/** By the client of the same packages: each call is a session of its own. */
function ask({ client, env }: MariadbPrograms, port: number, statements: string, database?: string): Promise<string[][]> {
  const args = ['--no-defaults', '--protocol=tcp', '--host=127.0.0.1', `--port=${port}`, `--user=${USER}`, `--password=${PASSWORD}`];
  const form = ['--batch', '--skip-column-names', '--default-character-set=utf8mb4', ...(database === undefined ? [] : [database])];
  return new Promise((resolve, reject) => {
    const child = execFile(client, [...args, ...form], { env, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      if (error === null) resolve(rowsOf(stdout));
      else reject(new Error(`MariaDB answered: ${stderr.trim() || error.message}`));
    });
    child.stdin?.on('error', () => {}); // It ended before it had read all, and its answer says why.
    child.stdin?.end(statements);
  });
}

function rowsOf(text: string): string[][] {
  if (text === '') return [];
  return text
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => line.split('\t').map((cell) => cell.replaceAll(/\\(.)/g, (_, escaped: string) => ESCAPED[escaped] ?? escaped)));
}

/** What the client writes so that a row is a line. */
const ESCAPED: Readonly<Record<string, string>> = { n: '\n', t: '\t', '0': '\0', '\\': '\\' };

async function end(child: ChildProcess | null): Promise<void> {
  if (child === null || !isRunning(child)) return;
  child.ref();
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGKILL');
  await gone;
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}
