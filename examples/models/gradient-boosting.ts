/**
 * Gradient-boosted trees for a yes-or-no label, trained on a float32 matrix: Friedman's boosting with logistic loss and Newton
 * leaves, splits found on histograms of quantile bins (as LightGBM and XGBoost's `hist` do). Small, and the same every time.
 */
import { type Bytes, ElementType, tensorValue, writeModel } from './onnx-writer.ts';

export interface TrainingSet {
  /** Rows × width, row-major. */
  readonly matrix: Float32Array;
  readonly width: number;
  /** 0 or 1, one a row. */
  readonly labels: Uint8Array;
}

export interface BoostingOptions {
  readonly trees: number;
  readonly depth: number;
  readonly learningRate: number;
  readonly bins: number;
  /** Rows that a leaf has at least. */
  readonly leafRowsMin: number;
  /** L2 penalty on leaf weights. */
  readonly lambda: number;
}

/** A split sends rows with `matrix[feature] <= threshold` to `yes`. Children come after their parent; node 0 is the root. */
export type TreeNode =
  | { readonly kind: 'split'; readonly feature: number; readonly threshold: number; readonly yes: number; readonly no: number }
  | { readonly kind: 'leaf'; readonly weight: number };

export interface Ensemble {
  readonly width: number;
  /** The log-odds that the trees' weights are added to. */
  readonly base: number;
  readonly trees: readonly (readonly TreeNode[])[];
}

export function trainBoosting(set: TrainingSet, options: BoostingOptions): Ensemble {
  const rows = set.labels.length;
  const positives = set.labels.reduce((sum, label) => sum + label, 0);
  const base = Math.fround(Math.log(positives / (rows - positives)));
  const binned = bin(set, options.bins);
  const margins = new Float64Array(rows).fill(base);
  const gradients = new Float64Array(rows);
  const hessians = new Float64Array(rows);
  const trees: TreeNode[][] = [];
  for (let tree = 0; tree < options.trees; tree++) {
    for (let row = 0; row < rows; row++) {
      const probability = sigmoid(margins[row] ?? 0);
      gradients[row] = probability - (set.labels[row] ?? 0);
      hessians[row] = probability * (1 - probability);
    }
    trees.push(growTree(binned, gradients, hessians, margins, options));
  }
  return { width: set.width, base, trees };
}

/** The probability for the row that begins at `at`. */
export function predict(ensemble: Ensemble, matrix: Float32Array, at: number): number {
  let margin = ensemble.base;
  for (const tree of ensemble.trees) {
    let node = tree[0];
    while (node?.kind === 'split') node = tree[(matrix[at + node.feature] ?? NaN) <= node.threshold ? node.yes : node.no];
    margin += node?.weight ?? 0;
  }
  return sigmoid(margin);
}

/** The ensemble as an ONNX model: `features` [rows, width] to `score` [rows, 1]. */
export function exportBoosting(ensemble: Ensemble, name: string, metadata: Readonly<Record<string, string>>): Bytes {
  const nodes = ensemble.trees.flatMap((tree, treeId) => tree.map((node, nodeId) => ({ treeId, nodeId, node })));
  const leaves = nodes.flatMap(({ treeId, nodeId, node }) => (node.kind === 'leaf' ? [{ treeId, nodeId, weight: node.weight }] : []));
  const ints = (value: readonly number[]) => ({ kind: 'ints', value }) as const;
  const floats = (value: readonly number[]) => ({ kind: 'floats', value }) as const;
  const attributes = {
    n_targets: { kind: 'int', value: 1 },
    base_values: floats([ensemble.base]),
    nodes_treeids: ints(nodes.map(({ treeId }) => treeId)),
    nodes_nodeids: ints(nodes.map(({ nodeId }) => nodeId)),
    nodes_featureids: ints(nodes.map(({ node }) => (node.kind === 'split' ? node.feature : 0))),
    nodes_values: floats(nodes.map(({ node }) => (node.kind === 'split' ? node.threshold : 0))),
    nodes_modes: { kind: 'strings', value: nodes.map(({ node }) => (node.kind === 'split' ? 'BRANCH_LEQ' : 'LEAF')) },
    nodes_truenodeids: ints(nodes.map(({ node }) => (node.kind === 'split' ? node.yes : 0))),
    nodes_falsenodeids: ints(nodes.map(({ node }) => (node.kind === 'split' ? node.no : 0))),
    target_treeids: ints(leaves.map(({ treeId }) => treeId)),
    target_nodeids: ints(leaves.map(({ nodeId }) => nodeId)),
    target_ids: ints(leaves.map(() => 0)),
    target_weights: floats(leaves.map(({ weight }) => weight)),
    post_transform: { kind: 'string', value: 'NONE' },
    aggregate_function: { kind: 'string', value: 'SUM' },
  } as const;
  return writeModel({
    metadata,
    graph: {
      name,
      inputs: [tensorValue('features', ElementType.float, ['rows', ensemble.width])],
      outputs: [tensorValue('score', ElementType.float, ['rows', 1])],
      nodes: [
        { op: 'TreeEnsembleRegressor', domain: 'ai.onnx.ml', inputs: ['features'], outputs: ['margin'], attributes },
        { op: 'Sigmoid', inputs: ['margin'], outputs: ['score'] },
      ],
    },
  });
}

