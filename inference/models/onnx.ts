/**
 * Reads what an ONNX file says about itself, without running any of it: a bounded walk over the protobuf. Weights are skipped, not
 * read. ONNX Runtime tells neither operators nor metadata nor external data, and its parser is what we protect.
 *
 * Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
 */
import { ProtobufError, ProtobufReader } from './protobuf.ts';

export interface OnnxValue {
  readonly name: string;
  /** `float`, `double`, `int64`, `string` …; `sequence`, `map`, `optional`, `sparse` for what is no tensor. */
  readonly type: string;
  /** A number, a symbolic name, or null where the dimension is not said. Null for the whole where there is no shape. */
  readonly shape: readonly (number | string | null)[] | null;
}

export interface OnnxModel {
  readonly irVersion: number;
  /** By domain; '' is ai.onnx. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Without those that only name an initializer. */
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** How often each operator occurs, subgraphs and functions included: `ai.onnx.ml/TreeEnsembleRegressor`, `Gemm`. */
  readonly operators: Readonly<Record<string, number>>;
  readonly nodes: number;
  readonly subgraphs: number;
  /** How deep graphs lie in graphs; 1 for a model without subgraphs. */
  readonly nesting: number;
  /** Elements of all initializers and constant tensors. */
  readonly parameters: number;
  readonly treeNodes: number;
  /** Where tensors claim to be kept outside the file: the place in the graph and the location as written. */
  readonly external: readonly { readonly path: string; readonly location: string }[];
}

export interface OnnxLimits {
  readonly nodes: number;
  readonly nesting: number;
  readonly treeNodes: number;
}

/** The file is no ONNX model, or breaks a limit. `rule` is the finding's. */
export class OnnxError extends Error {
  override readonly name = 'OnnxError';
  readonly rule: 'NOT_A_MODEL' | 'GRAPH_TOO_LARGE';
  readonly path: string;

  constructor(rule: OnnxError['rule'], path: string, message: string) {
    super(message);
    this.rule = rule;
    this.path = path;
  }
}

const ELEMENT_TYPES = [
  'undefined', 'float', 'uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'string', 'bool', 'float16', 'double', 'uint32', 'uint64',
  'complex64', 'complex128', 'bfloat16',
]; // prettier-ignore

/** Walks the file. Throws `OnnxError`. */
export function readOnnx(bytes: Uint8Array, limits: OnnxLimits): OnnxModel {
  const walk = new Walk(limits);
  try {
    return walk.model(new ProtobufReader(bytes));
  } catch (error) {
    if (error instanceof ProtobufError) throw new OnnxError('NOT_A_MODEL', walk.path, `the file is no ONNX model: ${error.message}`);
    throw error;
  }
}

class Walk {
  path = 'model';
  readonly #limits: OnnxLimits;
  readonly #operators = new Map<string, number>();
  readonly #external: { path: string; location: string }[] = [];
  #nodes = 0;
  #subgraphs = 0;
  #nesting = 0;
  #parameters = 0;
  #treeNodes = 0;

  constructor(limits: OnnxLimits) {
    this.#limits = limits;
  }

