/** Rows that are read in pieces: what is left of them does not depend on how they come, and is the row without its large cells. */
import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import { type CutMessage, cutCopyRow, cutMessage } from '../../cdc/postgres/large-rows.ts';
import type { PieceTaker } from '../../wire/postgres/connection.ts';

const SEED = Number(process.env['LARGE_ROWS_SEED'] ?? 1);
const LIMIT = 100_000;

/** The length of a cell, or a letter for one without. */
const cell = fc.oneof(
  fc.constantFrom('n' as const, 'u' as const),
  fc.constantFrom(0, 1, 7, 1024),
  fc.integer({ min: 1025, max: 65_536 }),
  fc.integer({ min: 65_537, max: 200_000 }),
);
type Cell = number | 'n' | 'u';

const int = (bytes: 2 | 4, value: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeIntBE(value, 0, bytes);
  return buffer;
};
const fill = (length: number): Buffer => Buffer.alloc(length, `<${length}>`);

/** Of a tuple as it is sent, and as it should be left, given how much is kept already. */
function tuple(cells: readonly Cell[], kept: { bytes: number }): { sent: Buffer; left: Buffer; cut: boolean } {
  const sent: Buffer[] = [];
  const left: Buffer[] = [];
  let cut = false;
  const both = (...parts: Buffer[]): void => {
    sent.push(...parts);
    left.push(...parts);
    kept.bytes += Buffer.concat(parts).length;
  };
  both(int(2, cells.length));
  for (const one of cells) {
    if (typeof one === 'string') both(Buffer.from(one));
    else if (one <= 1024 || (one <= 65_536 && kept.bytes + one <= LIMIT)) both(Buffer.from('b'), int(4, one), fill(one));
    else {
      sent.push(Buffer.from('b'), int(4, one), fill(one));
      left.push(Buffer.from('u'));
      kept.bytes++;
      cut = true;
    }
  }
  return { sent: Buffer.concat(sent), left: Buffer.concat(left), cut };
}

function inPieces(taker: PieceTaker, bytes: Buffer, sizes: readonly number[]): void {
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const to = Math.min(bytes.length, at + (sizes[n % sizes.length] ?? 1));
    taker.piece(Buffer.concat([Buffer.from('before'), bytes.subarray(at, to), Buffer.from('behind')]), 6, 6 + to - at);
    at = to;
  }
  taker.end();
}
const pieces = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 5 });
const HEAD = Buffer.from('wABCDEFGHIJKLMNOPQRSTUVWX');

test(`a message of the log is left without its large cells, whatever pieces it comes in (seed ${SEED})`, () => {
  fc.assert(
    fc.property(fc.constantFrom('I', 'U', 'UK', 'UO', 'DK', 'DO'), fc.array(cell), fc.array(cell), pieces, (kind, before, after, sizes) => {
      const [op = '', old = ''] = kind;
      const kept = { bytes: 30 };
      const rows: { which: string; sent: Buffer; left: Buffer; cut: boolean }[] = [];
      for (const [which, cells] of [
        [old, before],
        [op === 'D' ? '' : 'N', after],
      ] as const) {
        if (which === '') continue;
        kept.bytes++;
        rows.push({ which, ...tuple(cells, kept) });
      }
      const whole = (which: 'sent' | 'left'): Buffer =>
        Buffer.concat([HEAD, Buffer.from(op), int(4, 4711), ...rows.flatMap((row) => [Buffer.from(row.which), row[which]])]);
      const done: CutMessage[] = [];
      inPieces(
        cutMessage(LIMIT, (message) => done.push(message)),
        whole('sent'),
        sizes,
      );
      expect(done.map(({ bytes }) => bytes?.equals(whole('left')))).toEqual([true]);
      expect(done[0]?.isCut).toBe(op !== 'D' && rows.at(-1)?.cut === true);
    }),
    { seed: SEED, numRuns: 60 },
  );
});

test(`a row of a copy likewise, with the header of all before the first (seed ${SEED})`, () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.constant(-1),
          cell.filter((one) => typeof one === 'number'),
        ),
      ),
      fc.boolean(),
      pieces,
      (cells, isFirst, sizes) => {
        const header = isFirst ? Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex') : Buffer.alloc(0);
        const sent = [header, int(2, cells.length)];
        const left = [...sent];
        let kept = header.length + 2;
        for (const length of cells) {
          const bytes = [int(4, length), fill(Math.max(0, length))];
          const stays = length <= 1024 || (length <= 65_536 && kept + length <= LIMIT);
          sent.push(...bytes);
          left.push(...(stays ? bytes : [int(4, -2)]));
          kept += stays ? 4 + Math.max(0, length) : 4;
        }
        const put: Buffer[] = [];
        inPieces(
          cutCopyRow(LIMIT, (payload) => put.push(payload)),
          Buffer.concat(sent),
          sizes,
        );
        expect(put.map((payload) => payload.equals(Buffer.concat(left)))).toEqual([true]);
      },
    ),
    { seed: SEED, numRuns: 60 },
  );
});

test('messages of others, however large, come to nothing, and a row that ends in the middle is told', () => {
  const done: CutMessage[] = [];
  inPieces(
    cutMessage(LIMIT, (message) => done.push(message)),
    Buffer.concat([HEAD, Buffer.from('M'), Buffer.alloc(500_000)]),
    [4096],
  );
  expect(done).toEqual([{ bytes: null, isCut: false }]);
  const short = Buffer.concat([
    HEAD,
    Buffer.from('I'),
    int(4, 1),
    Buffer.from('N'),
    int(2, 2),
    Buffer.from('b'),
    int(4, 200_000),
    fill(200_000),
  ]);
  expect(() =>
    inPieces(
      cutMessage(LIMIT, () => {}),
      short,
      [4096],
    ),
  ).toThrow(RangeError);
});
