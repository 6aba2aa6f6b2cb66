/** The demo as people run it: a process of its own, which is asked to stop as a terminal asks, and leaves nothing behind. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Status } from '../../app/http/shapes.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';

test('--once --json prints the summary and nothing else, proved, and ends with 0', async () => {
  using demo = startDemo('--once', '--rows', '2000', '--json');
  expect([await demo.end(), demo.stderr]).toEqual([0, expect.stringContaining('The first copy is done') as unknown]);
  expect(JSON.parse(demo.stdout)).toMatchObject({ rows: 2000, holds: true, ledgerClosed: true, alertsRefused: 0 });
  expect(demo.leftovers()).toEqual([]);
});

test('a row of the target that nobody sent is no proof: the exit code is 1', async () => {
  using demo = startDemo('--once', '--rows', '10000', '--json');
  await using warehouse = await demo.connect('warehouse');
  const plant =
    'insert into shop.customers select 77777777, name, email, country, created_at, updated_at from shop.customers limit 1 returning 1';
  await eventually(async () => {
    const there = (await warehouse.query("select 1 where to_regclass('shop.customers') is not null")).rows.length === 1;
    return there && (await warehouse.query(plant)).rows.length === 1;
  }, 'the row is planted');
  expect(await demo.end()).toBe(1);
  const { holds, tables } = JSON.parse(demo.stdout) as { holds: boolean; tables: { table: string; surplus: number }[] };
  expect([holds, tables.map(({ table, surplus }) => `${table} ${surplus}`)]).toEqual([false, ['customers 1', 'orders 0', 'payments 0']]);
  expect(demo.leftovers()).toEqual([]);
});

test('in motion its page answers, and Ctrl-C commits what was read and leaves no process and no folder', async () => {
  using demo = startDemo('--rate', '800');
  await eventually(() => demo.stdout.includes('Traffic now'), 'traffic', 60_000);
  const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(demo.stdout)?.[0] ?? '';
  await eventually(async () => {
    const { pipelines } = (await (await fetch(`${url}api/status`)).json()) as Status;
    return pipelines[0]?.datasets.every(({ rates }) => rates.pass > 0) === true;
  }, 'rows of every table flow');
  demo.ctrlC();
  expect([await demo.end(), demo.stderr]).toEqual([0, '']);
  expect(demo.stdout).toMatch(/Stopping: what was read is committed first/);
  await expect(fetch(url)).rejects.toThrow('fetch failed');
  expect(demo.leftovers()).toEqual([]);
});

test('Ctrl-C while the servers are being made leaves nothing either', async () => {
  using demo = startDemo();
  await eventually(() => demo.folders().length > 1, 'both servers are being made');
  demo.ctrlC();
  expect([await demo.end(), demo.stderr]).toEqual([0, '']);
  expect(demo.leftovers()).toEqual([]);
});

test('a server leaves with a process that is ended by a signal and knows nothing of it', async () => {
  const code =
    "await (await import('./examples/embedded-postgres.ts')).startEmbeddedPostgres(); console.log('up'); setInterval(() => {}, 1e6);";
  using program = startProgram('--input-type=module', '-e', code);
  await eventually(() => program.stdout === 'up\n', 'the server is up', 30_000);
  process.kill(program.pid, 'SIGTERM');
  await program.end();
  expect(program.leftovers()).toEqual([]);
});

function startDemo(...args: readonly string[]) {
  return startProgram('examples/demo.ts', ...args);
}

/** Runs a program of ours with a folder of its own for temporary files. Disposing ends what is left. */
function startProgram(...args: readonly string[]) {
  const temporary = mkdtempSync(join(tmpdir(), 'demo-'));
  execFileSync('chmod', ['1777', temporary]); // As /tmp is: the servers of a demo run by root belong to another user.
  // A group of its own, as a terminal gives it one.
  const child: ChildProcess = spawn(process.execPath, args, {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const said = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (said.stdout += chunk.toString('utf8')));
  child.stderr?.on('data', (chunk: Buffer) => (said.stderr += chunk.toString('utf8')));
  let ended = false;
  child.once('close', () => (ended = true));
  const folders = () => readdirSync(temporary);
  const processes = () =>
    execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8', maxBuffer: 1 << 26 })
      .split('\n')
      .filter((line) => line.includes(temporary));
  return {
    pid: child.pid ?? 0,
    folders,
    /** The exit code, once it has ended and said everything. */
    async end(): Promise<number | null> {
      await eventually(() => ended, 'it has ended', 60_000);
      return child.exitCode;
    },
    get stdout() {
      return said.stdout;
    },
    get stderr() {
      return said.stderr;
    },
    /** Processes and folders that it made and that are still there. */
    leftovers: () => [...processes(), ...folders()],
    /** What a terminal does: the signal goes to the whole group. */
    ctrlC: () => process.kill(-(child.pid ?? 0), 'SIGINT'),
    /** A connection to one of its databases, once that is there. */
    async connect(database: string): Promise<PgConnection> {
      let found: PgConnection | null = null;
      await eventually(
        async () => {
          for (const folder of folders()) {
            const port = portOf(join(temporary, folder, 'data/postmaster.pid'));
            if (port === null) continue;
            found = await PgConnection.connect({ url: `postgres://postgres@127.0.0.1:${port}/${database}` }).catch(() => null);
            if (found !== null) return true;
          }
          return false;
        },
        `the database ${database} is there`,
        30_000,
      );
      if (found === null) throw new Error('eventually waits for it');
      return found;
    },
    [Symbol.dispose]() {
      for (const line of processes()) process.kill(Number.parseInt(line, 10), 'SIGKILL');
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      rmSync(temporary, { recursive: true, force: true });
    },
  };
}

/** The fourth line of a server's lock file; null where there is none yet. */
function portOf(lockFile: string): number | null {
  try {
    const port = Number(readFileSync(lockFile, 'utf8').split('\n')[3]);
    return port > 0 ? port : null;
  } catch {
    return null;
  }
}
