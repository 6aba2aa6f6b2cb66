/**
 * A real streaming stack in a folder and on free loopback ports of its own: Kafka (one node, KRaft), Kafka Connect with Debezium, and a schema
 * registry with a Confluent-compatible API. For the tests and the demo; `npm run stack` is the same for people.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, isThere, leaveWithProcess } from '../embedded-postgres.ts';
import { fetchPrograms, type Programs } from './fetch.ts';
import { REGISTRY_JAVA_MIN } from './java.ts';

export type ServerName = 'broker' | 'connect' | 'registry';

/** What is needed to use a running stack, and to end it: kept as JSON by those who start it in one process and stop it in another. */
export interface StackAddress {
  readonly folder: string;
  /** `127.0.0.1:port` */
  readonly broker: string;
  /** Connect's REST API. */
  readonly connectUrl: string;
  /** The registry's own API, which converters are given; the Confluent-compatible one is at `../../ccompat/v7` of it. */
  readonly registryUrl: string;
  readonly ccompatUrl: string;
  readonly pids: Readonly<Record<ServerName, number>>;
}

export interface Stack extends StackAddress {
  /** The broker's other listeners by name: `127.0.0.1:port`. */
  readonly listeners: Readonly<Record<string, string>>;
  /** SIGKILL, as a power cut would. */
  kill(server: ServerName): Promise<void>;
  /** Starts it again, on the same ports and data. */
  start(server: ServerName): Promise<void>;
  /** Ends the servers and removes the folder. */
  stop(): Promise<void>;
}

const READY_MS = 120_000;
const GONE_MS = 20_000;
const HERE = import.meta.dirname;
/** Servers that take little memory: no threads of a larger collector. */
const FLAGS = [
  '-XX:+UseSerialGC',
  '-XX:-UsePerfData',
  '-Djava.awt.headless=true',
  '-Djava.net.preferIPv4Stack=true',
  `-Dlog4j2.configurationFile=${join(HERE, 'conf/log4j2.properties')}`,
];

/** Those that start fast: the first compiler only. */
const FAST = '-XX:TieredStopAtLevel=1';

export interface StackOptions {
  readonly say?: (line: string) => void;
  /** It outlives this process. */
  readonly detached?: boolean;
  /** Left out, all of them. */
  readonly servers?: readonly ServerName[];
  /** Folders of further plugins for Connect. */
  readonly plugins?: readonly string[];
  /** Compiled for speed and not for a fast start, with heaps for a load. */
  readonly isLoaded?: boolean;
  /** What this broker has beside what all have. */
  readonly broker?: {
    /** Listeners beside the plain one, which speak what `settings` say of them; each on a port of its own. */
    readonly listeners?: readonly string[];
    /** Lines of server.properties. */
    readonly settings?: readonly string[];
    readonly flags?: readonly string[];
    /** For the tool that makes its storage: users, say. */
    readonly format?: readonly string[];
  };
}

interface Ports {
  readonly broker: number;
  readonly controller: number;
  readonly connect: number;
  readonly registry: number;
  readonly management: number;
}

