/**
 * Trains the order-risk model and writes `order-risk.onnx` and `order-risk.mapping.json` beside this file. The same every time:
 *
 *     node examples/models/order-risk/train.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { ChangeEvent, Version } from '../../../core/event.ts';
import { compileFeatures, ENCODED } from '../../../inference/features.ts';
import type { GoldenRow, Mapping } from '../../../inference/mapping-schema.ts';
import { parseMapping } from '../../../inference/mapping.ts';
import { type Ensemble, exportBoosting, predict, trainBoosting } from '../gradient-boosting.ts';
import { makeOrders, type Order, orderRow, ordersDataset } from './orders.ts';

const SEED = 20_261_124;
const TRAINING_ROWS = 12_000;
const TEST_ROWS = 4000;
const GOLDEN_ROWS = 12;

export interface Trained {
  readonly onnx: Uint8Array;
  /** `features.json` with golden rows. */
  readonly mapping: Mapping;
  /** On orders that it was not trained on. */
  readonly quality: { readonly auc: number; readonly recallAt80: number; readonly precisionAt80: number };
}

/** Everything but writing the files. */
export function trainOrderRisk(): Trained {
  const parsed = parseMapping(JSON.parse(readFileSync(new URL('features.json', import.meta.url), 'utf8')), 'features.json');
  if (parsed.kind === 'refused') throw new Error(JSON.stringify(parsed.problems, null, 2));
  const { mapping } = parsed;
  const training = makeOrders(SEED, TRAINING_ROWS);
  const { matrix, width } = encode(mapping, training.orders);
  const options = { trees: 60, depth: 4, learningRate: 0.2, bins: 64, leafRowsMin: 20, lambda: 1 };
  const ensemble = trainBoosting({ matrix, width, labels: training.labels }, options);
  const names = mapping.features.map(({ name }) => name).join(',');
  return {
    onnx: exportBoosting(ensemble, 'order-risk', { feature_names: names, trained_on: `${TRAINING_ROWS} made-up orders, seed ${SEED}` }),
    mapping: { ...mapping, golden: goldenRows(mapping, ensemble) },
    quality: measure(mapping, ensemble),
  };
}

/** The orders through the very code that encodes them in a pipeline: training and serving can't differ. */
function encode(mapping: Mapping, orders: readonly Order[]): { matrix: Float32Array; width: number } {
  const features = compileFeatures(mapping, ordersDataset);
  if (features.kind === 'refused') throw new Error(JSON.stringify(features.problems, null, 2));
  const matrix = new Float32Array(orders.length * features.width);
  for (const [index, order] of orders.entries()) {
    const rejected = features.encode(insertOf(order), matrix, index * features.width);
    if (rejected !== ENCODED) throw new Error(`order ${index} is rejected by ${mapping.features[rejected]?.name ?? ''}`);
  }
  return { matrix, width: features.width };
}

export function insertOf(order: Order): ChangeEvent {
  const key = String(order.id);
  const version = '0000000000000001' as Version;
  return {
    op: 'insert',
    before: null,
    after: orderRow(order),
    dataset: ordersDataset,
    key,
    movedFrom: null,
    version,
    ordinal: 0,
    committedAtMs: 0,
  };
}

function goldenRows(mapping: Mapping, ensemble: Ensemble): GoldenRow[] {
  const { orders, labels } = makeOrders(SEED + 2, 400);
  const risky = orders.filter((_, index) => labels[index] === 1).slice(0, GOLDEN_ROWS / 2);
  const honest = orders.filter((_, index) => labels[index] === 0).slice(0, GOLDEN_ROWS / 2);
  return [...risky, ...honest].map((order) => {
    const { matrix } = encode(mapping, [order]);
    const row = Object.fromEntries(Object.keys(mapping.columns).map((name) => [name, order[name as keyof Order]]));
    return { row, score: Math.fround(predict(ensemble, matrix, 0)) };
  });
}

function measure(mapping: Mapping, ensemble: Ensemble): Trained['quality'] {
  const { orders, labels } = makeOrders(SEED + 1, TEST_ROWS);
  const { matrix, width } = encode(mapping, orders);
  const scored = orders.map((_, index) => ({ score: predict(ensemble, matrix, index * width), risky: labels[index] === 1 }));
  const flagged = scored.filter(({ score }) => score >= 0.8);
  const positives = scored.filter(({ risky }) => risky).length;
  const hits = flagged.filter(({ risky }) => risky).length;
  // The area under the curve is the chance that a risky order scores above an honest one.
  const ranked = scored.toSorted((a, b) => a.score - b.score);
  const rankSum = ranked.reduce((sum, { risky }, rank) => sum + (risky ? rank + 1 : 0), 0);
  const auc = (rankSum - (positives * (positives + 1)) / 2) / (positives * (scored.length - positives));
  return { auc, recallAt80: hits / positives, precisionAt80: hits / flagged.length };
}

if (import.meta.main) {
  const { onnx, mapping, quality } = trainOrderRisk();
  writeFileSync(new URL('order-risk.onnx', import.meta.url), onnx);
  writeFileSync(new URL('order-risk.mapping.json', import.meta.url), `${JSON.stringify(mapping, null, 2)}\n`);
  console.log(`order-risk.onnx: ${onnx.length} bytes`, quality);
}
