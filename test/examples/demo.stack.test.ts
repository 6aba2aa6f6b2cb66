/** The demo by Debezium and Kafka, over a streaming stack of its own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('--kafka --once --json proves that what came by the topics is what the shop has, without what is held', async () => {
  const words = ['examples/demo.ts', '--kafka', '--once', '--rows', '2000', '--json'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, words);
  expect(JSON.parse(stdout)).toMatchObject({ rows: 2000, holds: true, ledgerClosed: true, alertsRefused: 0 });
  expect(stderr).toContain('The first copy is done');
  expect(stderr).not.toContain('model.unavailable');
});
