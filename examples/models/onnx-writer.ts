/**
 * Writes ONNX files by hand: just enough protobuf for small models, in a fixed order, so that the same model is the same bytes.
 * Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
 */

export type Bytes = Uint8Array<ArrayBuffer>;

export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: Bytes }
  | { readonly kind: 'graph'; readonly value: Bytes };

export interface NodeSpec {
  readonly op: string;
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

export interface GraphSpec {
  readonly name: string;
  readonly nodes: readonly NodeSpec[];
  /** Made by `tensorValue` and its like. */
  readonly inputs: readonly Bytes[];
  readonly outputs: readonly Bytes[];
  /** Made by `tensor`. */
  readonly initializers?: readonly Bytes[];
}

export interface ModelSpec {
  readonly graph: GraphSpec;
  readonly producer?: string;
  readonly irVersion?: number;
  readonly opsets?: Readonly<Record<string, number>>;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** `TensorProto.DataType` */
export const ElementType = { float: 1, int64: 7, string: 8, bool: 9, double: 11 } as const;
export type ElementType = (typeof ElementType)[keyof typeof ElementType];

const ATTRIBUTE_TYPES: Readonly<Record<Attribute['kind'], number>> = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
};

export function writeModel(spec: ModelSpec): Bytes {
  const opsets = Object.entries(spec.opsets ?? { '': 17, 'ai.onnx.ml': 3 });
  const metadata = Object.entries(spec.metadata ?? {});
  return concat(
    int(1, spec.irVersion ?? 8),
    text(2, spec.producer ?? 'tidegate'),
    bytes(7, writeGraph(spec.graph)),
    ...opsets.map(([domain, version]) => bytes(8, concat(text(1, domain), int(2, version)))),
    ...metadata.map(([key, value]) => bytes(14, entry(key, value))),
  );
}

export function writeGraph(spec: GraphSpec): Bytes {
  return concat(
    ...spec.nodes.map((node) => bytes(1, writeNode(node))),
    text(2, spec.name),
    ...(spec.initializers ?? []).map((initializer) => bytes(5, initializer)),
    ...spec.inputs.map((input) => bytes(11, input)),
    ...spec.outputs.map((output) => bytes(12, output)),
  );
}

/** A graph's input or output that is a tensor. A text is a dimension's symbolic name. */
export function tensorValue(name: string, type: ElementType, shape: readonly (number | string)[]): Bytes {
  const dimensions = shape.map((size) => bytes(1, typeof size === 'number' ? int(1, size) : text(2, size)));
  return concat(text(1, name), bytes(2, bytes(1, concat(int(1, type), bytes(2, concat(...dimensions))))));
}

/** An output as ZipMap gives it: a sequence of maps from int64 to float. */
export function mapsValue(name: string): Bytes {
  const floatTensor = bytes(1, int(1, ElementType.float));
  const map = bytes(5, concat(int(1, ElementType.int64), bytes(2, floatTensor)));
  return concat(text(1, name), bytes(2, bytes(4, bytes(1, map))));
}

/** A tensor of floats or int64. */
export function tensor(
  name: string,
  type: typeof ElementType.float | typeof ElementType.int64,
  shape: readonly number[],
  values: readonly number[],
): Bytes {
  const raw = new Uint8Array(values.length * (type === ElementType.float ? 4 : 8));
  const view = new DataView(raw.buffer);
  for (const [index, value] of values.entries()) {
    if (type === ElementType.float) view.setFloat32(index * 4, value, true);
    else view.setBigInt64(index * 8, BigInt(value), true);
  }
  return concat(...shape.map((size) => int(1, size)), int(2, type), text(8, name), bytes(9, raw));
}

/** A tensor that claims to be kept in another file: what admission must refuse. */
export function externalTensor(name: string, shape: readonly number[], location: string): Bytes {
  return concat(
    ...shape.map((size) => int(1, size)),
    int(2, ElementType.float),
    text(8, name),
    bytes(13, entry('location', location)),
    int(14, 1),
  );
}

function writeNode(node: NodeSpec): Bytes {
  return concat(
    ...node.inputs.map((input) => text(1, input)),
    ...node.outputs.map((output) => text(2, output)),
    text(4, node.op),
    ...Object.entries(node.attributes ?? {}).map(([name, attribute]) => bytes(5, writeAttribute(name, attribute))),
    ...(node.domain === undefined ? [] : [text(7, node.domain)]),
  );
}

function writeAttribute(name: string, attribute: Attribute): Bytes {
  return concat(text(1, name), writeAttributeValue(attribute), int(20, ATTRIBUTE_TYPES[attribute.kind]));
}

function writeAttributeValue(attribute: Attribute): Bytes {
  switch (attribute.kind) {
    case 'float':
      return float(2, attribute.value);
    case 'int':
      return int(3, attribute.value);
    case 'string':
      return text(4, attribute.value);
    case 'tensor':
      return bytes(5, attribute.value);
    case 'graph':
      return bytes(6, attribute.value);
    case 'floats':
      return bytes(7, packedFloats(attribute.value));
    case 'ints':
      return bytes(8, joined(attribute.value.map(varint)));
    case 'strings':
      return joined(attribute.value.map((value) => text(9, value)));
  }
}

function entry(key: string, value: string): Bytes {
  return concat(text(1, key), text(2, value));
}

export function int(field: number, value: number): Bytes {
  return concat(varint(field * 8), varint(value));
}

function float(field: number, value: number): Bytes {
  return concat(varint(field * 8 + 5), packedFloats([value]));
}

export function text(field: number, value: string): Bytes {
  return bytes(field, new TextEncoder().encode(value));
}

export function bytes(field: number, value: Uint8Array): Bytes {
  return concat(varint(field * 8 + 2), varint(value.length), value);
}

function packedFloats(values: readonly number[]): Bytes {
  const packed = new Uint8Array(values.length * 4);
  const view = new DataView(packed.buffer);
  for (const [index, value] of values.entries()) view.setFloat32(index * 4, value, true);
  return packed;
}

/** A varint; a negative one as the ten bytes of its two's complement. */
function varint(value: number): Bytes {
  const written: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 128n) {
    written.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  written.push(Number(rest));
  return new Uint8Array(written);
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  return joined(parts);
}

/** For lists of any length: what is spread as arguments lies on the stack. */
function joined(parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
