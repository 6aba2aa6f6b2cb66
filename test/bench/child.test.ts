import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ended, startChild } from '../../bench/child.ts';

let directory: string;
beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), 'tidegate-bench-'))));
afterAll(() => rm(directory, { recursive: true }));

async function script(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

test('a child that ends before it is up fails the run with what it said and how it ended', async () => {
  const path = await script('dies.mjs', "console.log('reading', process.argv[2]); console.error('no such slot'); process.exitCode = 3;");
  const child = startChild(path, 'orders');
  await expect(child.up).rejects.toThrow(/dies\.mjs ended with exit code 3, having said:\n(?=[^]*reading orders\n)(?=[^]*no such slot\n)/);
  expect(child.check).toThrow('exit code 3');
  await ended(child.process);
});

test('a child that is killed after it was up is told by its signal, and is not waited for', async () => {
  const path = await script('stays.mjs', "process.once('message', () => {}); process.send('up');");
  const child = startChild(path, '');
  await child.up;
  child.check();
  const closed = new Promise((resolve) => child.process.once('close', resolve));
  child.process.kill('SIGKILL');
  await closed;
  expect(child.check).toThrow('ended with SIGKILL');
  await ended(child.process);
});

test('a child that is up ends when it is told to', async () => {
  const child = startChild(await script('ends.mjs', "process.once('message', () => {}); process.send('up');"), '');
  await child.up;
  await ended(child.process);
  expect(child.process.signalCode).toBe('SIGTERM');
});
