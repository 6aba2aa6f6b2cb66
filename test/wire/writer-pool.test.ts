/** Writers that are used again: never by two at a time, and never more of them than may be kept. */
import { expect, test } from 'vitest';
import { PipelineError } from '../../core/errors.ts';
import type { FrontendWriter } from '../../wire/postgres/messages.ts';
import { WriterPool, WRITERS_FREE_BYTES_MAX } from '../../wire/postgres/writer-pool.ts';
import fc from '../support/fast-check.ts';

const MIB = 1 << 20;
const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('take' as const), bytes: fc.oneof({ weight: 5, arbitrary: fc.nat(2 * MIB) }, fc.nat(40 * MIB)) }),
    fc.record({ kind: fc.constant('release' as const), which: fc.nat() }),
  ),
  { maxLength: 40 },
);

test('a writer that is taken is empty and nobody else’s, and what is free is bounded', () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const pool = new WriterPool();
      const inUse: { readonly writer: FrontendWriter; readonly length: number }[] = [];
      for (const step of taken) {
        if (step.kind === 'take') {
          const writer = pool.take();
          expect(writer.length).toBe(0);
          expect(inUse.some((one) => one.writer === writer)).toBe(false);
          writer.raw(Buffer.alloc(step.bytes));
          inUse.push({ writer, length: step.bytes });
        } else if (inUse.length > 0) {
          const [one] = inUse.splice(step.which % inUse.length, 1);
          if (one !== undefined) pool.release(one.writer);
        }
        expect(pool.freeBytes).toBeLessThanOrEqual(WRITERS_FREE_BYTES_MAX);
        // Nobody has written to what another one has.
        for (const { writer, length } of inUse) expect(writer.length).toBe(length);
      }
    }),
    { numRuns: 60 },
  );
});

test('what is used again is the memory that was there', () => {
  const pool = new WriterPool();
  const writer = pool.take();
  writer.raw(Buffer.alloc(3 * MIB));
  const { capacity } = writer;
  pool.release(writer);
  expect(pool.freeBytes).toBe(capacity);
  expect(pool.take()).toBe(writer);
  expect([writer.capacity, pool.freeBytes]).toEqual([capacity, 0]);
});

test('a writer that is released twice is a bug, and not two batches in one', () => {
  const pool = new WriterPool();
  const writer = pool.take();
  pool.release(writer);
  expect(() => pool.release(writer)).toThrow(PipelineError);
});