  model(reader: ProtobufReader): OnnxModel {
    let irVersion = 0;
    let producer = '';
    const opsets: Record<string, number> = {};
    const metadata: Record<string, string> = {};
    let graph: Graph | null = null;
    while (reader.next()) {
      if (reader.is(1, 'varint')) irVersion = reader.number();
      else if (reader.is(2, 'bytes')) producer = reader.text();
      else if (reader.is(7, 'bytes')) {
        // A parser would merge the two; what it would then run is not what we would have looked at.
        if (graph !== null) throw new OnnxError('NOT_A_MODEL', 'graph', 'the file has more than one graph');
        graph = this.#at('graph', () => this.#graph(reader.message(), 1));
      } else if (reader.is(8, 'bytes')) {
        const { domain, version } = opset(reader.message());
        opsets[domain] = version;
      } else if (reader.is(14, 'bytes')) {
        const { key, value } = entry(reader.message());
        metadata[key] = value.slice(0, 4096);
      } else if (reader.is(20, 'bytes')) this.#at('training_info', () => this.#trainingInfo(reader.message()));
      else if (reader.is(25, 'bytes')) this.#at('function', () => this.#function(reader.message()));
    }
    if (graph === null) throw new OnnxError('NOT_A_MODEL', 'model', 'the file is no ONNX model: it has no graph');
    if (irVersion === 0) throw new OnnxError('NOT_A_MODEL', 'model', 'the file is no ONNX model: it has no IR version');
    const { inputs, outputs, initializers } = graph;
    return {
      irVersion,
      opsets,
      producer,
      metadata,
      inputs: inputs.filter(({ name }) => !initializers.has(name)),
      outputs,
      operators: Object.fromEntries([...this.#operators].sort(([a], [b]) => (a < b ? -1 : 1))),
      nodes: this.#nodes,
      subgraphs: this.#subgraphs,
      nesting: this.#nesting,
      parameters: this.#parameters,
      treeNodes: this.#treeNodes,
      external: this.#external,
    };
  }

  #graph(reader: ProtobufReader, depth: number): Graph {
    this.#nesting = Math.max(this.#nesting, depth);
    if (depth > this.#limits.nesting) {
      throw new OnnxError('GRAPH_TOO_LARGE', this.path, `graphs lie in graphs more than ${this.#limits.nesting} deep`);
    }
    const inputs: OnnxValue[] = [];
    const outputs: OnnxValue[] = [];
    const initializers = new Set<string>();
    let node = 0;
    while (reader.next()) {
      if (reader.is(1, 'bytes')) this.#at(`node[${node++}]`, () => this.#node(reader.message(), depth));
      else if (reader.is(5, 'bytes')) initializers.add(this.#at('initializer', () => this.#tensor(reader.message())));
      else if (reader.is(11, 'bytes')) inputs.push(valueInfo(reader.message()));
      else if (reader.is(12, 'bytes')) outputs.push(valueInfo(reader.message()));
      else if (reader.is(15, 'bytes')) this.#at('sparse_initializer', () => this.#sparseTensor(reader.message()));
    }
    return { inputs, outputs, initializers };
  }

  #node(reader: ProtobufReader, depth: number): void {
    if (++this.#nodes > this.#limits.nodes)
      throw new OnnxError('GRAPH_TOO_LARGE', this.path, `the graph has more than ${this.#limits.nodes} nodes`);
    let operator = '';
    let domain = '';
    while (reader.next()) {
      if (reader.is(4, 'bytes')) operator = reader.text();
      else if (reader.is(5, 'bytes')) this.#at('attribute', () => this.#attribute(reader.message(), depth));
      else if (reader.is(7, 'bytes')) domain = reader.text();
    }
    const name = domain === '' || domain === 'ai.onnx' ? operator : `${domain}/${operator}`;
    this.#operators.set(name, (this.#operators.get(name) ?? 0) + 1);
  }

  #attribute(reader: ProtobufReader, depth: number): void {
    let name = '';
    let ints = 0;
    while (reader.next()) {
      if (reader.is(1, 'bytes')) name = reader.text();
      else if (reader.is(5, 'bytes') || reader.is(10, 'bytes')) this.#at('tensor', () => this.#tensor(reader.message()));
      else if (reader.is(6, 'bytes') || reader.is(11, 'bytes')) {
        this.#subgraphs++;
        this.#at('graph', () => this.#graph(reader.message(), depth + 1));
      } else if (reader.is(8, 'varint')) ints++;
      else if (reader.is(8, 'bytes')) ints += reader.countVarints();
      else if (reader.is(22, 'bytes') || reader.is(23, 'bytes')) this.#at('sparse_tensor', () => this.#sparseTensor(reader.message()));
    }
    // Every tree ensemble lists a feature for each of its nodes; version 5 calls the list of splits so too.
    if (name !== 'nodes_featureids') return;
    this.#treeNodes += ints;
    if (this.#treeNodes > this.#limits.treeNodes) {
      throw new OnnxError('GRAPH_TOO_LARGE', this.path, `the trees have more than ${this.#limits.treeNodes} nodes`);
    }
  }

  #tensor(reader: ProtobufReader): string {
    let name = '';
    let elements = 1;
    let external = false;
    const locations: string[] = [];
    while (reader.next()) {
      if (reader.is(1, 'varint')) elements *= reader.number();
      else if (reader.is(1, 'bytes')) for (const dimension of reader.varints(64)) elements *= dimension;
      else if (reader.is(8, 'bytes')) name = reader.text();
      else if (reader.is(13, 'bytes')) {
        external = true;
        const { key, value } = entry(reader.message());
        if (key === 'location') locations.push(value);
      } else if (reader.is(14, 'varint')) external = reader.number() === 1 || external;
    }
    if (external) this.#external.push({ path: `${this.path}[${name.slice(0, 128)}]`, location: locations.join(', ').slice(0, 256) });
    this.#parameters += elements;
    return name;
  }

