/** `npm run stack -- up | down | status`: a streaming stack for people, which runs until it is taken down. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runningServers, type StackAddress, startStack, stopStack } from './stack.ts';

const HELP = `npm run stack -- up | down | status [--json]

  up       starts Kafka, Kafka Connect with Debezium's Postgres and MariaDB connectors, and a schema registry,
           on free loopback ports and in .cache/stack; the first time, it fetches them by Maven
  down     ends them and removes their data
  status   tells where they are, and exits with 1 where one of them does not run
  --json   the same for programs
`;

const folder = join(dirname(dirname(import.meta.dirname)), '.cache/stack');
const addressFile = `${folder}.json`;
const words = process.argv.slice(2);
const isJson = words.includes('--json');
const [command] = words.filter((word) => !word.startsWith('--'));

function known(): StackAddress | null {
  try {
    return JSON.parse(readFileSync(addressFile, 'utf8')) as StackAddress; // Written below.
  } catch {
    return null;
  }
}

function tell(address: StackAddress | null): void {
  const running = address === null ? [] : runningServers(address);
  if (isJson) console.log(JSON.stringify({ running, ...address }));
  else if (address === null) console.log('There is no stack; `npm run stack -- up` starts one.');
  else {
    console.log(
      `Kafka     ${address.broker}\nConnect   ${address.connectUrl}\nRegistry  ${address.ccompatUrl}  (its own API: ${address.registryUrl})`,
    );
    console.log(`Running: ${running.join(', ') || 'none'}. Logs and data are in ${address.folder}.`);
  }
  if (running.length < 3) process.exitCode = 1;
}

async function up(): Promise<void> {
  const before = known();
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

async function down(): Promise<void> {
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
