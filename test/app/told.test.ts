/** What a pipeline tells of is in the log, too. */
import { expect, test } from 'vitest';
import { createLogger } from '../../app/logger.ts';
import { CopyLog, logTold } from '../../app/told.ts';
import type { DatasetName } from '../../core/event.ts';

function log() {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>);
  return { lines, logger: createLogger({ level: 'info', format: 'json', write, clock: { now: () => 0 } }) };
}

test('a changed table is a warning where it waits for somebody, and so is log that the slot keeps, whatever its level is called', () => {
  const { lines, logger } = log();
  const drift = { pipeline: 'main', dataset: 'shop.public.orders', changes: ['column coupon is new', 'column note is gone'] };
  logTold(logger, 'schema.drift', { ...drift, policy: 'accept' });
  logTold(logger, 'schema.drift', { ...drift, policy: 'hold' });
  logTold(logger, 'slot.retention', {
    pipeline: 'main',
    slot: 's',
    level: 'critical',
    retainedBytes: 1,
    bytesPerSecond: null,
    fullInMs: null,
    message: 'the source keeps much log',
    fix: 'Read it.',
  });
  logTold(logger, 'lane.recovered', { pipeline: 'main', haltedMs: 1 });
  expect(lines).toMatchObject([
    { level: 'info', msg: 'a table of the source has changed', changes: 'column coupon is new; column note is gone', policy: 'accept' },
    { level: 'warn', msg: 'a table of the source has changed', policy: 'hold' },
    { level: 'warn', msg: 'the source keeps much log', risk: 'critical', fix: 'Read it.' },
  ]);
  expect(lines).toHaveLength(3);
});

test('the copy of a table is told once when it begins and once when it is done, and one that was done before is not', () => {
  const { lines, logger } = log();
  let ms = 0;
  const copies = new CopyLog(logger, { monotonic: () => ms });
  const see = (state: 'waiting' | 'copying' | 'done', rowsDone: number) =>
    copies.see([
      { dataset: 'shop.public.orders' as DatasetName, state, rowsDone, rowsEstimated: 100 },
      { dataset: 'shop.public.old' as DatasetName, state: 'done', rowsDone: 0, rowsEstimated: 5 },
    ]);
  see('waiting', 0);
  see('copying', 10);
  ms = 7000;
  see('copying', 60);
  see('done', 101);
  see('done', 101);
  expect(lines).toMatchObject([
    { level: 'info', msg: 'copying a table', dataset: 'shop.public.orders', rowsDone: 10, rowsEstimated: 100 },
    { level: 'info', msg: 'copied a table', dataset: 'shop.public.orders', rows: 101, seconds: 7 },
  ]);
  expect(lines).toHaveLength(2);
});
