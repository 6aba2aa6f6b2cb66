/** Compiled features against a naive reading of the mapping, and the places where they have to agree with the training side. */
import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import {
  CELL_NULL,
  CELL_UNCHANGED,
  type ChangeEvent,
  type Dataset,
  type DatasetName,
  type Row,
  UNCHANGED,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import { compileFeatures, ENCODED } from '../../inference/features.ts';
import type { Feature, Mapping } from '../../inference/mapping-schema.ts';
import { featureWidth, mappingWidth, parseMapping } from '../../inference/mapping.ts';
import { murmur3, murmur3Text } from '../../inference/murmur3.ts';
import { timePart } from '../../inference/time-part.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { numericBytes } from '../../wire/postgres/types-numeric.ts';
import { builtinType } from '../../wire/postgres/types.ts';

const dataset: Dataset = {
  name: 'test.public.rows' as DatasetName,
  version: 1,
  key: [0],
  columns: [
    { name: 'id', type: 'integer', native: 'bigint', nullable: false },
    { name: 'price', type: 'decimal', native: 'numeric', nullable: true },
    { name: 'flag', type: 'boolean', native: 'boolean', nullable: true },
    { name: 'word', type: 'text', native: 'text', nullable: true },
    { name: 'at', type: 'timestamp', native: 'timestamptz', nullable: true },
  ],
};
const columns: Mapping['columns'] = { id: 'integer', price: 'decimal', flag: 'boolean', word: 'text', at: 'timestamp' };
const NAMES = dataset.columns.map(({ name }) => name);
const relation: PgRelation = {
  dataset,
  types: [20, 1700, 16, 25, 1184].map((oid) => {
    const type = builtinType(oid);
    return { oid, typmod: -1, format: 'binary' as const, decode: type?.decode ?? (() => null), type };
  }),
};

const mappingOf = (...features: readonly Feature[]): Mapping => ({ apiVersion: 'inference/v1', columns, features });

function update(before: readonly Value[] | null, after: readonly Value[], row = valueRow): ChangeEvent {
  const version = '0000000000000001' as Version;
  const rest = { dataset, key: '1', movedFrom: null, version, ordinal: 0, committedAtMs: 0 };
  return { op: 'update', before: before === null ? null : row(before), after: row(after), ...rest };
}

function valueRow(values: readonly Value[]): Row {
  return new ValueRow(...values);
}

/** As pgoutput writes the same row. */
function encodedRow(values: readonly Value[]): Row {
  const cells = new Int32Array(2 * values.length);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [column, value] of values.entries()) {
    const bytes = value === null || value === UNCHANGED ? null : cellBytes(column, value);
    cells[2 * column] = at;
    cells[2 * column + 1] = bytes?.length ?? (value === null ? CELL_NULL : CELL_UNCHANGED);
    if (bytes !== null) parts.push(bytes);
    at += bytes?.length ?? 0;
  }
  return new PgRow(relation, Buffer.concat(parts), cells, 0);
}

function cellBytes(column: number, value: Exclude<Value, null | symbol>): Uint8Array {
  switch (NAMES[column]) {
    case 'id':
      return int8(BigInt(Number(value) === value ? value : (value as bigint)));
    case 'price':
      return numericBytes(String(value));
    case 'flag':
      return new Uint8Array([value === true ? 1 : 0]);
    case 'at':
      return int8(microsOf(String(value)));
    default:
      return Buffer.from(String(value));
  }
}

