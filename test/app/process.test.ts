/** The process of the service: its log and output where they cannot be written, and its signals. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { configFolder } from './services.ts';

const MAIN = resolve(import.meta.dirname, '../../app/cli/main.ts');
const FULL = '/dev/full'; // Each write to it fails as on a disk without room.

test.skipIf(!existsSync(FULL))('a log whose disk is full does not end the service', async () => {
  using config = configFolder();
  const log = openSync(FULL, 'w');
  const child = spawn(process.execPath, [MAIN, 'run', config.file, '--json'], { stdio: ['ignore', 'pipe', log] });
  closeSync(log);
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  try {
    await eventually(() => said.includes('\n') || child.exitCode !== null, 'it has started');
    const { url } = JSON.parse(said) as { url: string };
    // Its servers are away, so that it goes on logging that.
    await eventually(async () => {
      const { pipelines } = (await (await fetch(`${url}/api/status`)).json()) as { pipelines: { attempt: number }[] };
      return (pipelines[0]?.attempt ?? 0) >= 3;
    }, 'it has tried again, and said so');
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  } finally {
    child.kill('SIGTERM');
  }
  expect(await ended).toBe(0);
});

test('a reader of the output that goes away leaves no stack behind', async () => {
  const child = spawn('sh', ['-c', '"$0" "$1" schema config | head -c 10', process.execPath, MAIN], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  await new Promise((done) => child.once('close', done));
  expect(said).toBe('');
});

test('a signal that comes twice at once, as through npm, stops it as one does', async () => {
  using config = configFolder();
  const child = spawn(process.execPath, [MAIN, 'run', config.file, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((done) => child.once('close', done));
  let said = '';
  let log = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString('utf8')));
  await eventually(() => said.includes('\n') || child.exitCode !== null, 'it has started');
  // Two of a kind may arrive as one.
  child.kill('SIGTERM');
  child.kill('SIGINT');
  expect([await ended, log]).toEqual([0, expect.stringContaining('"msg":"stopped"') as unknown]);
});
