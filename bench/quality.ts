/**
 * `node bench/quality.ts [--json] [--rows N] [--file-rows N]`: what ten checks cost a row, on rows as Postgres encoded them: the compiled rules, a loop
 * written by hand for just these checks, and ajv over the rows as objects (as services that validate decoded JSON do). Medians of
 * alternating runs; every side has to find the same bad rows. Then files, beside tools in Python: quality-tools.ts.
 */
import { parseArgs } from 'node:util';
import { Ajv } from 'ajv';
import addFormatsModule from 'ajv-formats';
import { Batch } from '../core/batch.ts';
import type { ChangeEvent, Column, ColumnType, Dataset, DatasetName, LaneId, Position, Version } from '../core/event.ts';
import { parseContract } from '../quality/contract.ts';
import { FORMATS } from '../quality/formats.ts';
import { qualityStage } from '../quality/stage.ts';
import { type PgRelation, PgRow } from '../wire/postgres/row.ts';
import { benchTools, toolsText } from './quality-tools.ts';
import { numericBytes } from '../wire/postgres/types-numeric.ts';
import { builtinType } from '../wire/postgres/types.ts';

const COLUMNS: readonly (readonly [string, ColumnType, string, number])[] = [
  ['id', 'integer', 'bigint', 20],
  ['customer_id', 'integer', 'bigint', 20],
  ['status', 'text', 'text', 25],
  ['currency', 'text', 'text', 25],
  ['email', 'text', 'text', 25],
  ['items', 'integer', 'integer', 23],
  ['net', 'decimal', 'numeric', 1700],
  ['tax', 'decimal', 'numeric', 1700],
  ['total', 'decimal', 'numeric', 1700],
  ['note', 'text', 'text', 25],
];
const columns = COLUMNS.map(([name, type, native]): Column => ({ name, type, native, nullable: name !== 'id' }));
const dataset: Dataset = { name: 'shop.public.orders' as DatasetName, version: 1, columns, key: [0] };
const [ID, CUSTOMER, STATUS, CURRENCY, EMAIL, ITEMS, NET, TAX, TOTAL] = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;

const RULES = `apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
columns:
  id: [not_null, { between: { min: 1 } }]
  customer_id: [not_null]
  status: [{ in_set: [new, paid, shipped, cancelled] }]
  currency: [{ match_regex: '^[A-Z]{3}$' }]
  email: [{ format: email }, { length: { max: 100 } }]
  items: [{ between: { min: 1, max: 100 } }]
  total: [{ between: { min: 0, max: 1000000, strict_min: true } }]
checks:
  - sum_equals: { column_list: [net, tax], sum_column: total }
`;

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    rows: { type: 'string', default: '20000' },
    'file-rows': { type: 'string' },
  },
});
const events = makeEvents(Number(values.rows));
const RUNS = 15;

type Side = () => number | Promise<number>;
const sides: Readonly<Record<string, Side>> = { rules: rulesSide(), 'by hand': byHand, ajv: ajvSide() };

const found: Record<string, number> = {};
const times: Record<string, number[]> = {};
for (let run = 0; run < RUNS + 3; run++) {
  for (const [name, side] of Object.entries(sides)) {
    const started = performance.now();
    found[name] = await side();
    const ns = ((performance.now() - started) * 1e6) / events.length;
    // The first runs warm the compilers up.
    if (run >= 3) (times[name] ??= []).push(ns);
  }
}
if (new Set(Object.values(found)).size !== 1) throw new Error(`the sides do not find the same rows: ${JSON.stringify(found)}`);

const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
const nsPerRow = Object.fromEntries(Object.entries(times).map(([name, list]) => [name, Math.round(median(list))]));
const [rules = 1, hand = 1, ajv = 1] = [nsPerRow['rules'], nsPerRow['by hand'], nsPerRow['ajv']];
const report = {
  checks: 10,
  rows: events.length,
  failing: found['rules'],
  nsPerRow,
  rulesToByHand: Number((rules / hand).toFixed(2)),
  ajvToRules: Number((ajv / rules).toFixed(2)),
};
const files = await benchTools(Number(values['file-rows'] ?? (values.quick ? 100_000 : 1_000_000)), (text) =>
  process.stderr.write(`${text}\n`),
);
if (values.json) process.stdout.write(`${JSON.stringify({ ...report, files })}\n`);
else {
  process.stdout.write(
    `ten checks over ${events.length} encoded rows, ${found['rules']} of which fail; ns a row, medians of ${RUNS} runs\n`,
  );
  for (const [name, ns] of Object.entries(nsPerRow)) process.stdout.write(`  ${name.padEnd(10)} ${String(ns).padStart(6)}\n`);
  process.stdout.write(toolsText(files));
}

function rulesSide(): Side {
  const parsed = parseContract(RULES, 'bench.yaml');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  const stage = qualityStage(new Map([[dataset.name, parsed.contract]]));
  const { signal } = new AbortController();
  return async () => {
    const batch = new Batch(events, { lane: 'bench' as LaneId, position: '0' as Position });
    await stage.run(batch, signal);
    return batch.verdicts.filter((verdict) => verdict > 0).length;
  };
}

