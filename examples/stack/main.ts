/** `npm run stack -- up | down | status`: a streaming stack for people, which runs until it is taken down. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { startMariadb } from './mariadb.ts';
import { endOf, isOf, runningServers, type StackAddress, startStack, stopStack } from './stack.ts';

const HELP = `npm run stack -- up | down | status [--mariadb] [--json]

  up       starts Kafka, Kafka Connect with Debezium's Postgres and MariaDB connectors, and a schema registry,
           on free loopback ports and in .cache/stack; the first time, it fetches them by Maven
  down     ends them and removes their data
  status   tells where they are, and exits with 1 where one of them does not run
  --mariadb   up: starts a MariaDB server beside them, with a binary log and a user who may do everything;
              the one that is installed, or, on Debian, its packages unpacked into the cache
  --json      the same for programs
`;

const folder = join(dirname(dirname(import.meta.dirname)), '.cache/stack');
const addressFile = `${folder}.json`;
const mariadbFolder = join(dirname(folder), 'mariadb');
const mariadbFile = `${mariadbFolder}.json`;
const words = process.argv.slice(2);
const isJson = words.includes('--json');
const [command] = words.filter((word) => !word.startsWith('--'));

const known = (): StackAddress | null => written(addressFile) as StackAddress | null;

interface MariadbAddress {
  readonly url: string;
  readonly pid: number;
}

/** Null where none runs. */
function knownMariadb(): MariadbAddress | null {
  const address = written(mariadbFile) as MariadbAddress | null;
  return address !== null && isOf(address.pid, mariadbFolder) ? address : null;
}

/** What this command wrote before. */
function written(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

function tell(address: StackAddress | null): void {
  const running = address === null ? [] : runningServers(address);
  const mariadb = knownMariadb();
  if (isJson) console.log(JSON.stringify({ running, ...address, ...(mariadb === null ? {} : { mariadb }) }));
  else if (address === null) console.log('There is no stack; `npm run stack -- up` starts one.');
  else {
    console.log(
      `Kafka     ${address.broker}\nConnect   ${address.connectUrl}\nRegistry  ${address.ccompatUrl}  (its own API: ${address.registryUrl})`,
    );
    if (mariadb !== null) console.log(`MariaDB   ${mariadb.url}`);
    console.log(`Running: ${running.join(', ') || 'none'}. Logs and data are in ${address.folder}.`);
  }
  if (running.length < 3) process.exitCode = 1;
}

async function up(): Promise<void> {
  const before = known();
  if (words.includes('--mariadb')) await upMariadb();
  if (before !== null && runningServers(before).length === 3) return tell(before);
  if (before !== null) await stopStack(before);
  mkdirSync(dirname(folder), { recursive: true });
  const { broker, connectUrl, registryUrl, ccompatUrl, pids } = await startStack(folder, {
    detached: true,
    say: (line) => console.error(line),
  });
  const address: StackAddress = { folder, broker, connectUrl, registryUrl, ccompatUrl, pids };
  writeFileSync(addressFile, JSON.stringify(address));
  tell(address);
}

async function upMariadb(): Promise<void> {
  if (knownMariadb() !== null) return;
  rmSync(mariadbFolder, { recursive: true, force: true });
  const { url, pid } = await startMariadb(mariadbFolder, { detached: true, say: (line) => console.error(line) });
  writeFileSync(mariadbFile, JSON.stringify({ url, pid }));
}

async function down(): Promise<void> {
  const mariadb = knownMariadb();
  if (mariadb !== null) await endOf([mariadb.pid], mariadbFolder);
  for (const path of [mariadbFolder, mariadbFile]) rmSync(path, { recursive: true, force: true });
  const address = known();
  if (address !== null) {
    await stopStack(address);
    writeFileSync(addressFile, 'null');
  }
  if (isJson) console.log(JSON.stringify({ running: [] }));
  else console.log(address === null ? 'There was no stack.' : 'The stack is down, and its data removed.');
}

switch (command) {
  case 'up':
    await up();
    break;
  case 'down':
    await down();
    break;
  case 'status':
    tell(known());
    break;
  default:
    console.log(HELP);
    if (!words.includes('--help')) process.exitCode = 2;
}