/** Starts a stack in `folder`, which is made. */
export async function startStack(folder: string, options: StackOptions = {}): Promise<Stack> {
  const { say = () => {}, detached = false, servers = ['broker', 'connect', 'registry'], broker: own = {} } = options;
  const programs = await fetchPrograms(say);
  if (servers.includes('registry') && programs.java.version < REGISTRY_JAVA_MIN)
    throw new Error(
      `the schema registry needs a JDK ${REGISTRY_JAVA_MIN} or newer, and ${programs.java.home} has ${programs.java.version}: set JAVA_HOME`,
    );
  const [broker, controller, connect, registry, management] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const ports = { broker, controller, connect, registry, management };
  const listeners = Object.fromEntries(await Promise.all((own.listeners ?? []).map(async (name) => [name, await freePort()] as const)));
  mkdirSync(folder, { recursive: true });
  writeConfig(folder, programs, ports, listeners, own.settings ?? [], options.plugins ?? []);
  const children: Partial<Record<ServerName, ChildProcess>> = {};
  const leave = (): void => {
    for (const child of Object.values(children)) if (isRunning(child)) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  if (!detached) leaveWithProcess(leave);
  const start = async (server: ServerName): Promise<void> => {
    const child = launch(server, folder, programs, ports, own.flags ?? [], options.isLoaded === true);
    children[server] = child;
    await ready(server, child, folder, ports);
    if (detached) child.unref();
  };
  const kill = async (server: ServerName): Promise<void> => end(children[server], 'SIGKILL');
  try {
    await format(folder, programs, own.format ?? []);
    await Promise.all(servers.map(start));
  } catch (error) {
    leave();
    throw error;
  }
  const origin = `http://127.0.0.1:${registry}/apis`;
  return {
    folder,
    broker: `127.0.0.1:${broker}`,
    listeners: Object.fromEntries(Object.entries(listeners).map(([name, port]) => [name, `127.0.0.1:${port}`])),
    connectUrl: `http://127.0.0.1:${connect}`,
    registryUrl: `${origin}/registry/v2`,
    ccompatUrl: `${origin}/ccompat/v7`,
    get pids() {
      return { broker: children.broker?.pid ?? 0, connect: children.connect?.pid ?? 0, registry: children.registry?.pid ?? 0 };
    },
    kill,
    start,
    async stop() {
      // Nobody needs what they would write while they end in order.
      await Promise.all([kill('connect'), kill('registry'), kill('broker')]);
      leave();
    },
  };
}

/** Ends a stack that another process started. */
export async function stopStack({ folder, pids }: StackAddress): Promise<void> {
  await endOf(Object.values(pids), folder);
  rmSync(folder, { recursive: true, force: true });
}

/** Ends those of the processes that are of what stands in `folder`. */
export async function endOf(pids: readonly number[], folder: string): Promise<void> {
  const own = pids.filter((pid) => isOf(pid, folder));
  for (const pid of own) process.kill(pid, 'SIGKILL');
  const deadline = performance.now() + GONE_MS;
  while (own.some((pid) => isOf(pid, folder)) && performance.now() < deadline) await pause(20);
}

/** Which of a stack's servers run: the process is there, and is the one that was started. */
export function runningServers({ folder, pids }: StackAddress): readonly ServerName[] {
  return (['broker', 'connect', 'registry'] as const).filter((server) => isOf(pids[server], folder));
}

/** A process id may have gone to another process since. */
export function isOf(pid: number, folder: string): boolean {
  if (!isThere(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
  } catch {
    return process.platform !== 'linux';
  }
}

function writeConfig(
  folder: string,
  { folder: programs }: Programs,
  ports: Ports,
  listeners: Readonly<Record<string, number>>,
  settings: readonly string[],
  plugins: readonly string[],
): void {
  const more = Object.entries(listeners).map(([name, port]) => `,${name}://127.0.0.1:${port}`);
  const words: Record<string, string> = {
    DATA: folder,
    PROGRAMS: programs,
    BROKER: String(ports.broker),
    CONTROLLER: String(ports.controller),
    CONNECT: String(ports.connect),
    LISTENERS: more.join(''),
    SETTINGS: settings.join('\n'),
    PLUGINS: plugins.map((plugin) => `,${plugin}`).join(''),
  };
  for (const name of ['server.properties', 'connect.properties']) {
    const text = readFileSync(join(HERE, 'conf', name), 'utf8');
    writeFileSync(
      join(folder, name),
      text.replaceAll(/@([A-Z]+)@/g, (_, word: string) => words[word] ?? ''),
    );
  }
}

function format(folder: string, programs: Programs, args: readonly string[]): Promise<void> {
  // Any 16 bytes are a cluster's id; the first letter of it must not be a dash.
  const id = `A${randomBytes(16).toString('base64url').slice(1)}`;
  const config = join(folder, 'server.properties');
  const child = java(
    folder,
    'format',
    programs,
    [FAST, '-Xmx96m', '-cp', join(programs.folder, 'libs/*'), 'kafka.tools.StorageTool'],
    ['format', '--ignore-formatted', '--standalone', '-t', id, '-c', config, ...args],
  );
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => (code === 0 ? resolve() : reject(failed('format', folder, `ended with code ${code}`))));
  });
}

