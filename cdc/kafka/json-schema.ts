/** JSON Schemas as Confluent's JSON Schema converter writes them, as the Connect schemas that they were made of: what JSON Schema has no word for is kept as `connect.…`. */
import { asStruct, type ConnectSchema, Undecodable } from './connect-schema.ts';

type Node = Readonly<Record<string, unknown>>;

const CONNECT_TYPES: Readonly<Record<string, ConnectSchema['type']>> = {
  int8: 'int8',
  int16: 'int16',
  int32: 'int32',
  int64: 'int64',
  float32: 'float',
  float64: 'double',
  bytes: 'bytes',
  map: 'map',
};

const JSON_TYPES: Readonly<Record<string, ConnectSchema['type']>> = {
  boolean: 'boolean',
  integer: 'int64',
  number: 'double',
  string: 'string',
  array: 'array',
  object: 'struct',
};

export function fromJsonSchema(root: unknown): ConnectSchema {
  return schemaOf(required(asStruct(root)), required(asStruct(root)), 0);
}

/** Deeper than any row: a schema that is part of itself. */
const DEPTH_MAX = 32;

function schemaOf(node: Node, root: Node, depth: number): ConnectSchema {
  if (depth > DEPTH_MAX) throw new Undecodable('its JSON Schema is part of itself');
  const reference = node['$ref'];
  if (typeof reference === 'string') return schemaOf(referenced(reference, root), root, depth + 1);
  const choices = node['oneOf'] ?? node['anyOf'];
  if (Array.isArray(choices)) return { ...schemaOf(onlyOf(choices.map(asStruct)), root, depth + 1), optional: true };
  const { type, optional } = typeOf(node);
  const parameters = asStruct(node['connect.parameters']);
  const made: ConnectSchema = {
    type,
    optional,
    name: typeof node['title'] === 'string' ? node['title'] : undefined,
    parameters: parameters === null ? undefined : Object.fromEntries(Object.entries(parameters).map(([name, one]) => [name, String(one)])),
  };
  if (type === 'array') return { ...made, items: schemaOf(required(asStruct(node['items'])), root, depth + 1) };
  return type === 'struct' ? { ...made, fields: fieldsOf(node, root, depth) } : made;
}

/** In the order in which the row has them. */
function fieldsOf(node: Node, root: Node, depth: number): ConnectSchema[] {
  const places = Object.entries(asStruct(node['properties']) ?? {}).map(([field, one], i) => {
    const part = required(asStruct(one));
    const place = part['connect.index'];
    return { place: typeof place === 'number' ? place : i, schema: { ...schemaOf(part, root, depth + 1), field } };
  });
  return places.sort((a, b) => a.place - b.place).map(({ schema }) => schema);
}

function typeOf(node: Node): { readonly type: ConnectSchema['type']; readonly optional: boolean } {
  const types: readonly unknown[] = Array.isArray(node['type']) ? node['type'] : [node['type']];
  const others = types.filter((one) => one !== 'null');
  const said = node['connect.type'];
  const known = typeof said === 'string' ? CONNECT_TYPES[said] : undefined;
  const type = known ?? (others.length === 1 ? JSON_TYPES[String(others[0])] : undefined);
  if (type === undefined) throw new Undecodable('its JSON Schema has a part of no type, or of several');
  return { type, optional: others.length < types.length };
}

function onlyOf(choices: readonly (Node | null)[]): Node {
  const others = choices.filter((one) => one?.['type'] !== 'null');
  const [only] = others;
  if (others.length !== 1) throw new Undecodable('its JSON Schema has a choice of several types');
  return required(only);
}

function referenced(reference: string, root: Node): Node {
  let at: Node | null = reference.startsWith('#/') ? root : null;
  for (const part of reference.slice(2).split('/')) at = asStruct(at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')]);
  return required(at);
}

function required(node: Node | null | undefined): Node {
  if (node === null || node === undefined) throw new Undecodable('its JSON Schema lacks a part that it names');
  return node;
}
