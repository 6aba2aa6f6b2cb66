/** Small models for the tests, good and bad, and registries and events around them. */
import { readFileSync } from 'node:fs';
import { Batch, type ScoreColumns } from '../../core/batch.ts';
import {
  type ChangeEvent,
  type Checkpoint,
  type Dataset,
  type DatasetName,
  type LaneId,
  type Position,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import {
  type Attribute,
  type Bytes,
  ElementType,
  externalTensor,
  mapsValue,
  type NodeSpec,
  tensor,
  tensorValue,
  writeGraph,
  writeModel,
} from '../../examples/models/onnx-writer.ts';
import type { Mapping } from '../../inference/mapping-schema.ts';
import type { AdmissionReport } from '../../inference/models/admission.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import { MemoryModelStore, type ModelStore } from '../../inference/models/store.ts';
import type { ModelUse } from '../../inference/stage.ts';

const features = (width: number | string = 2, rows: number | string = 'rows') => tensorValue('features', ElementType.float, [rows, width]);
const score = (columns: number | string = 1) => tensorValue('score', ElementType.float, ['rows', columns]);
const int = (value: number): Attribute => ({ kind: 'int', value });

/** score = sum of features · weights */
export function linearModel(weights: readonly number[], rows: number | string = 'rows'): Bytes {
  return writeModel({
    graph: {
      name: 'linear',
      inputs: [features(weights.length, rows)],
      outputs: [score()],
      initializers: [tensor('weights', ElementType.float, [weights.length, 1], weights)],
      nodes: [{ op: 'MatMul', inputs: ['features', 'weights'], outputs: ['score'] }],
    },
  });
}

/** The score is the first of two features; where the sum of a batch's second features is above 0, it never comes. */
export function endlessModel(): Bytes {
  const zero = tensor('zero', ElementType.float, [], [0]);
  const body = writeGraph({
    name: 'body',
    inputs: [
      tensorValue('iteration', ElementType.int64, []),
      tensorValue('goes_on', ElementType.bool, []),
      tensorValue('sum_in', ElementType.float, []),
    ],
    outputs: [tensorValue('goes_on_out', ElementType.bool, []), tensorValue('sum_out', ElementType.float, [])],
    nodes: [
      { op: 'Identity', inputs: ['sum_in'], outputs: ['sum_out'] },
      { op: 'Greater', inputs: ['sum_in', 'zero'], outputs: ['goes_on_out'] },
    ],
  });
  return writeModel({
    graph: {
      name: 'endless',
      inputs: [features(2)],
      outputs: [score()],
      initializers: [
        zero,
        tensor('first', ElementType.float, [2, 1], [1, 0]),
        tensor('second', ElementType.float, [2, 1], [0, 1]),
        tensor('axes', ElementType.int64, [2], [0, 1]),
      ],
      nodes: [
        { op: 'MatMul', inputs: ['features', 'first'], outputs: ['wanted'] },
        { op: 'MatMul', inputs: ['features', 'second'], outputs: ['poison'] },
        { op: 'ReduceSum', inputs: ['poison', 'axes'], outputs: ['sum'], attributes: { keepdims: int(0) } },
        { op: 'Greater', inputs: ['sum', 'zero'], outputs: ['poisoned'] },
        { op: 'Loop', inputs: ['', 'poisoned', 'sum'], outputs: ['sum_after'], attributes: { body: { kind: 'graph', value: body } } },
        { op: 'Sub', inputs: ['sum_after', 'sum'], outputs: ['nothing'] },
        { op: 'Add', inputs: ['wanted', 'nothing'], outputs: ['score'] },
      ],
    },
  });
}

/** One weight of the model claims to be in a file. */
export function externalModel(location: string): Bytes {
  return writeModel({
    graph: {
      name: 'external',
      inputs: [features()],
      outputs: [score()],
      initializers: [externalTensor('weights', [2, 1], location)],
      nodes: [{ op: 'MatMul', inputs: ['features', 'weights'], outputs: ['score'] }],
    },
  });
}

/** A logistic regression as scikit-learn's converter writes it: a label, and probabilities behind a ZipMap. */
export function zipMapModel(weights: readonly number[]): Bytes {
  const floats = (value: readonly number[]): Attribute => ({ kind: 'floats', value });
  return writeModel({
    graph: {
      name: 'zipmap',
      inputs: [features(weights.length)],
      outputs: [tensorValue('output_label', ElementType.int64, ['rows']), mapsValue('output_probability')],
      nodes: [
        {
          op: 'LinearClassifier',
          domain: 'ai.onnx.ml',
          inputs: ['features'],
          outputs: ['label', 'probabilities'],
          attributes: {
            coefficients: floats([...weights.map((weight) => -weight), ...weights]),
            intercepts: floats([0, 0]),
            classlabels_ints: { kind: 'ints', value: [0, 1] },
            post_transform: { kind: 'string', value: 'LOGISTIC' },
          },
        },
        { op: 'Cast', inputs: ['label'], outputs: ['output_label'], attributes: { to: int(ElementType.int64) } },
        {
          op: 'ZipMap',
          domain: 'ai.onnx.ml',
          inputs: ['probabilities'],
          outputs: ['output_probability'],
          attributes: { classlabels_int64s: { kind: 'ints', value: [0, 1] } },
        },
      ],
    },
  });
}

/** `features` through the nodes to `score`. */
export function modelOf(
  nodes: readonly NodeSpec[],
  options: { width?: number | string; inputs?: readonly Bytes[]; outputs?: readonly Bytes[] } = {},
): Bytes {
  return writeModel({
    opsets: { '': 17, 'ai.onnx.ml': 3, 'com.example': 1 },
    graph: { name: 'graph', inputs: options.inputs ?? [features(options.width)], outputs: options.outputs ?? [score()], nodes },
  });
}

/** Two number features, `a` and `b`. */
export const plainMapping: Mapping = {
  apiVersion: 'inference/v1',
  columns: { a: 'float', b: 'float' },
  features: [
    { name: 'a', type: 'number', from: 'a' },
    { name: 'b', type: 'number', from: 'b', null: 'default' },
  ],
};

export const plainDataset: Dataset = {
  name: 'test.public.plain' as DatasetName,
  version: 1,
  key: [0],
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'a', type: 'float', native: 'double precision', nullable: true },
    { name: 'b', type: 'float', native: 'double precision', nullable: true },
  ],
};