function int8(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

/** Since 2000, of the texts made below. */
function microsOf(text: string): bigint {
  if (text === 'infinity') return 2n ** 63n - 1n;
  const ms = text.endsWith('BC') ? Date.UTC(-43, 2, 15, 12) : Date.parse(`${text.slice(0, 23).replace(' ', 'T')}Z`);
  return BigInt(ms - Date.UTC(2000, 0, 1)) * 1000n + (text.endsWith('BC') ? 0n : 123n);
}

/** The encoded row, or the name of the feature that rejects it. */
function encode(mapping: Mapping, event: ChangeEvent): number[] | string {
  const compiled = compileFeatures(mapping, dataset);
  if (compiled.kind === 'refused') throw new Error(JSON.stringify(compiled.problems));
  // What was there before must not shine through, and what is beside it must not be touched.
  const out = new Float32Array(compiled.width + 2).fill(77);
  const rejected = compiled.encode(event, out, 1);
  if (rejected !== ENCODED) return mapping.features[rejected]?.name ?? 'no feature';
  expect([out[0], out[compiled.width + 1]]).toEqual([77, 77]);
  return [...out.subarray(1, compiled.width + 1)];
}

const values: fc.Arbitrary<readonly Value[]> = fc.tuple(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), // A column has one type: 14 and 14n never stand before and after one change.
  fc.oneof(
    fc.constantFrom(null, UNCHANGED, 'NaN', 'Infinity', '0', '-0.5', `1${'0'.repeat(400)}`, '0.12345678901234567890'),
    fc.float({ noNaN: true, noDefaultInfinity: true }).map((x) => BigInt(Math.trunc(x)).toString() + (Math.abs(x) % 1).toFixed(3).slice(1)),
  ),
  fc.constantFrom(null, UNCHANGED, true, false),
  fc.oneof(
    fc.constantFrom(null, UNCHANGED, 'red', 'green', 'Ann@Example.ORG ', '\u00a0ÄRGER@Straße.DE\u00a0', '\t@ b@'),
    fc.string({ unit: 'binary' }),
  ),
  fc.oneof(
    fc.constantFrom(null, UNCHANGED, 'infinity', '0044-03-15 12:00:00+00 BC'),
    fc
      .date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T00:00:00Z'), noInvalidDate: true })
      .map((date) => `${date.toISOString().replace('T', ' ').replace('Z', '')}123+00`),
  ),
);

const nulls = fc.constantFrom('default', 'nan', 'reject', 'indicator') as fc.Arbitrary<'default' | 'nan' | 'reject' | 'indicator'>;
const zeroNulls = fc.constantFrom('default', 'reject', 'indicator') as fc.Arbitrary<'default' | 'reject' | 'indicator'>;
const image = fc.constantFrom('', 'after.', 'before.');
const vocab = fc.uniqueArray(fc.constantFrom('red', 'green', 'blue', 'true', '1'), { minLength: 1 });
const features: fc.Arbitrary<Feature> = fc.oneof(
  fc.record({
    type: fc.constant('number' as const),
    name: fc.constant('f'),
    from: fc.tuple(image, fc.constantFrom('id', 'price')).map((parts) => parts.join('')),
    transform: fc.array(
      fc.constantFrom('abs' as const, 'sqrt' as const, 'log1p' as const, { clip: [-2, 50] }, { scale: { mean: 3, std: 2 } }),
    ),
    null: nulls,
    default: fc.integer({ min: -5, max: 5 }),
  }),
  fc.record({
    type: fc.constant('bool' as const),
    name: fc.constant('f'),
    from: image.map((i) => `${i}flag`),
    null: nulls,
    default: fc.constant(0.5),
  }),
  fc.record({
    type: fc.constant('onehot' as const),
    name: fc.constant('f'),
    from: fc.tuple(image, fc.constantFrom('word', 'flag', 'id')).map((parts) => parts.join('')),
    vocab,
    unknown: fc.constantFrom('zeros' as const, 'other' as const),
    null: zeroNulls,
  }),
  fc.record({
    type: fc.constant('ordinal' as const),
    name: fc.constant('f'),
    from: image.map((i) => `${i}word`),
    vocab,
    unknown: fc.constant(-3),
    null: nulls,
    default: fc.constant(9),
  }),
  fc.record({
    type: fc.constant('hash' as const),
    name: fc.constant('f'),
    from: image.map((i) => `${i}word`),
    buckets: fc.integer({ min: 1, max: 9 }),
    signed: fc.boolean(),
    prefix: fc.constantFrom('', 'word='),
    pre: fc.array(fc.constantFrom('lower' as const, 'trim' as const, 'domain' as const), { maxLength: 3 }),
    null: zeroNulls,
  }),
  fc.record({
    type: fc.constant('time' as const),
    name: fc.constant('f'),
    from: image.map((i) => `${i}at`),
    part: fc.constantFrom('minute' as const, 'hour' as const, 'dow' as const, 'dom' as const, 'month' as const),
    encode: fc.constantFrom('value' as const, 'sincos' as const),
    null: nulls,
    default: fc.constant(4),
  }),
  fc.record({
    type: fc.constant('changed' as const),
    name: fc.constant('f'),
    from: fc.constantFrom(...NAMES),
    null: nulls,
    default: fc.constant(0.25),
  }),
  fc.record({ type: fc.constant('const' as const), name: fc.constant('f'), value: fc.integer({ min: -9, max: 9 }) }),
);

