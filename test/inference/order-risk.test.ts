/** The model that ships: it comes out of its script again, byte for byte, and scores its golden rows in the real runtime. */
import { expect, test } from 'vitest';
import { exportBoosting, type TreeNode } from '../../examples/models/gradient-boosting.ts';
import { makeOrders, ordersDataset } from '../../examples/models/order-risk/orders.ts';
import { insertOf, trainOrderRisk } from '../../examples/models/order-risk/train.ts';
import { parseMapping } from '../../inference/mapping.ts';
import { encodeGolden } from '../../inference/models/golden.ts';
import { readOnnx } from '../../inference/models/onnx.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import { MemoryModelStore } from '../../inference/models/store.ts';
import { ScorerProcess } from '../../inference/scorer/process.ts';
import { Scorer } from '../../inference/scorer/supervisor.ts';
import { inferenceStage } from '../../inference/stage.ts';
import { batchOf, orderRiskMapping, orderRiskOnnx, useOf } from './models.ts';

test('training again gives the committed files, and a model worth having', () => {
  const { onnx, mapping, quality } = trainOrderRisk();
  expect(Buffer.compare(onnx, orderRiskOnnx())).toBe(0);
  expect(mapping).toEqual(orderRiskMapping());
  expect(onnx.length).toBeLessThan(300_000);
  expect(quality.auc).toBeGreaterThan(0.97);
  expect(quality.precisionAt80).toBeGreaterThan(0.95);
});

test('a forest of many nodes can be exported as well', () => {
  const nodes: TreeNode[] = Array.from({ length: 4095 }, (_, node) =>
    node < 2047 ? { kind: 'split', feature: 0, threshold: node, yes: 2 * node + 1, no: 2 * node + 2 } : { kind: 'leaf', weight: node },
  );
  const onnx = exportBoosting({ width: 1, base: 0, trees: Array.from({ length: 32 }, () => nodes) }, 'forest', {});
  expect(readOnnx(onnx, { nodes: 10, nesting: 1, treeNodes: 1_000_000 }).treeNodes).toBe(32 * 4095);
});

test('its golden rows, computed by the trainer, come out of ONNX Runtime within 1e-5', async () => {
  const parsed = parseMapping(orderRiskMapping(), 'order-risk.mapping.json');
  if (parsed.kind === 'refused') throw new Error(JSON.stringify(parsed.problems));
  const { matrix, rows, problems } = encodeGolden(parsed.mapping);
  expect(problems).toEqual([]);
  const input = { name: 'features', width: matrix.length / rows };
  await using child = await ScorerProcess.start({ bytes: orderRiskOnnx(), input, output: { name: 'score', index: 0 } });
  const scores = await child.run(matrix, 2000);
  expect(rows).toBe(12);
  for (const [index, { score }] of (parsed.mapping.golden ?? []).entries())
    expect(Math.abs((scores[index] ?? NaN) - score)).toBeLessThan(1e-5);
  expect(Math.max(...scores)).toBeGreaterThan(0.95);
  expect(Math.min(...scores)).toBeLessThan(0.05);
});

test('it is admitted, fits the shop’s orders, and finds the risky ones', async () => {
  const registry = await ModelRegistry.open(new MemoryModelStore());
  expect(await registry.register('order-risk', orderRiskOnnx(), orderRiskMapping())).toMatchObject({
    kind: 'registered',
    version: { version: 1 },
  });
  const routes = [{ when: 'score >= 0.95', do: 'quarantine', severity: 'critical' }] as const;
  await using scorer = new Scorer();
  await using stage = inferenceStage({ registry, scorer, uses: [useOf({ model: 'order-risk', dataset: ordersDataset.name, routes })] });
  expect(await stage.check([ordersDataset])).toEqual([]);
  const { orders, labels } = makeOrders(99, 2000);
  const batch = batchOf(...orders.map(insertOf));
  await stage.run(batch, new AbortController().signal);
  const held = batch.findings.map(({ index }) => labels[index]);
  expect(held.length).toBeGreaterThan(20);
  expect(held.filter((label) => label === 1).length / held.length).toBeGreaterThan(0.95);
});
