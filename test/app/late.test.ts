/** Work that is told when it takes too long. */
import { expect, test } from 'vitest';
import { whenLate } from '../../app/late.ts';
import { ManualClock } from './manual-clock.ts';

test('what takes longer is told once and answers all the same; what was in time, or failed, is never told', async () => {
  const clock = new ManualClock();
  let told = 0;
  const begin = () => {
    const work = Promise.withResolvers<string>();
    return {
      ...work,
      answer: whenLate(
        clock,
        100,
        () => told++,
        () => work.promise,
      ),
    };
  };
  const late = begin();
  clock.advance(100);
  await Promise.resolve();
  expect(told).toBe(1);
  late.resolve('late');
  expect(await late.answer).toBe('late');

  const inTime = begin();
  clock.advance(99);
  inTime.resolve('in time');
  expect(await inTime.answer).toBe('in time');
  const failed = begin();
  failed.reject(new Error('no'));
  await expect(failed.answer).rejects.toThrow('no');
  clock.advance(1000);
  expect(told).toBe(1);
});
