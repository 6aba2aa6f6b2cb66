/**
 * What may happen to the service and to its servers, each as a fault that strikes a world, lasts for a moment, and is over. A new kind is one more
 * entry here: it says what it strikes, so that two at once strike different parts.
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import type { Random } from '../support/random.ts';
import type { EmbeddedServer } from '../../examples/embedded-postgres.ts';
import { type FaultWorld, pause, run } from './fault-world.ts';
import type { CutProxy } from './proxy.ts';

export interface Fault {
  readonly name: string;
  readonly strikes: 'service' | 'source' | 'target';
  /** Why it cannot be had here; null where it can. */
  readonly lacks?: (world: FaultWorld) => string | null;
  /** Ends with everything mended by whom it is not the service's to mend. Answers what showed that it had an effect; null where nothing did. */
  readonly strike: (world: FaultWorld, random: Random) => Promise<string | null>;
}

/** What a session of the service's at either server is called. */
const OURS = `from pg_stat_activity where application_name like 'tidegate %' and pid <> pg_backend_pid()`;
/** For a session that mends: none of the settings that the fault makes. */
const MENDING = { default_transaction_read_only: 'off', statement_timeout: '0', lock_timeout: '0' };
const HOUR_MS = 3_600_000;
/** How long a fault waits for its effect to show before it is over without. */
const EFFECT_MS = 5000;

export const FAULTS: readonly Fault[] = [
  {
    name: 'the kernel kills the service',
    strikes: 'service',
    strike: async (world) => {
      const { service } = world;
      await service.kill();
      world.startService();
      return seen(service.child.signalCode === 'SIGKILL', 'ended by SIGKILL');
    },
  },
  { name: 'the kernel kills the scorer', strikes: 'service', strike: killScorer },
  { name: 'the service stands still until another has taken over', strikes: 'service', strike: standStill },
  { name: 'the clock jumps', strikes: 'service', strike: jumpClock },

  { name: 'the target is killed', strikes: 'target', strike: ({ target }, random) => killServer(target, random) },
  { name: 'the target recovers from a crash', strikes: 'target', strike: (world) => crash(world.target, world.askTarget.bind(world)) },
  {
    name: 'connections to the target are cut',
    strikes: 'target',
    strike: ({ toTarget }) => Promise.resolve(counted(toTarget.cut(), 'connections cut')),
  },
  { name: 'the target is silent', strikes: 'target', strike: ({ toTarget }, random) => silence(toTarget, random) },
  { name: 'connections to the target hang', strikes: 'target', strike: ({ toTarget }) => hang(toTarget) },
  { name: 'sessions at the target are ended', strikes: 'target', strike: ({ target }) => endSessions(target) },
  { name: 'statements at the target are cancelled', strikes: 'target', strike: cancelStatements },
  { name: 'the target takes no writes', strikes: 'target', strike: makeReadOnly },
  { name: 'files of the target may not grow', strikes: 'target', lacks: () => lacksProgram('prlimit'), strike: limitFiles },
  { name: 'the disk of the target is full', strikes: 'target', lacks: lacksDisk, strike: fillDisk },
  { name: 'statements at the target time out', strikes: 'target', strike: timeOut },
  { name: 'somebody keeps rows of the target locked', strikes: 'target', strike: keepLocked },
  { name: 'a deadlock with another client of the target', strikes: 'target', strike: deadlock },

  { name: 'the source is killed', strikes: 'source', strike: ({ source }, random) => killServer(source, random) },
  { name: 'the source recovers from a crash', strikes: 'source', strike: (world) => crash(world.source, world.askSource.bind(world)) },
  {
    name: 'connections to the source are cut',
    strikes: 'source',
    strike: ({ toSource }) => Promise.resolve(counted(toSource.cut(), 'connections cut')),
  },
  { name: 'the source is silent', strikes: 'source', strike: ({ toSource }, random) => silence(toSource, random) },
  { name: 'connections to the source hang', strikes: 'source', strike: ({ toSource }) => hang(toSource) },
  { name: 'sessions at the source are ended', strikes: 'source', strike: ({ source }) => endSessions(source) },
  { name: 'the source fails over to a standby', strikes: 'source', strike: failOver },
];

function seen(isSeen: boolean, what: string): string | null {
  return isSeen ? what : null;
}

function counted(count: number, what: string): string | null {
  return seen(count > 0, `${count} ${what}`);
}

/** Answers whether a line with this text was logged since. */
function logWatch(log: () => readonly string[]): (text: string) => boolean {
  const before = new Set(log());
  return (text) => log().some((line) => line.includes(text) && !before.has(line));
}

