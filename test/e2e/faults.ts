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
  /** Ends with everything mended by whom it is not the service's to mend. False where it is known to have had no effect. */
  readonly strike: (world: FaultWorld, random: Random) => Promise<boolean | void>;
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
      await world.service.kill();
      world.startService();
    },
  },
  { name: 'the kernel kills the scorer', strikes: 'service', strike: killScorer },
  { name: 'the service stands still until another has taken over', strikes: 'service', strike: standStill },
  { name: 'the clock jumps', strikes: 'service', strike: jumpClock },

  { name: 'the target is killed', strikes: 'target', strike: ({ target }, random) => killServer(target, random) },
  { name: 'the target recovers from a crash', strikes: 'target', strike: (world) => crash(world.target, world.askTarget.bind(world)) },
  { name: 'connections to the target are cut', strikes: 'target', strike: ({ toTarget }) => Promise.resolve(toTarget.cut()) },
  { name: 'the target is silent', strikes: 'target', strike: ({ toTarget }, random) => silence(toTarget, random) },
  { name: 'connections to the target hang', strikes: 'target', strike: hang },
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
  { name: 'connections to the source are cut', strikes: 'source', strike: ({ toSource }) => Promise.resolve(toSource.cut()) },
  { name: 'the source is silent', strikes: 'source', strike: ({ toSource }, random) => silence(toSource, random) },
  { name: 'connections to the source hang', strikes: 'source', strike: ({ toSource }) => Promise.resolve(toSource.forget()) },
  { name: 'sessions at the source are ended', strikes: 'source', strike: ({ source }) => endSessions(source) },
  { name: 'the source fails over to a standby', strikes: 'source', strike: failOver },
];