test('compiled features do what a naive reading of the mapping does, over values and over encoded rows', () => {
  fc.assert(
    fc.property(fc.array(features, { minLength: 1, maxLength: 5 }), fc.option(values), values, (mapped, before, after) => {
      const named = mapped.map((feature, index) => ({ ...feature, name: `f${index}` }));
      const mapping = mappingOf(...named);
      expect(parseMapping(mapping, 'mapping').kind).toBe('parsed');
      const naive: number[] = [];
      let expected: number[] | string = naive;
      for (const feature of named) {
        const cells = naively(feature, before, after);
        if (cells === null) {
          expected = feature.name;
          break;
        }
        expect(cells).toHaveLength(featureWidth(feature));
        naive.push(...cells.map(Math.fround));
      }
      expect(encode(mapping, update(before, after))).toEqual(expected);
      expect(encode(mapping, update(before, after, encodedRow))).toEqual(expected);
    }),
    { numRuns: 2000 },
  );
});

/** The cells of a feature, or null where it rejects the row. Written for reading, with `Date` and `indexOf`. */
function naively(feature: Feature, before: readonly Value[] | null, after: readonly Value[]): number[] | null {
  if (feature.type === 'const') return [feature.value];
  if (feature.type === 'expr') throw new Error('not made here');
  const column = NAMES.indexOf(feature.from.replace(/^(after|before)\./, ''));
  const [was, is] = [before?.[column] ?? null, after[column] ?? null];
  const current = feature.from.startsWith('before.') || is === UNCHANGED ? was : is;
  const value = current === UNCHANGED ? null : (current as Exclude<Value, symbol>);
  const missing = feature.type === 'changed' ? is !== UNCHANGED && (before === null || was === UNCHANGED) : value === null;
  const width = featureWidth(feature) - (feature.null === 'indicator' ? 1 : 0);
  const policy = feature.null ?? 'reject';
  if (missing && policy === 'reject') return null;
  const indicator = policy === 'indicator' ? [missing ? 1 : 0] : [];
  if (feature.type === 'onehot' || feature.type === 'hash') {
    const cells = Array.from({ length: width }, () => 0);
    if (value === null) return [...cells, ...indicator];
    let token = typeof value === 'string' ? value : value.toString();
    if (feature.type === 'onehot') {
      const place = feature.vocab.indexOf(token);
      if (place >= 0) cells[place] = 1;
      else if (feature.unknown === 'other') cells[width - 1] = 1;
    } else {
      for (const step of feature.pre ?? [])
        token = step === 'lower' ? token.toLowerCase() : step === 'trim' ? token.trim() : (token.split('@').at(-1) ?? '');
      const bytes = new TextEncoder().encode(`${feature.prefix ?? ''}${token}`);
      const hash = murmur3(bytes, bytes.length);
      cells[Math.abs(hash) % width] = feature.signed === true && hash < 0 ? -1 : 1;
    }
    return [...cells, ...indicator];
  }
  if (missing && policy === 'nan') return Array.from({ length: width }, () => NaN);
  let number = NaN;
  if (missing) number = feature.default ?? 0;
  else if (feature.type === 'number') {
    number = Number(value);
    for (const step of feature.transform ?? []) {
      if (step === 'abs') number = Math.abs(number);
      else if (step === 'sqrt') number = Math.sqrt(number);
      else if (step === 'log1p') number = Math.log1p(number);
      else if ('clip' in step) number = Number.isNaN(number) ? NaN : Math.min(Math.max(number, step.clip[0] ?? NaN), step.clip[1] ?? NaN);
      else number = (number - step.scale.mean) / step.scale.std;
    }
  } else if (feature.type === 'bool') number = value === true ? 1 : 0;
  else if (feature.type === 'ordinal')
    number = feature.vocab.includes(value as string) ? feature.vocab.indexOf(value as string) : (feature.unknown ?? -1);
  else if (feature.type === 'changed') number = is === UNCHANGED || was === is ? 0 : 1;
  else {
    const text = value as string;
    const date = new Date(text.replace(' ', 'T').replace(/\d{3}\+00.*$/, 'Z'));
    if (!text.endsWith('BC'))
      number = {
        minute: date.getUTCMinutes(),
        hour: date.getUTCHours(),
        dow: (date.getUTCDay() + 6) % 7,
        dom: date.getUTCDate(),
        month: date.getUTCMonth() + 1,
      }[feature.part];
  }
  if (feature.type === 'time' && feature.encode === 'sincos') {
    const steps = { minute: 60, hour: 24, dow: 7, dom: 31, month: 12 }[feature.part];
    const angle = (2 * Math.PI * (number - (feature.part === 'dom' || feature.part === 'month' ? 1 : 0))) / steps;
    return Number.isNaN(angle) ? null : [Math.sin(angle), Math.cos(angle), ...indicator];
  }
  return Math.abs(number) <= 3.4028234663852886e38 ? [number, ...indicator] : null;
}