interface Binned {
  readonly rows: number;
  readonly width: number;
  /** Each cell's bin, column-major: a split looks at one column. */
  readonly bins: Uint8Array;
  /** By column: the greatest value of each bin but the last. */
  readonly thresholds: readonly (readonly number[])[];
}

/** Quantile bins, with thresholds half-way between the values on either side. */
function bin({ matrix, width, labels }: TrainingSet, count: number): Binned {
  const rows = labels.length;
  const bins = new Uint8Array(rows * width);
  const thresholds: number[][] = [];
  for (let column = 0; column < width; column++) {
    const values = Float32Array.from({ length: rows }, (_, row) => matrix[row * width + column] ?? 0).sort();
    const edges: number[] = [];
    for (let quantile = 1; quantile < count; quantile++) {
      const at = Math.floor((quantile * rows) / count);
      const low = values[at - 1] ?? 0;
      const high = values.subarray(at).find((value) => value > low);
      if (high === undefined) break;
      const edge = Math.fround((low + high) / 2);
      if (edge < high && edge !== edges.at(-1)) edges.push(edge);
    }
    thresholds.push(edges);
    for (let row = 0; row < rows; row++) {
      const value = matrix[row * width + column] ?? 0;
      const place = edges.findIndex((edge) => value <= edge);
      bins[column * rows + row] = place < 0 ? edges.length : place;
    }
  }
  return { rows, width, bins, thresholds };
}

/** Grows a tree depth first, and adds its weights to `margins`. */
function growTree(
  binned: Binned,
  gradients: Float64Array,
  hessians: Float64Array,
  margins: Float64Array,
  options: BoostingOptions,
): TreeNode[] {
  const nodes: TreeNode[] = [];
  const grow = (members: Int32Array, depth: number): number => {
    const id = nodes.length;
    const split = depth < options.depth ? bestSplit(binned, members, gradients, hessians, options) : null;
    if (split === null) {
      const weight = Math.fround(options.learningRate * leafWeight(members, gradients, hessians, options.lambda));
      nodes.push({ kind: 'leaf', weight });
      for (const row of members) margins[row] = (margins[row] ?? 0) + weight;
      return id;
    }
    nodes.push({ kind: 'leaf', weight: 0 }); // Keeps the place; the children's ids are not known yet.
    const { column, place } = split;
    const isYes = (row: number) => (binned.bins[column * binned.rows + row] ?? 0) <= place;
    const yes = grow(members.filter(isYes), depth + 1);
    const no = grow(
      members.filter((row) => !isYes(row)),
      depth + 1,
    );
    nodes[id] = { kind: 'split', feature: column, threshold: binned.thresholds[column]?.[place] ?? 0, yes, no };
    return id;
  };
  grow(
    Int32Array.from({ length: binned.rows }, (_, row) => row),
    0,
  );
  return nodes;
}

/** The split that gains most (XGBoost's formula); the first of equals. Null where none gains. */
function bestSplit(
  binned: Binned,
  members: Int32Array,
  gradients: Float64Array,
  hessians: Float64Array,
  { lambda, leafRowsMin, bins }: BoostingOptions,
): { column: number; place: number } | null {
  let best: { column: number; place: number } | null = null;
  let bestGain = 1e-6;
  const sumGradient = new Float64Array(bins);
  const sumHessian = new Float64Array(bins);
  const counts = new Int32Array(bins);
  for (let column = 0; column < binned.width; column++) {
    const edges = binned.thresholds[column]?.length ?? 0;
    if (edges === 0) continue;
    sumGradient.fill(0);
    sumHessian.fill(0);
    counts.fill(0);
    for (const row of members) {
      const place = binned.bins[column * binned.rows + row] ?? 0;
      sumGradient[place] = (sumGradient[place] ?? 0) + (gradients[row] ?? 0);
      sumHessian[place] = (sumHessian[place] ?? 0) + (hessians[row] ?? 0);
      counts[place] = (counts[place] ?? 0) + 1;
    }
    const gradient = sumGradient.reduce((sum, value) => sum + value, 0);
    const hessian = sumHessian.reduce((sum, value) => sum + value, 0);
    const unsplit = gradient ** 2 / (hessian + lambda);
    let left = 0;
    let leftHessian = 0;
    let leftRows = 0;
    for (let place = 0; place < edges; place++) {
      left += sumGradient[place] ?? 0;
      leftHessian += sumHessian[place] ?? 0;
      leftRows += counts[place] ?? 0;
      if (leftRows < leafRowsMin || members.length - leftRows < leafRowsMin) continue;
      const gain = left ** 2 / (leftHessian + lambda) + (gradient - left) ** 2 / (hessian - leftHessian + lambda) - unsplit;
      if (gain <= bestGain) continue;
      bestGain = gain;
      best = { column, place };
    }
  }
  return best;
}

function leafWeight(members: Int32Array, gradients: Float64Array, hessians: Float64Array, lambda: number): number {
  let gradient = 0;
  let hessian = 0;
  for (const row of members) {
    gradient += gradients[row] ?? 0;
    hessian += hessians[row] ?? 0;
  }
  return -gradient / (hessian + lambda);
}

function sigmoid(margin: number): number {
  return 1 / (1 + Math.exp(-margin));
}