function launch(
  server: ServerName,
  folder: string,
  programs: Programs,
  ports: Ports,
  brokerFlags: readonly string[],
  isLoaded: boolean,
): ChildProcess {
  const libs = join(programs.folder, 'libs/*');
  switch (server) {
    case 'broker':
      return java(
        folder,
        server,
        programs,
        [...(isLoaded ? ['-Xms512m', '-Xmx512m'] : [FAST, '-Xms64m', '-Xmx256m']), ...brokerFlags, '-cp', libs, 'kafka.Kafka'],
        [join(folder, 'server.properties')],
      );
    case 'connect': {
      const main = 'org.apache.kafka.connect.cli.ConnectDistributed';
      return java(
        folder,
        server,
        programs,
        [...(isLoaded ? ['-Xms1g', '-Xmx1g'] : [FAST, '-Xms64m', '-Xmx384m']), '-cp', libs, main],
        [join(folder, 'connect.properties')],
      );
    }
    case 'registry': {
      const listen = [
        '-Dquarkus.http.host=127.0.0.1',
        `-Dquarkus.http.port=${ports.registry}`,
        // It would listen on every address by default.
        '-Dquarkus.management.host=127.0.0.1',
        `-Dquarkus.management.port=${ports.management}`,
      ];
      return java(
        folder,
        server,
        programs,
        [FAST, '-Xms64m', '-Xmx256m', ...listen, '-jar', join(programs.folder, 'apicurio/quarkus-run.jar')],
        [],
      );
    }
  }
}

/** Stands in a server's log before what each start of it says. */
const STARTS = 'tidegate starts it\n';

/** What it says goes to a file of its own in the folder, which is also named among its properties: so it is known whose process it is. */
function java(folder: string, name: string, { java: { home } }: Programs, flags: readonly string[], args: readonly string[]): ChildProcess {
  const log = openSync(join(folder, `${name}.log`), 'a');
  writeSync(log, STARTS);
  const child = spawn(join(home, 'bin/java'), [...FLAGS, `-Dtidegate.stack=${folder}`, ...flags, ...args], {
    cwd: folder,
    detached: true, // Ctrl-C at a terminal reaches us alone.
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  return child;
}

async function ready(server: ServerName, child: ChildProcess, folder: string, ports: Ports): Promise<void> {
  let failure: Error | null = null;
  child.once('error', (error) => (failure = error));
  const deadline = performance.now() + READY_MS;
  const url =
    server === 'connect' ? `http://127.0.0.1:${ports.connect}/connectors` : `http://127.0.0.1:${ports.registry}/apis/ccompat/v7/subjects`;
  const isReady = (): Promise<boolean> => (server === 'broker' ? Promise.resolve(brokerIsUp(folder)) : answers(url));
  while (!(await isReady())) {
    if (failure !== null) throw failure as Error;
    if (!isRunning(child)) throw failed(server, folder, `ended with code ${child.exitCode}`);
    if (performance.now() > deadline) throw failed(server, folder, `was not ready after ${READY_MS} ms`);
    await pause(50);
  }
}

/** It says so once for each start. */
function brokerIsUp(folder: string): boolean {
  const log = readFileSync(join(folder, 'broker.log'), 'utf8');
  return log.lastIndexOf('Kafka Server started') > log.lastIndexOf(STARTS);
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || !isRunning(child)) return;
  child.ref();
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  await gone;
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

function failed(server: string, folder: string, what: string): Error {
  const log = readFileSync(join(folder, `${server}.log`), 'utf8')
    .split('\n')
    .slice(-15)
    .join('\n');
  return new Error(`the stack's ${server} ${what}:\n${log}`);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
