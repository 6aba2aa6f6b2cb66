/** Rows that are no objects are the rows that were sent, however they come, whoever looks, and whatever becomes of their memory. */
import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import { Batch } from '../../core/batch.ts';
import type { DatasetName, Version } from '../../core/event.ts';
import { CopyReader } from '../../cdc/postgres/copy-reader.ts';
import { RowRun } from '../../cdc/postgres/row-run.ts';
import { parseContract } from '../../quality/contract.ts';
import { qualityStage } from '../../quality/stage.ts';
import { CopyPool } from '../../wire/postgres/copy-memory.ts';
import { Gathered } from '../../wire/postgres/gathered.ts';
import { copyOf, place, RELATION, type Values, valuesOf } from '../sync/copied.ts';

const values = fc.tuple(
  fc.integer({ min: 1, max: 1_000_000 }),
  fc.option(fc.integer({ min: -50, max: 50 })),
  fc.option(fc.oneof(fc.string({ maxLength: 20 }), fc.constant('x'.repeat(3000)))),
);
const rows: fc.Arbitrary<readonly Values[]> = fc.array(values, { minLength: 1, maxLength: 60 });
const pieces = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 6 });

function read(sent: readonly Values[], sizes: readonly number[], memory = new CopyPool().memory()): CopyReader {
  const reader = new CopyReader(RELATION, Number.POSITIVE_INFINITY, memory);
  const bytes = copyOf(sent);
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const to = Math.min(bytes.length, at + (sizes[n % sizes.length] ?? 1));
    reader.push(Buffer.from(bytes.subarray(at, to)));
    at = to;
  }
  return reader;
}

test('rows are those that were sent, whatever pieces they come in, and so are their parts and copies', () => {
  fc.assert(
    fc.property(rows, pieces, fc.nat(), fc.nat(), (sent, sizes, a, b) => {
      const copied = read(sent, sizes).take();
      expect(copied.length).toBe(sent.length);
      expect([...copied].map(valuesOf)).toEqual(sent);
      const [from = 0, to = 0] = [a % (sent.length + 1), b % (sent.length + 1)].toSorted((x, y) => x - y);
      const part = copied.slice(from, to);
      expect([...part].map(valuesOf)).toEqual(sent.slice(from, to));
      expect([...part.copy()].map(valuesOf)).toEqual(sent.slice(from, to));
      // In any order, and with tuples that lie where they were sent.
      for (const index of [...sent.keys()].reverse()) expect(valuesOf(copied.look(index))).toEqual(sent[index]);
      const tuples = copied.segments.map((one) => one.bytes.subarray(copied.tupleFrom(one, 0), copied.tupleTo(one, one.rows - 1)));
      expect(Buffer.concat(tuples)).toEqual(copyOf(sent).subarray(19, -2));
    }),
  );
});

test('payloads that are gathered come out in order and whole, and blocks are filled to their end', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.boolean(), fc.boolean()), { maxLength: 50 }), (puts) => {
      let blocks = 0;
      const gathered = new Gathered(() => {
        blocks++;
        return Buffer.alloc(32);
      });
      const taken: Buffer[] = [];
      const put: Buffer[] = [];
      for (const [n, [length, isOwned, takes]] of puts.entries()) {
        const payload = Buffer.alloc(length, n);
        put.push(payload);
        if (isOwned) gathered.addOwned(payload);
        else gathered.add(Buffer.concat([Buffer.from('<'), payload, Buffer.from('>')]), 1, 1 + length);
        const chunk = takes ? gathered.take() : null;
        if (chunk !== null) taken.push(chunk);
        expect(gathered.length).toBe(Buffer.concat(put).length - Buffer.concat(taken).length);
      }
      for (let chunk = gathered.take(); chunk !== null; chunk = gathered.take()) taken.push(chunk);
      // None is taken for what does not fit.
      expect(blocks).toBeLessThanOrEqual(1 + puts.filter(([length, isOwned]) => !isOwned && length <= 32).length);
      expect(Buffer.concat(taken)).toEqual(Buffer.concat(put)); // Also those taken long before: nobody writes over them.
    }),
  );
});

const contract = (() => {
  const parsed = parseContract(
    `apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${RELATION.dataset.name}\nversion: 1\n` +
      'columns: { n: [not_null, { between: { min: -20, max: 20 }, on_fail: tag }], note: [{ length: { max: 15 }, on_fail: drop }, { match_regex: "^[^a]*$" }] }\n' +
      'checks: [{ id: far, expr: "n != id" }]\n',
    'items.yaml',
  );
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
})();

test('a run of rows is judged as the same events are, and only those that do not pass become objects', async () => {
  await fc.assert(
    fc.asyncProperty(rows, pieces, fc.nat(9), async (sent, sizes, ordinal) => {
      const memory = new CopyPool().memory();
      const copied = read(sent, sizes, memory).take();
      const made: number[] = [];
      class Counted extends RowRun {
        override event(index: number): ReturnType<RowRun['event']> {
          made.push(index);
          return super.event(index);
        }
      }
      const run = new Counted(copied, '0a' as Version, ordinal, 1000, {});
      const checkpoint = place(1);
      const [ours, theirs] = [new Batch(run, checkpoint, 'snapshot'), new Batch(run.events(), checkpoint, 'snapshot')];
      const stages = [0, 1].map(() => qualityStage(new Map([[RELATION.dataset.name as DatasetName, contract]]), { sliceEvents: 7 }));
      const { signal } = new AbortController();
      await stages[0]?.run(ours, signal);
      await stages[1]?.run(theirs, signal);
      expect([...ours.verdicts]).toEqual([...theirs.verdicts]);
      expect(ours.findings).toEqual(theirs.findings);
      expect(ours.revisions).toEqual(theirs.revisions);
      expect(stages[0]?.stats()).toEqual(stages[1]?.stats());
      const failing = new Set(theirs.findings.map(({ index }) => index));
      expect(made).toEqual([...failing].toSorted((a, b) => a - b));
      expect(ours.spans()).toEqual(theirs.spans());
      const datasets = [...sent.keys(), sent.length].map((index) => ours.datasetOf(index));
      expect(datasets).toEqual([...sent.map(() => RELATION.dataset), undefined]);
      expect(made).toHaveLength(failing.size);
      // Events that somebody keeps stay as they are when the memory has other rows.
      const kept = [...theirs.verdicts.keys()].map((index) => ours.event(index));
      for (const { bytes, cells } of copied.segments) {
        bytes.fill(0xff);
        cells.fill(-9);
      }
      expect(kept.map((event) => [event?.key, event?.ordinal, event?.op])).toEqual(
        sent.map(([id], index) => [String(id), ordinal + index, 'read']),
      );
      expect(kept.map((event) => valuesOf(event?.after))).toEqual(sent);
    }),
    { numRuns: 60 },
  );
});
