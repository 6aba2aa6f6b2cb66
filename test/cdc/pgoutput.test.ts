/** Rows of the log as they are laid down: each cell as it was sent, and whole rows as a COPY has them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PgoutputDecoder, Read } from '../../cdc/postgres/pgoutput.ts';
import type { Dataset, DatasetName } from '../../core/event.ts';
import { CopyMessages, Stretches } from '../../sync/postgres/new-rows.ts';
import { FrontendWriter } from '../../wire/postgres/messages.ts';
import type { PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { rawBytes } from '../../wire/postgres/types.ts';
import { beginMessage, type Cell, changeMessage, int } from './pgoutput-messages.ts';

const seed = 20261127;
const OID = 4711;
const COLUMNS = 4;

const dataset: Dataset = {
  name: 'shop.public.t' as DatasetName,
  version: 1,
  columns: Array.from({ length: COLUMNS }, (_, i) => ({ name: `c${i}`, type: 'bytes', native: 'bytea', nullable: true })),
  key: [0],
};
const relation: PgRelation = {
  dataset,
  types: dataset.columns.map(() => ({ oid: 17, typmod: -1, format: 'binary', decode: rawBytes })),
};

const bytes = fc.oneof({ weight: 9, arbitrary: fc.uint8Array({ maxLength: 20 }) }, fc.uint8Array({ minLength: 100, maxLength: 200 }));
const cell = (also: readonly (null | 'u')[]): fc.Arbitrary<Cell> =>
  fc.oneof(
    { weight: 8, arbitrary: bytes.map((all) => Buffer.from(all)) },
    ...also.map((one) => ({ weight: 1, arbitrary: fc.constant(one) })),
  );
const row = fc.tuple(cell([]), ...Array.from({ length: COLUMNS - 1 }, () => cell([null, 'u'])));
const change = fc.record({ op: fc.constantFrom('I', 'U', 'D'), before: fc.option(row), after: row });
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

const copied = (cells: readonly Cell[]): Buffer =>
  Buffer.concat([int(cells.length, 2), ...cells.flatMap((one) => (Buffer.isBuffer(one) ? [int(one.length, 4), one] : [int(-1, 4)]))]);

const message = ({ op, before, after }: Change): Buffer =>
  changeMessage(OID, op === 'D' ? { op, before: before ?? after } : { op, before, after });

/** All rows of the changes, old ones first, each with what it is made of. */
function decoded(changes: readonly Change[], owned: boolean): { found: PgRow; cells: readonly Cell[] }[] {
  const decoder = new PgoutputDecoder();
  decoder.follow(OID, { table: 'public.t', relation, isFiltered: false });
  const memory = Buffer.alloc(4096);
  const rows: { found: PgRow; cells: readonly Cell[] }[] = [];
  for (const one of changes) {
    const sent = message(one);
    // What is not ours is overwritten by the next message.
    if (!owned) sent.copy(memory.fill(0), 7);
    const read = owned ? decoder.read(sent, 0, sent.length, true) : decoder.read(memory, 7, 7 + sent.length);
    expect(read).toBe(Read.Event);
    const { before, after } = decoder.event ?? { before: null, after: null };
    const old = one.op === 'D' ? (one.before ?? one.after) : one.op === 'U' ? one.before : null;
    // A cell that an update left alone is the one of the row before; where that has none there, it was not sent, for a null would have been.
    const filled = one.after.map((own, i) => (own === 'u' ? (old?.[i] ?? 'u') : own));
    if (before !== null && old !== null) rows.push({ found: before as PgRow, cells: old });
    if (after !== null) rows.push({ found: after as PgRow, cells: one.op === 'D' ? one.after : filled });
  }
  return rows;
}

const cellOf = (found: PgRow, column: number): Cell => {
  const [from = 0, length = 0] = found.cells.subarray(found.at + 2 * column);
  return length === -1 ? null : length === -2 ? 'u' : found.bytes.subarray(from, from + length);
};

test.each([false, true])('every cell is what was sent, and a row that is framed is as a COPY has it (bytes of its own: %s)', (owned) => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), (changes) => {
      for (const { found, cells } of decoded(changes, owned)) {
        expect(cells.map((_, column) => cellOf(found, column))).toEqual(cells);
        if (owned) expect(found.framedTo).toBe(0);
        if (found.framedTo > 0) expect(found.bytes.subarray(found.framedFrom - 2, found.framedTo)).toEqual(copied(cells));
      }
    }),
    { seed },
  );
});

test('a whole row is framed, and one with cells that were not sent is not', () => {
  const whole = Array.from({ length: COLUMNS }, () => Buffer.from('x'));
  const [one, other] = decoded(
    [
      { op: 'U', before: null, after: [whole[0] as Cell, null, Buffer.alloc(0), Buffer.alloc(150)] },
      { op: 'U', before: null, after: [whole[0] as Cell, null, Buffer.alloc(0), 'u'] },
    ],
    false,
  );
  expect(one?.found.framedTo).toBeGreaterThan(0);
  expect(other?.found.framedTo).toBe(0);
});

test('rows that stand one behind the other, and those between others, come to one COPY', () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), (changes) => {
      const rows = decoded(changes, false).filter(({ found }) => found.framedTo > 0);
      const writer = new FrontendWriter();
      const messages = new CopyMessages(writer);
      const stretches = new Stretches(writer, messages, COLUMNS);
      for (const { found } of rows) stretches.add(found);
      stretches.end();
      messages.end();
      const header = 5 + 19;
      expect(writer.bytes().subarray(header, -2)).toEqual(Buffer.concat(rows.map(({ cells }) => copied(cells))));
    }),
    { seed },
  );
});

test('a place in the log is its 16 hex digits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (lsn) => {
      const decoder = new PgoutputDecoder();
      const sent = Buffer.concat([Buffer.alloc(3), beginMessage(lsn)]);
      expect(decoder.read(sent, 3, sent.length)).toBe(Read.Begin);
      expect(decoder.commitLsn).toBe(lsn.toString(16).padStart(16, '0'));
    }),
    { seed },
  );
});