/** What somebody would write for these ten checks and no others. */
function byHand(): number {
  let failing = 0;
  for (const { after } of events) {
    if (after === null) continue;
    const [id, status, currency, email] = [after.value(ID), after.value(STATUS), after.value(CURRENCY), after.value(EMAIL)];
    const [items, total] = [after.value(ITEMS), after.value(TOTAL)];
    const good =
      id !== null &&
      (id as number) >= 1 &&
      after.value(CUSTOMER) !== null &&
      (status === 'new' || status === 'paid' || status === 'shipped' || status === 'cancelled') &&
      /^[A-Z]{3}$/.test(currency as string) &&
      FORMATS.email(email as string) &&
      (email as string).length <= 100 &&
      (items as number) >= 1 &&
      (items as number) <= 100 &&
      Number(total) > 0 &&
      Number(total) <= 1_000_000 &&
      cents(after.value(NET)) + cents(after.value(TAX)) === cents(total);
    if (!good) failing++;
  }
  return failing;
}

function cents(value: unknown): number {
  return Math.round(Number(value) * 100);
}

/** The rows as objects, as JSON decoders give them, validated by ajv; the sum, which JSON Schema cannot say, is a custom keyword. */
function ajvSide(): Side {
  const ajv = new Ajv({ allErrors: true });
  (addFormatsModule as unknown as (ajv: Ajv) => Ajv)(ajv);
  ajv.addKeyword({
    keyword: 'sum',
    validate: (_: unknown, row: Readonly<Record<string, unknown>>) => cents(row['net']) + cents(row['tax']) === cents(row['total']),
  });
  const validate = ajv.compile({
    type: 'object',
    required: ['id', 'customer_id'],
    sum: true,
    properties: {
      id: { type: 'number', minimum: 1 },
      customer_id: { type: 'number' },
      status: { enum: ['new', 'paid', 'shipped', 'cancelled'] },
      currency: { type: 'string', pattern: '^[A-Z]{3}$' },
      email: { type: 'string', format: 'email', maxLength: 100 },
      items: { type: 'number', minimum: 1, maximum: 100 },
      total: { type: 'number', exclusiveMinimum: 0, maximum: 1_000_000 },
    },
  });
  return () => {
    let failing = 0;
    for (const { after } of events) {
      if (after === null) continue;
      const row: Record<string, unknown> = {};
      for (let i = 0; i < columns.length; i++) {
        const column = columns[i];
        if (column === undefined) continue;
        const value = after.value(i);
        row[column.name] = column.type === 'decimal' ? Number(value) : value;
      }
      if (!validate(row)) failing++;
    }
    return failing;
  };
}

/** Orders as COPY BINARY and pgoutput have them, one in a hundred bad in one of its cells. */
function makeEvents(count: number): ChangeEvent[] {
  const types = COLUMNS.map(([name, , , oid]) => {
    const type = builtinType(oid);
    if (type === undefined) throw new Error(`no codec for ${name}`);
    return { oid, typmod: -1, format: 'binary' as const, decode: type.decode, type };
  });
  const relation: PgRelation = { dataset, types };
  const made: ChangeEvent[] = [];
  for (let n = 1; n <= count; n++) {
    const bad = n % 100 === 0 ? Math.floor(n / 100) % 4 : -1;
    const [net, tax] = [(n % 9000) + 1, n % 19];
    const money = (amount: number) => `${amount}.${String(n % 100).padStart(2, '0')}`;
    const total = ((net * 100 + tax * 100 + 2 * (n % 100) + (bad === 3 ? 1 : 0)) / 100).toFixed(2);
    const cells = [
      int8(n),
      int8(n * 7),
      Buffer.from(bad === 0 ? 'lost' : (['new', 'paid', 'shipped'][n % 3] ?? 'new')),
      Buffer.from(bad === 1 ? 'eur' : 'EUR'),
      Buffer.from(bad === 2 ? `user${n}` : `user${n}@mail.example.org`),
      Buffer.from([0, 0, 0, (n % 50) + 1]),
      Buffer.from(numericBytes(money(net))),
      Buffer.from(numericBytes(money(tax))),
      Buffer.from(numericBytes(total)),
      Buffer.from('leave it at the door, please, and ring twice'),
    ];
    const places = new Int32Array(cells.length * 2);
    let at = 0;
    for (const [index, cell] of cells.entries()) {
      places[2 * index] = at;
      places[2 * index + 1] = cell.length;
      at += cell.length;
    }
    made.push({
      op: 'insert',
      before: null,
      after: new PgRow(relation, Buffer.concat(cells), places, 0),
      dataset,
      key: String(n),
      movedFrom: null,
      version: n.toString(16).padStart(16, '0') as Version,
      ordinal: 0,
      committedAtMs: 0,
    });
  }
  return made;
}

function int8(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
