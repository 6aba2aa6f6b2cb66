/**
 * `node bench/scoring.ts [--json] [--rows N]`: what scoring a row by the order-risk model costs the service and its scorer process, in
 * CPU time: features read where the cells lie, and features made of decoded values. Medians of alternating runs over the same encoded orders,
 * in batches of 5,000; both sides have to give the same scores.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Batch } from '../core/batch.ts';
import type { ChangeEvent, Column, LaneId, Position } from '../core/event.ts';
import { insertOf } from '../examples/models/order-risk/train.ts';
import { makeOrders, type Order, ordersDataset } from '../examples/models/order-risk/orders.ts';
import { ModelRegistry } from '../inference/models/registry.ts';
import { MemoryModelStore } from '../inference/models/store.ts';
import { Scorer } from '../inference/scorer/supervisor.ts';
import { inferenceStage } from '../inference/stage.ts';
import { type PgRelation, PgRow } from '../wire/postgres/row.ts';
import { numericBytes } from '../wire/postgres/types-numeric.ts';
import { builtinType } from '../wire/postgres/types.ts';
import { cpuSeconds } from './cpu.ts';

const OIDS: Readonly<Partial<Record<Column['native'], number>>> = { bigint: 20, integer: 23, text: 25, 'timestamp with time zone': 1184 };
const BATCH_ROWS = 5000;
const RUNS = 9;
const { values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, rows: { type: 'string', default: '100000' } },
});
const { orders } = makeOrders(1, Number(values.rows));
const sides = { 'read where they lie': encoded(orders, true), decoded: encoded(orders, false) };

const folder = new URL('../examples/models/order-risk/', import.meta.url);
const registry = await ModelRegistry.open(new MemoryModelStore());
const mapping = JSON.parse(readFileSync(new URL('order-risk.mapping.json', folder), 'utf8')) as unknown;
const registration = await registry.register('order-risk', readFileSync(new URL('order-risk.onnx', folder)), mapping);
if (registration.kind !== 'registered') throw new Error(JSON.stringify(registration));
await using scorer = new Scorer();
const write = { score: 'risk', model: 'risk_model', at: 'risk_at' };
const use = {
  model: 'order-risk',
  dataset: ordersDataset.name,
  on: ['insert'],
  write,
  routes: [],
  failure: 'hold',
  deadlineMs: 60_000,
} as const;
await using stage = inferenceStage({ registry, scorer, uses: [use] });

const micros: Record<string, { service: number[]; scorer: number[] }> = {};
const sums: Record<string, number> = {};
for (let run = 0; run < RUNS + 2; run++) {
  for (const [side, events] of Object.entries(sides)) {
    const [ownBefore, childBefore] = [process.cpuUsage(), childSeconds()];
    sums[side] = await score(events);
    const own = process.cpuUsage(ownBefore);
    // The first runs warm the compilers up, and start the process.
    if (run < 2) continue;
    const of = (micros[side] ??= { service: [], scorer: [] });
    of.service.push((own.user + own.system) / events.length);
    of.scorer.push(((childSeconds() - childBefore) * 1e6) / events.length);
  }
}
if (new Set(Object.values(sums)).size !== 1) throw new Error(`the sides do not give the same scores: ${JSON.stringify(sums)}`);

const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
const report = Object.fromEntries(
  Object.entries(micros).map(([side, of]) => [side, { service: round2(median(of.service)), scorer: round2(median(of.scorer)) }]),
);
if (values.json) process.stdout.write(`${JSON.stringify({ rows: orders.length, cpuMicrosPerRow: report })}\n`);
else {
  process.stdout.write(
    `scoring ${orders.length} orders in batches of ${BATCH_ROWS}; CPU us a row, medians of ${RUNS} runs: service / scorer\n`,
  );
  for (const [side, of] of Object.entries(report)) process.stdout.write(`  ${side.padEnd(20)} ${of.service} / ${of.scorer}\n`);
}

async function score(events: readonly ChangeEvent[]): Promise<number> {
  const { signal } = new AbortController();
  let sum = 0;
  for (let from = 0; from < events.length; from += BATCH_ROWS) {
    const batch = new Batch(events.slice(from, from + BATCH_ROWS), { lane: 'bench' as LaneId, position: String(from) as Position });
    await stage.run(batch, signal);
    for (const value of batch.scores[0]?.values ?? []) sum += value;
  }
  return sum;
}

function childSeconds(): number {
  return scorer.status().reduce((sum, { pid }) => sum + (pid === null ? 0 : cpuSeconds(pid)), 0);
}

/** Inserts of the orders as pgoutput has them; where they are not `readable` in place, features see what `Row.value` decodes. */
function encoded(made: readonly Order[], readable: boolean): readonly ChangeEvent[] {
  const types = ordersDataset.columns.map(({ native }) => {
    const type = builtinType(OIDS[native] ?? 1700);
    if (type === undefined) throw new Error(`no codec for ${native}`);
    return { oid: type.oid, typmod: -1, format: 'binary' as const, decode: type.decode, ...(readable ? { type } : {}) };
  });
  const relation: PgRelation = { dataset: { ...ordersDataset }, types };
  return made.map((order) => {
    const places = new Int32Array(2 * types.length);
    const cells: Buffer[] = [];
    let at = 0;
    for (const [index, { name, native }] of ordersDataset.columns.entries()) {
      const value = order[name as keyof Order];
      const cell = value === null ? null : cellOf(native, value);
      places[2 * index] = at;
      places[2 * index + 1] = cell?.length ?? -1;
      if (cell !== null) cells.push(cell);
      at += cell?.length ?? 0;
    }
    const after = new PgRow(relation, Buffer.concat(cells), places, 0);
    return { ...insertOf(order), after, before: null, op: 'insert', dataset: relation.dataset };
  });
}

function cellOf(native: string, value: string | number): Buffer {
  if (native === 'text') return Buffer.from(String(value));
  if (native.startsWith('numeric')) return numericBytes(String(value));
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(typeof value === 'number' ? BigInt(value) : BigInt(Date.parse(value) - Date.UTC(2000, 0, 1)) * 1000n);
  return native === 'integer' ? bytes.subarray(4) : bytes;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}