export function plainInsert(id: number, a: Value, b: Value = 0): ChangeEvent {
  return insertInto(plainDataset, id, a, b);
}

export function insertInto(dataset: Dataset, ...values: readonly Value[]): ChangeEvent {
  const version = '0000000000000001' as Version;
  const key = String(values[0]);
  return {
    op: 'insert',
    before: null,
    after: new ValueRow(...values),
    dataset,
    key,
    movedFrom: null,
    version,
    ordinal: 0,
    committedAtMs: 0,
  };
}

export function batchOf(...events: readonly ChangeEvent[]): Batch {
  const checkpoint: Checkpoint = { lane: 'test/slot' as LaneId, position: '0000000000000001' as Position };
  return new Batch(events, checkpoint);
}

const noColumns: ScoreColumns = { score: null, model: null, at: null };

export function useOf(use: Partial<ModelUse> = {}): ModelUse {
  return {
    model: 'plain',
    dataset: plainDataset.name,
    on: ['insert', 'update', 'read'],
    write: noColumns,
    routes: [],
    failure: 'fail_open',
    deadlineMs: 5000,
    ...use,
  };
}

/** A registry that holds these versions of one model without having admitted them. */
export async function registryOf(
  model: string,
  ...versions: readonly { bytes: Uint8Array; mapping?: Mapping; width?: number }[]
): Promise<ModelRegistry> {
  const store: ModelStore = new MemoryModelStore();
  for (const [index, { bytes, mapping = plainMapping, width = 2 }] of versions.entries()) {
    const version = index + 1;
    await store.add(
      { model, version, digest: `${version}`, sha256: `${version}`, mapping, report: reportOf(width), registeredAtMs: 0 },
      bytes,
    );
  }
  await store.setAlias({ model, alias: 'production', version: versions.length });
  return ModelRegistry.open(store);
}

function reportOf(width: number): AdmissionReport {
  return {
    bytes: 0, irVersion: 8, opsets: {}, producer: '', metadata: {}, inputs: [], outputs: [], operators: {}, nodes: 0, parameters: 0, treeNodes: 0,
    input: { name: 'features', width }, output: { name: 'score', index: 0 }, batchRowsMax: Number.MAX_SAFE_INTEGER,
    loadMs: 1, rssBytes: 1, costs: [{ rows: 256, microsPerRow: 1 }], goldenRows: 0, scoresNaN: true, findings: [],
  }; // prettier-ignore
}

const folder = new URL('../../examples/models/order-risk/', import.meta.url);
export const orderRiskOnnx = (): Uint8Array => new Uint8Array(readFileSync(new URL('order-risk.onnx', folder)));
export const orderRiskMapping = (): unknown => JSON.parse(readFileSync(new URL('order-risk.mapping.json', folder), 'utf8'));