const row = (cells: Partial<Record<string, Value>>): readonly Value[] => NAMES.map((name) => cells[name] ?? null);

test('expressions, truths and decimals of expressions are numbers; what can not be computed rejects the row', () => {
  const mapping = mappingOf(
    { name: 'twice', type: 'expr', expr: 'after.price * 2', null: 'default', default: -1 },
    { name: 'dear', type: 'expr', expr: 'after.price > 100', null: 'default', default: 0 },
  );
  expect(encode(mapping, update(null, row({ price: '60.25' })))).toEqual([120.5, 0]);
  expect(encode(mapping, update(null, row({ price: '101' })))).toEqual([202, 1]);
  expect(encode(mapping, update(null, row({ price: null })))).toEqual([-1, 0]);
  const division = mappingOf({ name: 'share', type: 'expr', expr: '100 / after.id', null: 'default' });
  expect(encode(division, update(null, row({ id: 4 })))).toEqual([25]);
  expect(encode(division, update(null, row({ id: 0 })))).toBe('share');
});

test('an UNCHANGED cell is the cell of the before image', () => {
  const mapping = mappingOf(
    { name: 'word', type: 'onehot', from: 'word', vocab: ['red', 'green'] },
    { name: 'changed', type: 'changed', from: 'word' },
  );
  expect(encode(mapping, update(row({ word: 'red' }), row({ word: UNCHANGED })))).toEqual([1, 0, 0]);
  expect(encode(mapping, update(row({ word: 'red' }), row({ word: 'green' })))).toEqual([0, 1, 1]);
});

test('bytes that are no value reject their row and throw nothing', () => {
  const broken: Row = {
    encoded: null,
    value: () => {
      throw new RangeError('out of bounds');
    },
  };
  const mapping = mappingOf({ name: 'fine', type: 'const', value: 1 }, { name: 'word', type: 'onehot', from: 'word', vocab: ['NaN'] });
  expect(encode(mapping, { ...update(null, []), op: 'insert', before: null, after: broken })).toBe('word');
});

test('murmur3 gives what scikit-learn gives', () => {
  // sklearn/utils/tests/test_murmurhash.py
  expect(murmur3(new Uint8Array([3, 0, 0, 0]), 4, 0)).toBe(847579505);
  expect(murmur3(new Uint8Array([3, 0, 0, 0]), 4, 42)).toBe(-1823081949);
  expect(murmur3Text('foo', 0)).toBe(-156908512);
  expect(murmur3Text('foo', 42)).toBe(-1322301282);
  // The reference implementation's own vectors.
  expect([murmur3Text(''), murmur3Text('', 1), murmur3Text('', -1)]).toEqual([0, 0x514e28b7, 0x81f16f39 | 0]);
  expect(murmur3Text('Hello, world!', 0x9747b28c) >>> 0).toBe(0x24884cba);
  expect(murmur3Text('x'.repeat(5000))).toBe(murmur3(new TextEncoder().encode('x'.repeat(5000)), 5000));
});

test('parts of dates, of times and of far years', () => {
  expect((['minute', 'hour', 'dow', 'dom', 'month'] as const).map((part) => timePart('12026-11-24 13:45:00+00', part))).toEqual([
    45, 13, 1, 24, 11,
  ]);
  expect((['minute', 'hour', 'dom'] as const).map((part) => timePart('2026-11-24', part))).toEqual([0, 0, 24]);
  expect((['minute', 'hour', 'dow'] as const).map((part) => timePart('13:45:00', part))).toEqual([45, 13, NaN]);
  expect((['minute', 'hour'] as const).map((part) => timePart('24:00:00', part))).toEqual([0, 24]);
  for (const text of ['infinity', '-infinity', '', 'soon', '0044-03-15 BC']) expect(timePart(text, 'month')).toBeNaN();
});