async function killScorer(world: FaultWorld): Promise<boolean> {
  let pid: number | null = null;
  await shows(() => Promise.resolve((pid = world.service.scorerPid) !== null));
  return pid !== null && killed(pid);
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

async function standStill(world: FaultWorld): Promise<void> {
  const old = world.service;
  old.signal('SIGSTOP');
  world.startService();
  await world.progress(1, 'with a second instance, while the first stands still');
  old.signal('SIGCONT');
  await world.progress(50, 'with a first instance that woke up');
  await old.kill();
}

async function jumpClock(world: FaultWorld, random: Random): Promise<void> {
  const { service } = world;
  const hours = 1 + random.below(48);
  for (const aheadMs of [hours * HOUR_MS, -hours * HOUR_MS, 0]) {
    service.setClock(aheadMs);
    await world.progress(1 + random.below(100), `with a clock that is ${aheadMs / HOUR_MS} hours ahead`);
  }
}

async function killServer(server: EmbeddedServer, random: Random): Promise<void> {
  await server.kill();
  await pause(random.below(300));
  await server.start();
}

/** One session is killed, so the server ends all others and recovers: meanwhile it refuses connections with 57P03. */
async function crash(server: EmbeddedServer, ask: (query: string) => Promise<string | null>): Promise<boolean> {
  const { length } = server.log;
  const isStruck = await shows(async () => killed(Number((await ask(`select pid ${OURS} order by random() limit 1`)) ?? 0)));
  if (!isStruck) return false;
  await shows(() => Promise.resolve(server.log.length > length));
  await eventually(async () => (await ask('select 1')) === '1', 'the server has recovered', 30_000);
  return true;
}

/** Killed at any moment once the standby is ready: what was committed and did not get there was never there, for the lane and for the judge. */
async function failOver(world: FaultWorld, random: Random): Promise<void> {
  const standby = await world.startStandby();
  await pause(random.below(300));
  await world.failOver(standby);
}

async function silence(proxy: CutProxy, random: Random): Promise<void> {
  proxy.silence();
  await pause(200 + random.below(1500));
  proxy.open();
}

/** Nobody tells the service: it has to find out by itself. */
function hang({ toTarget }: FaultWorld): Promise<void> {
  return Promise.resolve(toTarget.forget());
}

async function endSessions(server: EmbeddedServer): Promise<void> {
  await run(server, `select pg_terminate_backend(pid) ${OURS}`);
}

async function cancelStatements({ target }: FaultWorld, random: Random): Promise<boolean> {
  await using sql = await PgConnection.connect({ url: target.url() });
  let cancelled = 0;
  for (const end = performance.now() + 300 + random.below(1000); performance.now() < end; await pause(random.below(20))) {
    const { rows } = await sql.query(`select count(pg_cancel_backend(pid)) ${OURS} and state = 'active'`);
    cancelled += Number(rows[0]?.[0] ?? 0);
  }
  return cancelled > 0;
}

/** In the middle of sessions, as it is done before a switchover. */
async function makeReadOnly(world: FaultWorld, random: Random): Promise<boolean> {
  const { target, service } = world;
  await run(target, `alter system set default_transaction_read_only = on`);
  await run(target, 'select pg_reload_conf()');
  const isSeen = await shows(() => Promise.resolve(service.log.some((line) => line.includes('TARGET_READ_ONLY'))));
  await pause(random.below(1000));
  await run(target, 'alter system reset default_transaction_read_only', MENDING);
  await run(target, 'select pg_reload_conf()', MENDING);
  return isSeen;
}

/**
 * The largest table may not get longer than it is (RLIMIT_FSIZE, for the sessions that are there): rows that need room fail with EFBIG, which PostgreSQL tells as
 * an internal error, of no row in particular.
 */
async function limitFiles(world: FaultWorld): Promise<boolean> {
  const { target } = world;
  const [sizes] = await run(target, `select pg_relation_size('shop.items')`);
  const [sessions] = await run(target, `select pid ${OURS}`);
  const before = new Set(target.log);
  for (const [pid] of sessions?.rows ?? []) limitFileSize(Number(pid), Number(sizes?.rows[0]?.[0] ?? 0));
  const isSeen = await shows(() => Promise.resolve(target.log.some((line) => line.includes('File too large') && !before.has(line))));
  await eventually(async () => (await world.askTarget('select 1')) === '1', 'the target has recovered', 30_000);
  await endSessions(target);
  return isSeen;
}

/** As the user that the process has: root in a container may not. */
function limitFileSize(pid: number, bytes: number): void {
  const { uid, gid } = statSync(`/proc/${pid}`);
  spawnSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`], { stdio: 'ignore', uid, gid });
}

function lacksProgram(name: string): string | null {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined ? null : `there is no ${name}`;
}

function lacksDisk({ disk }: FaultWorld): string | null {
  return disk === null ? 'nothing may be mounted here (it takes root on Linux)' : null;
}

/** Rows and log have no room: statements fail with 53100, and where the log cannot go on the whole server falls, and does not come up by itself. */
async function fillDisk({ target, disk }: FaultWorld, random: Random): Promise<boolean> {
  if (disk === null) return false;
  const before = [...target.log];
  disk.fill();
  const isFull = await shows(() => Promise.resolve(target.log.some((line) => line.includes('No space left') && !before.includes(line))));
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
  return isFull;
}

/** A limit of the role that no batch keeps: the lane goes on all the same, also while its rows are locked. */
async function timeOut(world: FaultWorld, random: Random): Promise<boolean> {
  const { target } = world;
  const limits = ['statement_timeout', 'lock_timeout', ...(random.chance(0.5) ? ['transaction_timeout'] : [])];
  for (const limit of limits) await run(target, `alter role tidegate set ${limit} = '2ms'`, MENDING);
  await run(target, `select pg_terminate_backend(pid) ${OURS}`, MENDING);
  const isBlocked = await keepLocked(world, random);
  await world.progress(50, 'though the role of the target has limits of time');
  await run(target, 'alter role tidegate reset all', MENDING);
  return isBlocked;
}

/** A transaction that locks rows, or a whole table, and then does nothing for a while. */
async function keepLocked({ target }: FaultWorld, random: Random): Promise<boolean> {
  await using other = await PgConnection.connect({ url: target.url(), settings: MENDING });
  const lock = random.chance(0.5) ? 'lock table shop.marks in access exclusive mode' : 'select id from shop.items for update';
  await other.script(`begin; ${lock}`);
  const isBlocked = await shows(() => isWaiting(target));
  await pause(random.below(1500));
  await other.script('rollback');
  return isBlocked;
}

/**
 * Another client has rows that the lane wants, and then wants what the lane has. The lane is the one that gives way: its own look for deadlocks comes
 * first. Nothing is written by the other one.
 */
async function deadlock({ target }: FaultWorld): Promise<boolean> {
  const before = new Set(target.log);
  await using other = await PgConnection.connect({ url: target.url(), settings: { ...MENDING, deadlock_timeout: '1min' } });
  await other.script('begin; select id from shop.items order by id desc for update; select id from shop.marks order by id desc for update');
  if (await shows(() => isWaiting(target))) await other.script('select lane from tidegate.lanes for update');
  await other.script('rollback');
  return target.log.some((line) => line.includes('deadlock detected') && !before.has(line));
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
