/** What the quarantine keeps reads back as what it was. */
import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import { type ChangeEvent, type Dataset, type DatasetName, UNCHANGED, type Value, ValueRow, type Version } from '../../core/event.ts';
import { packEvent, unpackEvent } from '../../wire/postgres/event-bytes.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { builtinType } from '../../wire/postgres/types.ts';

const dataset: Dataset = {
  name: 'shop.public.orders' as DatasetName,
  version: 3,
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'note', type: 'text', native: 'text', nullable: true },
  ],
  key: [0],
};
const base = { dataset, key: '7', movedFrom: null, version: '000000000000000a' as Version, ordinal: 2, committedAtMs: 5 };
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.constant(UNCHANGED),
  fc.boolean(),
  fc.double(),
  fc.bigInt(),
  fc.string({ unit: 'binary' }),
  fc.uint8Array(),
);

test('plain values survive packing', () => {
  fc.assert(
    fc.property(value, value, (a, b) => {
      const event: ChangeEvent = { op: 'update', before: new ValueRow(b, a), after: new ValueRow(a, b), ...base };
      const again = unpackEvent(packEvent(event));
      expect([0, 1].map((i) => again.after?.value(i))).toEqual([a, b].map((v) => (v instanceof Uint8Array ? Buffer.from(v) : v)));
      expect([0, 1].map((i) => again.before?.value(i))).toEqual([b, a].map((v) => (v instanceof Uint8Array ? Buffer.from(v) : v)));
      expect({ ...again, before: null, after: null }).toEqual({ ...event, before: null, after: null });
    }),
  );
});

test('encoded cells keep their bytes, nulls and unchanged cells', () => {
  const types = [20, 25].map((oid) => ({ oid, typmod: -1, format: 'binary' as const, decode: builtinType(oid)?.decode ?? (() => null) }));
  const relation: PgRelation = { dataset, types };
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.oneof(fc.string(), fc.constant(null), fc.constant(UNCHANGED)),
      (id, note) => {
        const text = typeof note === 'string' ? Buffer.from(note) : Buffer.alloc(0);
        const bytes = Buffer.concat([Buffer.alloc(8), text]);
        bytes.writeBigInt64BE(id);
        const length = note === null ? -1 : typeof note === 'string' ? text.length : -2;
        const row = new PgRow(relation, bytes, new Int32Array([0, 8, 8, length]), 0);
        const again = unpackEvent(packEvent({ op: 'insert', before: null, after: row, ...base }));
        expect(BigInt(again.after?.value(0) as number | bigint)).toBe(id);
        expect(again.after?.value(1)).toBe(typeof note === 'string' ? text.toString() : note);
        expect(again.after?.encoded).not.toBeNull();
      },
    ),
  );
});