test('parts are those in UTC, whatever zone a text has', () => {
  expect((['minute', 'hour'] as const).map((part) => timePart('00:15:30+02:30', part))).toEqual([45, 21]);
  expect(timePart('22:45:00-03', 'hour')).toBe(1);
  const parts = ['minute', 'hour', 'dow', 'dom', 'month'] as const;
  expect(parts.map((part) => timePart('2026-01-01 00:30:00.5+02', part))).toEqual([30, 22, 2, 31, 12]);
  expect(parts.map((part) => timePart('2026-02-28T23:30:00-00:45', part))).toEqual([15, 0, 6, 1, 3]);
  expect(timePart('2026-02-28T23:30:00Z', 'hour')).toBe(23);
});

test('a mapping that is wrong says all of it, with paths and fixes', () => {
  const parsed = parseMapping(
    {
      apiVersion: 'inference/v2',
      columns: { price: 'money' },
      features: [
        { name: 'a', type: 'number', frm: 'price' },
        { name: 'b', type: 'nothing' },
        { name: 'c', type: 'onehot', from: 'price', vocab: ['x', 'x'] },
      ],
      extra: 1,
    },
    'm.json',
  );
  if (parsed.kind !== 'refused') throw new Error('it was taken');
  expect(parsed.problems.map(({ path, fix }) => `${path} -> ${fix}`).sort()).toEqual([
    'm.json -> Remove "extra".',
    'm.json: apiVersion -> Write "inference/v1".',
    expect.stringMatching(/^m\.json: columns\.price -> Use one of: boolean, integer, /),
    'm.json: features[0] -> Add "from".',
    'm.json: features[0] -> Remove "frm".',
    expect.stringMatching(/^m\.json: features\[1\]\.type -> Use one of: number, bool, /),
    'm.json: features[2].vocab -> Correct it as docs/models.md describes.',
  ]);
});

test('what the mapping reads has to be declared, to exist and to fit', () => {
  const undeclared = parseMapping(
    { apiVersion: 'inference/v1', columns: { price: 'decimal' }, features: [{ name: 'a', type: 'bool', from: 'flag' }] },
    'm',
  );
  expect(undeclared).toMatchObject({ kind: 'refused', problems: [{ path: 'm: features[0].from' }] });
  const mapping: Mapping = {
    apiVersion: 'inference/v1',
    columns: { gone: 'text', word: 'integer', flag: 'boolean' },
    features: [{ name: 'a', type: 'number', from: 'flag' }],
  };
  const compiled = compileFeatures(mapping, dataset);
  if (compiled.kind !== 'refused') throw new Error('it was compiled');
  expect(compiled.problems.map(({ path }) => path)).toEqual([
    'mapping: columns.gone',
    'mapping: columns.word',
    'mapping: features[0].from',
  ]);
  const clock: Dataset = { ...dataset, columns: [{ name: 'at', type: 'time', native: 'time', nullable: false }] };
  const weekday = { ...mappingOf({ name: 'day', type: 'time', from: 'at', part: 'dow' }), columns: { at: 'time' as const } };
  expect(compileFeatures(weekday, clock)).toMatchObject({ kind: 'refused', problems: [{ path: 'mapping: features[0].part' }] });
});

test('a mapping that makes rows too wide is refused', () => {
  const hashes = (count: number) =>
    mappingOf(
      ...Array.from({ length: count }, (_, index): Feature => ({ name: `h${index}`, type: 'hash', from: 'word', buckets: 32_768 })),
    );
  expect(parseMapping(hashes(2), 'm').kind).toBe('parsed');
  expect(parseMapping(hashes(3), 'm')).toMatchObject({ kind: 'refused', problems: [{ path: 'm: features' }] });
});

test('the width of a mapping counts every column of every feature', () => {
  expect(
    mappingWidth(
      mappingOf(
        { name: 'a', type: 'onehot', from: 'word', vocab: ['x', 'y'], unknown: 'other', null: 'indicator' },
        { name: 'b', type: 'hash', from: 'word', buckets: 8 },
        { name: 'c', type: 'time', from: 'at', part: 'hour', encode: 'sincos', null: 'indicator' },
        { name: 'd', type: 'number', from: 'price' },
      ),
    ),
  ).toBe(4 + 8 + 3 + 1);
});