async function killScorer({ service }: FaultWorld): Promise<string | null> {
  let pid: number | null = null;
  await shows(() => Promise.resolve((pid = service.scorerPid) !== null));
  if (pid === null || !killed(pid)) return null;
  return seen(await shows(() => Promise.resolve(service.scorerPid !== pid)), 'its process is gone');
}

/** False where there is no such process any more: it may end between a look and this. */
function killed(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    return process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

async function standStill(world: FaultWorld): Promise<string | null> {
  const old = world.service;
  old.signal('SIGSTOP');
  const second = world.startService();
  await world.progress(1, 'with a second instance, while the first stands still');
  await world.until(() => Promise.resolve(second.log.some((line) => line.includes('"msg":"running"'))), 'the second instance reads');
  old.signal('SIGCONT');
  await world.progress(50, 'with a first instance that woke up');
  await old.kill();
  return 'the second took over';
}

async function jumpClock(world: FaultWorld, random: Random): Promise<string | null> {
  const { service } = world;
  const hours = 1 + random.below(48);
  let jumps = 0;
  for (const aheadMs of [hours * HOUR_MS, -hours * HOUR_MS, 0]) {
    const setMs = await service.setClock(aheadMs);
    if (setMs !== null && Math.abs(setMs - aheadMs) <= 1) jumps++;
    await world.progress(1 + random.below(100), `with a clock that is ${aheadMs / HOUR_MS} hours ahead`);
  }
  return seen(jumps === 3, `${hours} hours ahead and behind`);
}

/** Of the servers of either road. */
export async function killServer(server: EmbeddedServer, random: Random): Promise<string | null> {
  const { pid } = server;
  await server.kill();
  await pause(random.below(300));
  await server.start();
  return seen(pid !== undefined && server.pid !== pid, 'started again');
}

/** One session is killed, so the server ends all others and recovers: meanwhile it refuses connections with 57P03. */
async function crash(server: EmbeddedServer, ask: (query: string) => Promise<string | null>): Promise<string | null> {
  const isLogged = logWatch(() => server.log);
  const isStruck = await shows(async () => killed(Number((await ask(`select pid ${OURS} order by random() limit 1`)) ?? 0)));
  if (!isStruck) return null;
  const hasCrashed = await shows(() => Promise.resolve(isLogged('reinitializing')));
  await eventually(async () => (await ask('select 1')) === '1', 'the server has recovered', 30_000);
  return seen(hasCrashed, 'reinitialized');
}

/** Killed at any moment once the standby is ready: what was committed and did not get there was never there, for the lane and for the judge. */
async function failOver(world: FaultWorld, random: Random): Promise<string | null> {
  const standby = await world.startStandby();
  await pause(random.below(300));
  return seen(await world.failOver(standby), 'promoted');
}

async function silence(proxy: CutProxy, random: Random): Promise<string | null> {
  proxy.silence();
  await pause(200 + random.below(1500));
  return counted(proxy.open(), 'connections silent');
}

/** Nobody tells the service: it has to find out by itself. */
function hang(proxy: CutProxy): Promise<string | null> {
  return Promise.resolve(counted(proxy.forget(), 'connections hang'));
}

async function endSessions(server: EmbeddedServer): Promise<string | null> {
  const [ended] = await run(server, `select count(*) filter (where pg_terminate_backend(pid)) ${OURS}`, MENDING);
  return counted(Number(ended?.rows[0]?.[0] ?? 0), 'sessions ended');
}

async function cancelStatements({ target }: FaultWorld, random: Random): Promise<string | null> {
  await using sql = await PgConnection.connect({ url: target.url() });
  let cancelled = 0;
  for (const end = performance.now() + 300 + random.below(1000); performance.now() < end; await pause(random.below(20))) {
    const { rows } = await sql.query(`select count(pg_cancel_backend(pid)) ${OURS} and state = 'active'`);
    cancelled += Number(rows[0]?.[0] ?? 0);
  }
  return counted(cancelled, 'statements cancelled');
}

/** In the middle of sessions, as it is done before a switchover. */
async function makeReadOnly(world: FaultWorld, random: Random): Promise<string | null> {
  const { target } = world;
  const isLogged = logWatch(() => world.service.log);
  await run(target, `alter system set default_transaction_read_only = on`);
  await run(target, 'select pg_reload_conf()');
  const isSeen = await shows(() => Promise.resolve(isLogged('TARGET_READ_ONLY')));
  await pause(random.below(1000));
  await run(target, 'alter system reset default_transaction_read_only', MENDING);
  await run(target, 'select pg_reload_conf()', MENDING);
  return seen(isSeen, 'TARGET_READ_ONLY');
}

/**
 * The largest table (`growth`) may not get longer than it is (RLIMIT_FSIZE, for the sessions that are there): rows that need room fail with EFBIG, which PostgreSQL tells as
 * an internal error, of no row in particular.
 */
async function limitFiles(world: FaultWorld): Promise<string | null> {
  const { target } = world;
  const [sizes] = await run(target, `select pg_relation_size('growth')`);
  const [sessions] = await run(target, `select pid ${OURS}`);
  const isLogged = logWatch(() => target.log);
  for (const [pid] of sessions?.rows ?? []) limitFileSize(Number(pid), Number(sizes?.rows[0]?.[0] ?? 0));
  const isSeen = await shows(() => Promise.resolve(isLogged('File too large')));
  await eventually(async () => (await world.askTarget('select 1')) === '1', 'the target has recovered', 30_000);
  await endSessions(target);
  return seen(isSeen, 'File too large');
}

/** As the user that the process has: root in a container may not. */
function limitFileSize(pid: number, bytes: number): void {
  const owner = statSync(`/proc/${pid}`, { throwIfNoEntry: false });
  if (owner === undefined) return; // It has just ended.
  const { uid, gid } = owner;
  spawnSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`], { stdio: 'ignore', uid, gid });
}

function lacksProgram(name: string): string | null {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined ? null : `there is no ${name}`;
}

function lacksDisk({ disk }: FaultWorld): string | null {
  return disk === null ? 'nothing may be mounted here (it takes root on Linux)' : null;
}

/** Rows and log have no room: statements fail with 53100, and where the log cannot go on the whole server falls, and does not come up by itself. */
async function fillDisk({ target, disk }: FaultWorld, random: Random): Promise<string | null> {
  if (disk === null) return null;
  const isLogged = logWatch(() => target.log);
  disk.fill();
  const isFull = await shows(() => Promise.resolve(isLogged('No space left')));
  await pause(random.below(1000));
  disk.free();
  // A server that fell and cannot recover ends; its people start it again.
  await eventually(
    async () => {
      if (target.pid === undefined) await target.start();
      return (await run(target, 'select 1').catch(() => null)) !== null;
    },
    'the target has recovered from its full disk',
    30_000,
  );
  return seen(isFull, 'No space left');
}

/** A limit of the role that no batch keeps: the lane goes on all the same, also while its rows are locked. */
async function timeOut(world: FaultWorld, random: Random): Promise<string | null> {
  const { target } = world;
  const limits = ['statement_timeout', 'lock_timeout', ...(random.chance(0.5) ? ['transaction_timeout'] : [])];
  for (const limit of limits) await run(target, `alter role tidegate set ${limit} = '2ms'`, MENDING);
  await endSessions(target);
  const blocked = await keepLocked(world, random);
  await world.progress(50, 'though the role of the target has limits of time');
  await run(target, 'alter role tidegate reset all', MENDING);
  return blocked;
}

/** A transaction that locks rows, or a whole table, and then does nothing for a while. */
async function keepLocked({ target }: FaultWorld, random: Random): Promise<string | null> {
  await using other = await PgConnection.connect({ url: target.url(), settings: MENDING });
  const lock = random.chance(0.5) ? 'lock table shop.marks in access exclusive mode' : 'select id from shop.items for update';
  await other.script(`begin; ${lock}`);
  const isBlocked = await shows(() => isWaiting(target));
  await pause(random.below(1500));
  await other.script('rollback');
  return seen(isBlocked, 'a lock waited for');
}

/**
 * Another client has rows that the lane wants, and then wants the tables, of which whoever waits for a row of them has a lock. The lane is the one that gives
 * way: its own look for deadlocks comes first. Nothing is written by the other one.
 */
async function deadlock({ target }: FaultWorld): Promise<string | null> {
  const isLogged = logWatch(() => target.log);
  await using other = await PgConnection.connect({ url: target.url(), settings: { ...MENDING, deadlock_timeout: '1min' } });
  await other.script('begin; select id from shop.items order by id desc for update; select id from shop.marks order by id desc for update');
  if (await shows(() => isWaiting(target))) await other.script('lock table shop.items, shop.marks in share mode');
  await other.script('rollback');
  return seen(isLogged('deadlock detected'), 'deadlock detected');
}

async function isWaiting(target: EmbeddedServer): Promise<boolean> {
  const [result] = await run(target, `select count(*) ${OURS} and wait_event_type = 'Lock'`);
  return result?.rows[0]?.[0] !== '0';
}

/** Whether it comes to be within the time that a fault waits for its effect. */
async function shows(condition: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + EFFECT_MS; performance.now() < end; await pause(10)) if (await condition()) return true;
  return false;
}
