/** Rules over rows as Postgres encoded them: only the cells that a rule reads are decoded, and no more. */
import { describe, expect, test } from 'vitest';
import { CELL_NULL, CELL_UNCHANGED, type ChangeEvent, UNCHANGED } from '../../core/event.ts';
import { PgRow, type PgRelation } from '../../wire/postgres/row.ts';
import { numericBytes } from '../../wire/postgres/types-numeric.ts';
import { builtinType } from '../../wire/postgres/types.ts';
import { qualityStage } from '../../quality/stage.ts';
import { batchOf, type Cells, columns, contractOf, insert, judged, orders, said } from './support.ts';

const OIDS: Readonly<Record<string, number>> = {
  id: 20,
  total: 1700,
  net: 1700,
  tax: 1700,
  items: 23,
  status: 25,
  email: 25,
  paid: 16,
  created_at: 1184,
  shipped_at: 1184,
  code: 1042,
};

/** A relation that counts what is decoded, and a maker of its rows: texts, numbers and booleans as the wire has them. */
function counting() {
  const decoded = new Map<string, number>();
  const types = columns.map(({ name }) => {
    const oid = OIDS[name] ?? 25;
    const type = builtinType(oid);
    if (type === undefined) throw new Error(`no codec for ${name}`);
    return {
      oid,
      typmod: -1,
      format: 'binary' as const,
      decode: (bytes: Buffer, offset: number, length: number) => {
        decoded.set(name, (decoded.get(name) ?? 0) + 1);
        return type.decode(bytes, offset, length);
      },
      type,
    };
  });
  const relation: PgRelation = { dataset: orders, types };
  const event = (cells: Cells | Record<string, Buffer | typeof CELL_NULL>): ChangeEvent => {
    const parts: Buffer[] = [];
    const offsets = new Int32Array(columns.length * 2);
    let at = 0;
    for (const [index, { name }] of columns.entries()) {
      const value = (cells as Record<string, unknown>)[name] ?? null;
      const bytes = bytesOf(name, value);
      offsets[2 * index] = at;
      offsets[2 * index + 1] = bytes === null ? CELL_NULL : bytes.length;
      if (typeof value === 'symbol') offsets[2 * index + 1] = CELL_UNCHANGED;
      else if (bytes !== null) {
        parts.push(bytes);
        at += bytes.length;
      }
    }
    return { ...insert({}), after: new PgRow(relation, Buffer.concat(parts), offsets, 0) } as ChangeEvent;
  };
  return { decoded, event };
}

function bytesOf(name: string, value: unknown): Buffer | null {
  if (value === null || typeof value === 'symbol') return null;
  if (value instanceof Buffer) return value;
  const bytes = Buffer.alloc(8);
  switch (OIDS[name]) {
    case 20:
    case 1184:
      bytes.writeBigInt64BE(BigInt(value as number));
      return bytes;
    case 23:
      bytes.writeInt32BE(value as number);
      return bytes.subarray(0, 4);
    case 16:
      return Buffer.of(value === true ? 1 : 0);
    case 1700:
      return Buffer.from(numericBytes(value as string));
    case undefined:
    default:
      return Buffer.from(value as string);
  }
}

const row: Cells = { id: 7, total: '119.00', net: '100.00', tax: '19.00', items: 3, status: 'new', email: 'a@example.org', paid: true };

describe('cells that can be judged by their bytes, or that no rule reads, are never decoded', () => {
  test.each<[string, string, Record<string, number>]>([
    ['nothing for presence', 'columns: { id: [not_null], email: [not_null], shipped_at: [{ null: true }] }', {}],
    ['nothing for a set', 'columns: { status: [{ in_set: [new] }], paid: [{ in_set: [true] }], id: [{ not_in_set: [1, 2] }] }', {}],
    [
      'nothing where a text may stand for none',
      'columns: { status: [{ in_set: [new], missing: ["", N/A] }, { not_null: true, missing: [""] }] }',
      {},
    ],
    ['nothing for bounds', 'columns: { total: [{ between: { min: 0, max: 200 } }], items: [{ between: { min: 1 } }] }', {}],
    [
      'nothing for patterns',
      "columns: { status: [{ match_regex: '^[a-z]+$' }, { match_like: 'n%' }], email: [{ format: email }, { length: 13 }] }",
      {},
    ],
    [
      'nothing for what is added or compared',
      'checks: [{ sum_equals: { column_list: [net, tax], sum_column: total } }, { pair_greater: { column_A: total, column_B: net } }]',
      {},
    ],
    [
      'one cell for a check of its value',
      'columns: { status: [{ type: [integer, date], nulls: skip, where: "after.items > 9" }, { id: json, json_schema: { const: 1 }, on_fail: tag, ops: [delete] }], email: [{ not_match_regex: "é" }, { id: digits, not_match_regex: "[[:digit:]]" }] }',
      { items: 1, email: 1 },
    ],
    ['what an expression names', "checks: [{ expr: 'after.items > 0 || after.paid' }]", { items: 1 }],
    ['the condition alone where it does not hold', "columns: { email: [{ format: email, where: 'after.items > 9' }] }", { items: 1 }],
    ['nothing for rules of other operations', 'columns: { email: [{ format: email, ops: [delete] }], status: [immutable] }', {}],
  ])('%s', async (_, body, expected) => {
    const { decoded, event } = counting();
    const batch = await judged(contractOf(body), [event(row)]);
    expect(batch.findings).toEqual([]);
    expect(Object.fromEntries(decoded)).toEqual(expected);
  });
});

