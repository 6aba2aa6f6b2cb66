/** When a batch is handed out: at once where the log stands still, larger where it flows, and never later than said. */
import { expect, test } from 'vitest';
import { BatchQueue } from '../../cdc/postgres/batches.ts';
import { PgEvent } from '../../cdc/postgres/pg-event.ts';
import type { Dataset, LaneId, Position, Version } from '../../core/event.ts';
import type { Batch } from '../../core/batch.ts';
import { ManualClock } from '../app/manual-clock.ts';

const DATASET = { name: 'shop.public.t', version: 1, columns: [], key: [] } as unknown as Dataset;

function queue(ageMs = 0): { clock: ManualClock; queue: BatchQueue; write: (rows: number) => void } {
  const clock = new ManualClock();
  const made = new BatchQueue(
    'shop/slot' as LaneId,
    { lsn: '0000000000000000', readOn: null, snapshot: null, within: null, timeline: 1, system: null, last: null },
    '0000000000000000' as Position,
    { rows: 5000, bytes: 1 << 24, ageMs },
    clock,
  );
  let lsn = 0;
  return {
    clock,
    queue: made,
    write: (rows) => {
      const end = (++lsn).toString(16).padStart(16, '0');
      made.begin(end);
      for (let n = 0; n < rows; n++) made.append(new PgEvent('truncate', null, null, DATASET, end as Version, n, 0, false), 100);
      made.commit(end, { commit: end, xid: 1, atMs: 0 });
    },
  };
}

/** The batch that `taking` comes to, or null while it is not there: after everything that needs no time. */
async function settled(taking: Promise<Batch | null>): Promise<number | null> {
  let rows: number | null = null;
  void taking.then((batch) => (rows = batch?.events.length ?? 0));
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  return rows;
}

test('where the log stands still, what there is is handed out at once', async () => {
  const { queue: made, write } = queue();
  const taking = made.take();
  write(1);
  made.pause(false);
  expect(await settled(taking)).toBe(1);
});

test('where the log flows, a batch gathers for a moment, and no longer', async () => {
  const { queue: made, write, clock } = queue();
  const taking = made.take();
  write(300);
  made.pause(true);
  expect(await settled(taking)).toBeNull();
  write(300);
  made.pause(true);
  expect(await settled(taking)).toBeNull();
  clock.advance(3);
  expect(await settled(taking)).toBe(600);
});

test('a batch that is large enough does not wait, and the last of a flow does not stay behind', async () => {
  const { queue: made, write } = queue();
  const first = made.take();
  write(1500);
  made.pause(true);
  expect(await settled(first)).toBeNull();
  write(600);
  made.pause(true);
  expect(await settled(first)).toBe(2100);
  const second = made.take();
  write(10);
  made.pause(true);
  expect(await settled(second)).toBeNull();
  made.pause(false);
  expect(await settled(second)).toBe(10);
});

test('an age that the config gives holds where the log stands still, too', async () => {
  const { queue: made, write, clock } = queue(50);
  const taking = made.take();
  write(5);
  made.pause(false);
  expect(await settled(taking)).toBeNull();
  clock.advance(49);
  expect(await settled(taking)).toBeNull();
  clock.advance(1);
  expect(await settled(taking)).toBe(5);
});