  #sparseTensor(reader: ProtobufReader): void {
    while (reader.next()) {
      if (reader.is(1, 'bytes') || reader.is(2, 'bytes')) this.#tensor(reader.message());
    }
  }

  #trainingInfo(reader: ProtobufReader): void {
    while (reader.next()) {
      if (reader.is(1, 'bytes') || reader.is(2, 'bytes')) this.#graph(reader.message(), 1);
    }
  }

  #function(reader: ProtobufReader): void {
    while (reader.next()) {
      if (reader.is(7, 'bytes')) this.#node(reader.message(), 1);
    }
  }

  #at<T>(step: string, work: () => T): T {
    const before = this.path;
    this.path = before === 'model' ? step : `${before}.${step}`;
    const result = work();
    this.path = before;
    return result;
  }
}

interface Graph {
  readonly inputs: OnnxValue[];
  readonly outputs: OnnxValue[];
  readonly initializers: Set<string>;
}

function opset(reader: ProtobufReader): { domain: string; version: number } {
  let domain = '';
  let version = 0;
  while (reader.next()) {
    if (reader.is(1, 'bytes')) domain = reader.text();
    else if (reader.is(2, 'varint')) version = reader.number();
  }
  return { domain: domain === 'ai.onnx' ? '' : domain, version };
}

function entry(reader: ProtobufReader): { key: string; value: string } {
  let key = '';
  let value = '';
  while (reader.next()) {
    if (reader.is(1, 'bytes')) key = reader.text();
    else if (reader.is(2, 'bytes')) value = reader.text();
  }
  return { key, value };
}

function valueInfo(reader: ProtobufReader): OnnxValue {
  let name = '';
  let type: Omit<OnnxValue, 'name'> = { type: 'undefined', shape: null };
  while (reader.next()) {
    if (reader.is(1, 'bytes')) name = reader.text();
    else if (reader.is(2, 'bytes')) type = valueType(reader.message());
  }
  return { name, ...type };
}

function valueType(reader: ProtobufReader): Omit<OnnxValue, 'name'> {
  const others = new Map([
    [4, 'sequence'],
    [5, 'map'],
    [8, 'sparse'],
    [9, 'optional'],
  ]);
  let type: Omit<OnnxValue, 'name'> = { type: 'undefined', shape: null };
  while (reader.next()) {
    if (reader.is(1, 'bytes')) type = tensorType(reader.message());
    else type = { type: others.get(reader.field) ?? type.type, shape: type.shape };
  }
  return type;
}

function tensorType(reader: ProtobufReader): Omit<OnnxValue, 'name'> {
  let type = 'undefined';
  let shape: OnnxValue['shape'] = null;
  while (reader.next()) {
    if (reader.is(1, 'varint')) type = ELEMENT_TYPES[reader.number()] ?? 'unknown';
    else if (reader.is(2, 'bytes')) shape = tensorShape(reader.message());
  }
  return { type, shape };
}

function tensorShape(reader: ProtobufReader): (number | string | null)[] {
  const shape: (number | string | null)[] = [];
  while (reader.next()) {
    if (!reader.is(1, 'bytes')) continue;
    const dimension = reader.message();
    let size: number | string | null = null;
    while (dimension.next()) {
      if (dimension.is(1, 'varint')) size = dimension.number();
      else if (dimension.is(2, 'bytes')) size = dimension.text();
    }
    if (shape.push(size) > 64) throw new ProtobufError('a tensor has more than 64 dimensions');
  }
  return shape;
}