test('encoded rows are judged as the same rows of values are', async () => {
  const contract = contractOf(`
columns:
  id: [not_null, { between: { min: 1 } }]
  total: [{ between: { min: 0, max: 200 } }]
  status: [{ in_set: [new, paid] }, not_null]
  email: [{ format: email }, { length: { max: 20 } }]
  paid: [{ in_set: [true] }]
checks:
  - { id: there, column: status, not_null: true, missing: ["", N/A] }
  - { id: short, column: email, length: { max: 20 }, nulls: fail, missing: [x] }
  - { sum_equals: { column_list: [net, tax], sum_column: total } }
  - { pair_greater: { column_A: total, column_B: net } }
  - { expr: 'after.items * 2 < 10' }`);
  const rows: Cells[] = [
    row,
    { ...row, total: '118.99' },
    { ...row, status: null, paid: false },
    { ...row, status: 'N/A' },
    { ...row, status: '' },
    { ...row, email: 'x', items: 5 },
    { ...row, id: -1, total: '1e3' },
    {},
  ];
  const { event } = counting();
  const encoded = await judged(contract, rows.map(event));
  const plain = await judged(
    contract,
    rows.map((cells) => insert(cells)),
  );
  expect(encoded.findings.map((finding) => `${finding.index} ${said(finding)}`)).toEqual(
    plain.findings.map((finding) => `${finding.index} ${said(finding)}`),
  );
  expect(encoded.findings.length).toBeGreaterThan(7);
});

test('bytes that are no value of their type are a row that cannot be read', async () => {
  const { event } = counting();
  const contract = contractOf('columns: { id: [{ between: { min: 1 } }, { id: there, not_null: true }] }');
  const batch = await judged(contract, [event({ id: Buffer.of(1, 2) as never }), event(row)]);
  expect(batch.findings.map(said)).toEqual(['id.between id Quarantine critical: id cannot be read']);
});

test('an update that leaves a cell as it was is not decoded for rules that compare with the old row', async () => {
  const { decoded, event } = counting();
  const contract = contractOf(
    'columns: { status: [immutable, { transitions: { new: [paid], paid: [] } }], total: [immutable], email: [immutable] }',
  );
  const [before, after] = [event(row).after, event({ ...row, status: 'paid', email: null }).after];
  const batch = await judged(contract, [{ ...event(row), op: 'update', before, after } as ChangeEvent]);
  expect(batch.findings.map(said)).toEqual([
    'status.immutable status Quarantine critical: status was changed, and is immutable',
    'email.immutable email Quarantine critical: email was changed, and is immutable',
  ]);
  expect(Object.fromEntries(decoded)).toEqual({ status: 4, email: 1 });
});

test('where is asked first, and a row that it cannot read is unreadable', async () => {
  const { event } = counting();
  const contract = contractOf("columns: { status: [{ in_set: [paid], where: 'after.total > 100' }] }");
  const rows: Cells[] = [row, { ...row, total: '100.00' }, { ...row, total: null }, { ...row, total: 'NaN' }, { ...row, total: UNCHANGED }];
  const batch = await judged(
    contract,
    rows.map((cells) => event(cells)),
  );
  expect(batch.findings.map(({ index, message }) => `${index} ${message}`)).toEqual([
    '0 status is not in the set of 1 allowed values',
    '3 status cannot be read',
  ]);
});

test('a row that passes allocates nothing', async () => {
  const { event } = counting();
  const contract = contractOf(`
columns:
  id: [not_null, { between: { min: 1 } }, { not_in_set: [13] }]
  status: [{ in_set: [new, paid] }]
  email: [{ format: email }, { length: { max: 100 } }, { match_regex: '@example' }]
  code: [{ in_set: [EUR] }]
  items: [{ between: { min: 1, max: 100 } }, { in_set: [3, 4] }]
  total: [{ between: { min: 0, max: 1000000, strict_min: true } }, { not_in_set: [13.5] }]
  created_at: [{ between: { min: '2000-01-01' } }]
  paid: [{ in_set: [true] }]
checks:
  - { sum_equals: { column_list: [net, tax], sum_column: total } }
  - { pair_greater: { column_A: shipped_at, column_B: created_at } }`);
  const events = Array.from({ length: 2000 }, (_, i) =>
    event({ ...row, id: i + 20, code: 'EUR   ', created_at: 7, shipped_at: 2 ** 40 + i }),
  );
  const stage = qualityStage(new Map([[contract.dataset, contract]]));
  const batch = batchOf(events);
  const signal = new AbortController().signal;
  const bytesPerRow = async (runs: number) => {
    const before = process.memoryUsage().heapUsed;
    for (let run = 0; run < runs; run++) await stage.run(batch, signal);
    return (process.memoryUsage().heapUsed - before) / (runs * events.length);
  };
  // Until everything is compiled; then a run is a few objects for all of its rows.
  let least = Infinity;
  for (let attempt = 0; attempt < 20 && !(least >= 0 && least < 1); attempt++) least = Math.min(Math.abs(await bytesPerRow(50)), least);
  expect(batch.findings).toEqual([]);
  expect(least).toBeLessThan(1);
});
