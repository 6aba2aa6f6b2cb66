/**
 * `node bench/quality.ts [--json] [--rows N] [--file-rows N] [--only rows|windows|files]`: what ten checks cost a row, on rows as Postgres encoded them: the compiled rules, a loop
 * written by hand for just these checks, and ajv over the rows as objects (as services that validate decoded JSON do). Medians of
 * alternating runs; every side has to find the same bad rows. Then windows, state by state (quality-windows.ts), and files, beside tools in Python: quality-tools.ts.
 */
import { parseArgs } from 'node:util';
import { Ajv } from 'ajv';
import addFormatsModule from 'ajv-formats';
import { Batch } from '../core/batch.ts';
import type { LaneId, Position } from '../core/event.ts';
import { parseContract } from '../quality/contract.ts';
import { FORMATS } from '../quality/formats.ts';
import { qualityStage } from '../quality/stage.ts';
import { columns, dataset, encodedOrders } from './encoded-orders.ts';
import { benchWindows, windowsText } from './quality-windows.ts';
import { benchTools, toolsText } from './quality-tools.ts';

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
    only: { type: 'string', default: '' },
  },
});
const events = encodedOrders(Number(values.rows));
const RUNS = 15;
const PARTS = ['rows', 'windows', 'files'] as const;
if (values.only !== '' && !PARTS.some((part) => part === values.only)) throw new Error(`--only ${values.only}: write ${PARTS.join(', ')}`);
const isAsked = (part: (typeof PARTS)[number]): boolean => values.only === '' || values.only === part;
/** The first runs warm the compilers up: a service judges for longer than this. */
const WARM_RUNS = 10;

type Side = () => number | Promise<number>;
const sides: Readonly<Record<string, Side>> = { rules: rulesSide(), 'by hand': byHand, ajv: ajvSide() };

const found: Record<string, number> = {};
const times: Record<string, number[]> = {};
for (let run = 0; isAsked('rows') && run < RUNS + WARM_RUNS; run++) {
  for (const [name, side] of Object.entries(sides)) {
    const started = performance.now();
    found[name] = await side();
    const ns = ((performance.now() - started) * 1e6) / events.length;
    if (run >= WARM_RUNS) (times[name] ??= []).push(ns);
  }
}
if (new Set(Object.values(found)).size > 1) throw new Error(`the sides do not find the same rows: ${JSON.stringify(found)}`);

const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
const nsPerRow = Object.fromEntries(Object.entries(times).map(([name, list]) => [name, Math.round(median(list))]));
const { rules, 'by hand': hand, ajv } = nsPerRow;
const report =
  rules === undefined || hand === undefined || ajv === undefined
    ? {}
    : {
        checks: 10,
        rows: events.length,
        failing: found['rules'],
        nsPerRow,
        rulesToByHand: Number((rules / hand).toFixed(2)),
        ajvToRules: Number((ajv / rules).toFixed(2)),
      };
const windows = isAsked('windows') ? benchWindows(events) : null;
const fileRows = Number(values['file-rows'] ?? (values.quick ? 100_000 : 1_000_000));
const files = isAsked('files') ? await benchTools(fileRows, (text) => process.stderr.write(`${text}\n`)) : null;
if (values.json) process.stdout.write(`${JSON.stringify({ ...report, windows, files })}\n`);
else {
  if (isAsked('rows'))
    process.stdout.write(
      `ten checks over ${events.length} encoded rows, ${found['rules']} of which fail; ns a row, medians of ${RUNS} runs\n`,
    );
  for (const [name, ns] of Object.entries(nsPerRow)) process.stdout.write(`  ${name.padEnd(10)} ${String(ns).padStart(6)}\n`);
  if (windows !== null) process.stdout.write(windowsText(windows));
  if (files !== null) process.stdout.write(toolsText(files));
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
