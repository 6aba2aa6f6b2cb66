/**
 * Takes the ZipMap off a classifier's end. Converters put it there so that the probabilities come out as a list of maps, which the
 * runtime's Node binding cannot return; what goes into it is the tensor that is wanted. Everything else is copied byte for byte.
 */
import { ProtobufReader } from './protobuf.ts';

interface ZipMap {
  /** Where the node stands in the graph, tag included. */
  readonly from: number;
  readonly to: number;
  readonly input: string;
  readonly output: string;
}

/**
 * The model with each top-level ZipMap gone, and the graph output that it made replaced by one named after its input, a float
 * tensor. Null where a ZipMap's output is used inside the graph, or there is none at the top.
 */
export function stripZipMap(bytes: Uint8Array): Uint8Array | null {
  const model = new ProtobufReader(bytes);
  while (model.next()) {
    if (!model.is(7, 'bytes')) continue;
    const graph = strippedGraph(bytes, model.message());
    if (graph === null) return null;
    return concat([bytes.subarray(0, model.tagAt), lengthDelimited(7, graph), bytes.subarray(model.valueEnd)]);
  }
  return null;
}

function strippedGraph(bytes: Uint8Array, graph: ProtobufReader): Uint8Array | null {
  const zipMaps: ZipMap[] = [];
  const used = new Set<string>();
  const outputs: { from: number; to: number; name: string }[] = [];
  const whole = { from: -1, to: 0 };
  while (graph.next()) {
    if (whole.from < 0) whole.from = graph.tagAt;
    whole.to = graph.valueEnd;
    if (graph.is(1, 'bytes')) {
      const node = readNode(graph.message());
      for (const input of node.inputs) used.add(input);
      const [input] = node.inputs;
      const [output] = node.outputs;
      if (node.operator !== 'ZipMap' || input === undefined || output === undefined) continue;
      zipMaps.push({ from: graph.tagAt, to: graph.valueEnd, input, output });
    } else if (graph.is(12, 'bytes')) {
      outputs.push({ from: graph.tagAt, to: graph.valueEnd, name: readName(graph.message()) });
    }
  }
  const edits = new Map<number, { to: number; by: Uint8Array }>();
  for (const zipMap of zipMaps) {
    const output = outputs.find(({ name }) => name === zipMap.output);
    if (output === undefined || used.has(zipMap.output)) return null;
    edits.set(zipMap.from, { to: zipMap.to, by: new Uint8Array(0) });
    edits.set(output.from, { to: output.to, by: lengthDelimited(12, floatValue(zipMap.input)) });
  }
  return edits.size === 0 ? null : edited(bytes, whole.from, whole.to, edits);
}

function edited(bytes: Uint8Array, from: number, to: number, edits: ReadonlyMap<number, { to: number; by: Uint8Array }>): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = from;
  for (const [start, edit] of [...edits].sort(([a], [b]) => a - b)) {
    parts.push(bytes.subarray(at, start), edit.by);
    at = edit.to;
  }
  parts.push(bytes.subarray(at, to));
  return concat(parts);
}

function readNode(node: ProtobufReader): { operator: string; inputs: string[]; outputs: string[] } {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let operator = '';
  while (node.next()) {
    if (node.is(1, 'bytes')) inputs.push(node.text());
    else if (node.is(2, 'bytes')) outputs.push(node.text());
    else if (node.is(4, 'bytes')) operator = node.text();
  }
  return { operator, inputs, outputs };
}

function readName(value: ProtobufReader): string {
  let name = '';
  while (value.next()) if (value.is(1, 'bytes')) name = value.text();
  return name;
}

/** A ValueInfoProto of a float tensor without a shape: the runtime infers it. */
function floatValue(name: string): Uint8Array {
  const floatTensor = lengthDelimited(1, new Uint8Array([0x08, 0x01]));
  return concat([lengthDelimited(1, new TextEncoder().encode(name)), lengthDelimited(2, floatTensor)]);
}

function lengthDelimited(field: number, value: Uint8Array): Uint8Array {
  const head = [field * 8 + 2];
  let rest = value.length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) | 128);
  head.push(rest);
  return concat([new Uint8Array(head), value]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
