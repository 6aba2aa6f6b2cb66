/** Real uploads, real children: what admission lets in and what it says of the rest. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ElementType, tensorValue } from '../../examples/models/onnx-writer.ts';
import type { Mapping } from '../../inference/mapping-schema.ts';
import { type AdmissionOptions, admitModel } from '../../inference/models/admission.ts';
import { readOnnx } from '../../inference/models/onnx.ts';
import { endlessModel, externalModel, linearModel, modelOf, orderRiskOnnx, plainMapping, zipMapModel } from './models.ts';

const limits = { nodes: 20_000, nesting: 8, treeNodes: 5_000_000 };
const add = { op: 'Add', inputs: ['features', 'features'], outputs: ['score'] };

async function errorsOf(bytes: Uint8Array, mapping: Mapping = plainMapping, options: AdmissionOptions = {}): Promise<string[]> {
  const admission = await admitModel(bytes, mapping, options);
  if (admission.kind === 'admitted') return [];
  return admission.findings.filter(({ severity }) => severity === 'error').map(({ rule, path }) => `${rule} at ${path}`);
}

test('a good model is admitted with a report of what it is and costs', async () => {
  const admission = await admitModel(linearModel([1, 2]), { ...plainMapping, golden: [{ row: { a: 1, b: 3 }, score: 7 }] });
  if (admission.kind === 'rejected') throw new Error(JSON.stringify(admission.findings));
  const { costs, loadMs, rssBytes, ...report } = admission.report;
  expect(report).toMatchObject({
    input: { name: 'features', width: 2 },
    output: { name: 'score', index: -1 },
    operators: { MatMul: 1 },
    nodes: 1,
    parameters: 2,
    goldenRows: 1,
    scoresNaN: false,
    findings: [],
  });
  expect(costs.map(({ rows }) => rows)).toEqual([1, 64, 256]);
  expect(Math.min(loadMs, rssBytes, ...costs.map(({ microsPerRow }) => microsPerRow))).toBeGreaterThan(0);
});

const noModels: Readonly<Record<string, () => Uint8Array>> = {
  'no bytes at all': () => new Uint8Array(0),
  'a text': () => new TextEncoder().encode('{"not": "a model"}'),
  'random bytes': () => Uint8Array.from({ length: 5000 }, (_, index) => (index * 7919) % 251),
  'half a model': () => linearModel([1, 2]).subarray(0, 60),
  'a model without a graph': () => new Uint8Array([0x08, 0x08]),
};
test.each(Object.keys(noModels))('%s is not a model, and no child is started for it', async (name) => {
  expect(await errorsOf(noModels[name]?.() ?? new Uint8Array(0), plainMapping, { loadTimeoutMs: 0 })).toEqual([
    expect.stringMatching(/^NOT_A_MODEL at /),
  ]);
});

test.each(['/etc/passwd', '../../secret', 'package.json'])('a tensor kept in %s is refused', async (location) => {
  expect(await errorsOf(externalModel(location))).toEqual(['EXTERNAL_DATA at graph.initializer[weights]']);
});

test('a model that may loop without an end is refused', async () => {
  expect(await errorsOf(endlessModel())).toEqual(['CONTROL_FLOW_NOT_ALLOWED at graph.Loop']);
});

test('operators of a foreign domain are refused, and allowed where the options name it', async () => {
  const bytes = modelOf([{ ...add, domain: 'com.example' }]);
  expect(await errorsOf(bytes)).toEqual(['DOMAIN_NOT_ALLOWED at graph.Add']);
  // Allowed, it gets as far as the runtime, which has no such operator.
  expect(await errorsOf(bytes, plainMapping, { domains: ['com.example'] })).toEqual(['LOAD_FAILED at model']);
});

test('a file, a graph, trees or a nesting that are too large are refused before they are loaded', async () => {
  expect(await errorsOf(linearModel([1, 2]), plainMapping, { modelBytesMax: 100 })).toEqual(['TOO_LARGE at model']);
  const nodes = Array.from({ length: 50 }, (_, index) => ({
    op: 'Abs',
    inputs: [index === 0 ? 'features' : `x${index}`],
    outputs: [index === 49 ? 'score' : `x${index + 1}`],
  }));
  expect(await errorsOf(modelOf(nodes), plainMapping, { nodesMax: 49 })).toEqual(['GRAPH_TOO_LARGE at graph.node[49]']);
  expect(await errorsOf(orderRiskOnnx(), plainMapping, { treeNodesMax: 1000 })).toEqual(['GRAPH_TOO_LARGE at graph.node[0].attribute']);
  expect(await errorsOf(endlessModel(), plainMapping, { nestingMax: 1 })).toEqual(['GRAPH_TOO_LARGE at graph.node[4].attribute.graph']);
});

test('wrong inputs and outputs are named', async () => {
  const wide = linearModel([1, 2, 3]);
  expect(await errorsOf(wide)).toEqual(['INPUT_MISMATCH at graph.input[features]']);
  expect(await errorsOf(linearModel([1, 2]), { ...plainMapping, input: 'x' })).toEqual(['INPUT_MISMATCH at mapping: input']);
  expect(await errorsOf(linearModel([1, 2]), { ...plainMapping, output: { tensor: 'y' } })).toEqual([
    'OUTPUT_MISMATCH at mapping: output.tensor',
  ]);
  expect(await errorsOf(linearModel([1, 2]), { ...plainMapping, output: { index: 1 } })).toEqual([
    'OUTPUT_MISMATCH at graph.output[score]',
  ]);
  const twoInputs = modelOf([{ op: 'Add', inputs: ['features', 'more'], outputs: ['score'] }], {
    inputs: ['features', 'more'].map((name) => tensorValue(name, ElementType.float, ['rows', 2])),
  });
  expect(await errorsOf(twoInputs)).toEqual(['INPUT_MISMATCH at graph.input']);
  const texts = modelOf([{ op: 'Identity', inputs: ['features'], outputs: ['score'] }], {
    inputs: [tensorValue('features', ElementType.string, ['rows', 2])],
  });
  expect(await errorsOf(texts)).toEqual(['INPUT_MISMATCH at graph.input[features]']);
});

test('a model that the runtime refuses is refused with its words', async () => {
  expect(await errorsOf(modelOf([{ ...add, op: 'NoSuchOperator' }]))).toEqual(['LOAD_FAILED at model']);
  // The width is not in the file, so only a run can tell.
  const unsaid = modelOf([{ op: 'MatMul', inputs: ['features', 'features'], outputs: ['score'] }], { width: 'n' });
  expect(await errorsOf(unsaid)).toEqual(['RUN_FAILED at model']);
});

test('a model that loads or runs too slowly is given up on', async () => {
  expect(await errorsOf(linearModel([1, 2]), plainMapping, { loadTimeoutMs: 5 })).toEqual(['LOAD_TIMEOUT at model']);
});

test('a golden row that comes out otherwise keeps the model out', async () => {
  const mapping: Mapping = {
    ...plainMapping,
    golden: [
      { row: { a: 1, b: 1 }, score: 3 },
      { row: { a: 1, b: 1 }, score: 3.1 },
      { row: { a: 1, b: 1 }, score: 3.1, tolerance: 0.2 },
    ],
  };
  expect(await errorsOf(linearModel([1, 2]), mapping)).toEqual(['GOLDEN_MISMATCH at mapping: golden[1].score']);
});

test('a golden row that a feature rejects, and an expression that does not compile, are findings about the mapping', async () => {
  expect(await errorsOf(linearModel([1, 2]), { ...plainMapping, golden: [{ row: { b: 1 }, score: 3 }] })).toEqual([
    'MAPPING at mapping: golden[0].row',
  ]);
  const mapping: Mapping = {
    ...plainMapping,
    features: [
      plainMapping.features[0] ?? { name: 'c', type: 'const', value: 1 },
      { name: 'sum', type: 'expr', expr: 'after.a + after.nothing' },
    ],
  };
  expect(await errorsOf(linearModel([1, 2]), mapping)).toEqual([expect.stringMatching(/^MAPPING at mapping: features\[1\]\.expr/)]);
});

test('a model whose rows depend on each other, or on chance, is refused', async () => {
  const softmax = modelOf([
    { op: 'Softmax', inputs: ['features'], outputs: ['soft'], attributes: { axis: { kind: 'int', value: 0 } } },
    { op: 'ReduceSum', inputs: ['soft'], outputs: ['score'], attributes: { keepdims: { kind: 'int', value: 1 } } },
  ]);
  expect(await errorsOf(softmax)).not.toEqual([]);
  const random = modelOf(
    [
      { op: 'RandomUniformLike', inputs: ['features'], outputs: ['noise'] },
      { op: 'Add', inputs: ['features', 'noise'], outputs: ['score'] },
    ],
    { outputs: [tensorValue('score', ElementType.float, ['rows', 2])] },
  );
  expect(await errorsOf(random)).toContain('NOT_DETERMINISTIC at graph');
});

test('a model of one row at a time is admitted with a warning', async () => {
  const admission = await admitModel(linearModel([1, 2], 1), plainMapping);
  if (admission.kind === 'rejected') throw new Error(JSON.stringify(admission.findings));
  expect(admission.report.batchRowsMax).toBe(1);
  expect(admission.report.findings.map(({ rule }) => rule)).toEqual(['FIXED_BATCH']);
});

test('a ZipMap is taken off, and the probabilities behind it are served', async () => {
  const uploaded = zipMapModel([1, 2]);
  const probability = 1 / (1 + Math.exp(-3));
  const admission = await admitModel(uploaded, { ...plainMapping, golden: [{ row: { a: 1, b: 1 }, score: probability }] });
  if (admission.kind === 'rejected') throw new Error(JSON.stringify(admission.findings));
  expect(admission.report.output).toEqual({ name: 'probabilities', index: -1 });
  expect(admission.report.findings.map(({ rule }) => rule)).toEqual(expect.arrayContaining(['ZIPMAP_STRIPPED']));
  expect(readOnnx(admission.bytes, limits).operators).toEqual({ 'ai.onnx.ml/LinearClassifier': 1, Cast: 1 });
});

test('no cut or flipped byte of a model makes the walk throw anything but its own error', () => {
  const model = endlessModel();
  const outcomes = new Set<string>();
  for (let at = 0; at < model.length; at++) {
    const flipped = model.slice();
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    for (const bytes of [model.subarray(0, at), flipped]) {
      try {
        readOnnx(bytes, limits);
        outcomes.add('read');
      } catch (error) {
        outcomes.add(error instanceof Error ? error.name : 'something else');
      }
    }
  }
  expect([...outcomes].sort()).toEqual(['OnnxError', 'read']);
});

test('the limits of the walk hold for a file that is not a model at all', () => {
  expect(() => readOnnx(readFileSync(process.execPath).subarray(0, 1_000_000), limits)).toThrow('no ONNX model');
});
