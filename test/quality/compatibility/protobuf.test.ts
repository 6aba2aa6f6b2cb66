/** Protobuf files of two versions, against protobufjs: where no problem is found, what the writer encodes is read without an error, and every field that both know with its value. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { afterAll, expect, test } from 'vitest';
import { protobufProblems, readProtobuf } from '../../../quality/compatibility/protobuf.ts';
import fc from '../../support/fast-check.ts';

fc.configureGlobal({ seed: 20_261_127 });

const folder = mkdtempSync(join(tmpdir(), 'tidegate-proto-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function version(text: string, name = `v${files++}.proto`): ReturnType<typeof readProtobuf> {
  const path = join(folder, name);
  writeFileSync(path, text);
  return readProtobuf(path);
}

interface Field {
  readonly tag: number;
  readonly type: string;
  readonly repeated: boolean;
}

/** Of each a value that every type of its kind on the wire has too. */
const VALUES: Readonly<Record<string, unknown>> = {
  int32: 1,
  int64: 1,
  uint32: 1,
  bool: true,
  sint32: 2,
  sint64: 2,
  fixed32: 3,
  sfixed32: 3,
  fixed64: 4,
  double: 1.5,
  float: 2.5,
  string: 'x',
  bytes: Buffer.from('x'), // prettier-ignore
};
const field = fc.record({ tag: fc.integer({ min: 1, max: 4 }), type: fc.constantFrom(...Object.keys(VALUES)), repeated: fc.boolean() });
const message = fc.uniqueArray(field, { selector: ({ tag }) => tag, maxLength: 4 });
const proto = (fields: readonly Field[]): string =>
  `syntax = "proto3"; message M { ${fields.map(({ tag, type, repeated }) => `${repeated ? 'repeated ' : ''}${type} f${tag} = ${tag};`).join(' ')} }`;

test('where no problem is found, what the writer encodes is read, with the values of all fields that both know', () => {
  let compatible = 0;
  fc.assert(
    fc.property(message, message, (reader, writer) => {
      if (protobufProblems(version(proto(reader)), version(proto(writer))).length > 0) return;
      compatible++;
      const [r, w] = [reader, writer].map((fields) => protobuf.parse(proto(fields), { keepCase: true }).root.lookupType('M')) as [
        protobuf.Type,
        protobuf.Type,
      ];
      const value = Object.fromEntries(writer.map(({ tag, type, repeated }) => [`f${tag}`, repeated ? [VALUES[type]] : VALUES[type]]));
      const read = r.toObject(r.decode(w.encode(w.fromObject(value)).finish()), { longs: Number, bytes: String });
      for (const { tag, type } of writer) {
        const known = reader.find((one) => one.tag === tag);
        if (known === undefined) continue;
        const whole: unknown = read[`f${tag}`];
        const got: unknown = Array.isArray(whole) ? whole[0] : whole;
        const text = known.type === 'bytes' ? Buffer.from(got as string, 'base64').toString() : typeof got === 'string' ? got : Number(got);
        const wanted = type === 'bytes' || type === 'string' ? 'x' : Number(VALUES[type]);
        expect({ reader, writer, tag, read: text }).toMatchObject({ read: wanted });
      }
    }),
    { numRuns: 600 },
  );
  expect(compatible).toBeGreaterThan(80);
});

const HEAD = 'syntax = "proto3"; package shop;';

test.each([
  ['a field under another kind', 'int64 a = 1;', 'string a = 1;', ['field_type_changed']],
  ['one number in two packings', 'repeated int32 a = 1;', 'int32 a = 1;', ['field_label_changed']],
  ['an enum is a number', 'E a = 1; enum E { Z = 0; }', 'int32 a = 1;', []],
  ['another name under the same number', 'int32 b = 1;', 'int32 a = 1;', []],
  ['two fields that become one of them', 'oneof x { int32 a = 1; string b = 2; }', 'int32 a = 1; string b = 2;', ['fields_moved_to_oneof']],
  ['one field in a oneof', 'oneof x { int32 a = 1; string b = 2; }', 'int32 a = 1;', []],
  ['a number that was reserved', 'int32 a = 3;', 'reserved 3;', ['reserved_number_used']],
  ['a map to something else', 'map<string, int32> a = 1;', 'map<string, string> a = 1;', ['field_type_changed']],
  ['another message', 'P a = 1; message P {} message Q {}', 'Q a = 1; message P {} message Q {}', ['field_type_changed']],
  ['a message less', '', 'message P {}', ['message_removed']],
])('%s', (_name, reader, writer, kinds) => {
  const found = protobufProblems(
    version(`${HEAD} message M { ${reader} }`),
    version(`syntax = "proto3"; package other; message M { ${writer} }`),
  );
  expect(found.map(({ kinds: [kind] }) => kind)).toEqual(kinds);
});

test('required fields of proto2, imports beside the file and well-known types', () => {
  const required = version('syntax = "proto2"; message M { required int32 a = 1; }');
  const optional = version('syntax = "proto2"; message M { optional int32 a = 1; }');
  expect(protobufProblems(required, optional)).toMatchObject([
    { readerAt: '#/M/1', kinds: ['required_field_added', 'required_field_removed'] },
  ]);
  expect(protobufProblems(optional, required)).toEqual([]);
  version('syntax = "proto3"; message Money { int64 cents = 1; }', 'money.proto');
  const order = (cents: string): string => `${HEAD} import "money.proto"; import "google/protobuf/timestamp.proto"; message Order { Money total = 1; google.protobuf.Timestamp at = 2; ${cents} }`; // prettier-ignore
  expect(protobufProblems(version(order('')), version(order('string note = 3;')))).toEqual([]);
  expect(() => version('syntax = "proto3"; import "gone.proto"; message M {}')).toThrow(/gone\.proto is not there/);
  expect(() => version('message {')).toThrow(/illegal/);
});
