/**
 * A feature mapping compiled against a dataset: closures over column indices that write straight into the batch's one Float32Array.
 * Names, vocabularies and expressions are resolved here, once; encoding a row allocates nothing.
 */
import { type ChangeEvent, type ColumnType, type Dataset, type Row, UNCHANGED } from '../core/event.ts';
import { compileExpression } from '../core/expression.ts';
import type { Problem } from '../core/problems.ts';
import type { Feature, Mapping } from './mapping-schema.ts';
import { featureWidth, mappingWidth, readReference } from './mapping.ts';
import { murmur3Text } from './murmur3.ts';
import { TIME_CIRCLES, timePart } from './time-part.ts';

/** A row was encoded; else the index of the feature that rejected it. */
export const ENCODED = -1;

export interface CompiledFeatures {
  readonly kind: 'compiled';
  /** Columns of the matrix. */
  readonly width: number;
  /**
   * Writes the event's features to `out[at … at + width)`, all of them. Returns `ENCODED`, or the index in `mapping.features` of the
   * feature that rejects the row; what was written then is worth nothing. Never writes a number that is not finite, except NaN
   * for a feature whose policy is `null: nan`.
   */
  encode(event: ChangeEvent, out: Float32Array, at: number): number;
}

export interface RefusedFeatures {
  readonly kind: 'refused';
  readonly problems: readonly [Problem, ...Problem[]];
}

/** Writes one feature; false rejects the row. */
type Encoder = (event: ChangeEvent, out: Float32Array, at: number) => boolean;
/** A cell's value; null where there is none. */
type ReadCell = (event: ChangeEvent) => Exclude<ReturnType<Row['value']>, symbol>;
/** A number, NaN where the cell can't be read as one, undefined where there is none. */
type ReadNumber = (event: ChangeEvent) => number | undefined;

const FLOAT_MAX = 3.4028234663852886e38;
const NUMBERS: readonly ColumnType[] = ['integer', 'float', 'decimal'];
const TEXTS: readonly ColumnType[] = ['text', 'integer', 'decimal', 'float', 'boolean', 'date', 'time', 'timestamp', 'json', 'other'];
const READABLE: Readonly<Record<Feature['type'], readonly ColumnType[]>> = {
  number: NUMBERS,
  bool: ['boolean'],
  onehot: TEXTS,
  ordinal: TEXTS,
  hash: TEXTS,
  time: ['timestamp', 'date', 'time'],
  expr: [],
  changed: [...TEXTS, 'bytes'],
  const: [],
};

/** All problems at once. `path` is what their paths begin with. */
export function compileFeatures(mapping: Mapping, dataset: Dataset, path = 'mapping'): CompiledFeatures | RefusedFeatures {
  const problems: Problem[] = columnProblems(mapping, dataset, path);
  const encoders: Encoder[] = [];
  const offsets: number[] = [];
  let width = 0;
  for (const [index, feature] of mapping.features.entries()) {
    const encoder = compileFeature(feature, mapping, dataset, `${path}: features[${index}]`, problems);
    if (encoder !== null) encoders.push(encoder);
    offsets.push(width);
    width += featureWidth(feature);
  }
  const [first, ...others] = problems;
  if (first !== undefined) return { kind: 'refused', problems: [first, ...others] };
  return {
    kind: 'compiled',
    width: mappingWidth(mapping),
    encode(event, out, at) {
      for (let index = 0; index < encoders.length; index++) {
        const encode = encoders[index];
        if (encode !== undefined && !encode(event, out, at + (offsets[index] ?? 0))) return index;
      }
      return ENCODED;
    },
  };
}

/** The dataset has what the mapping says it reads. */
function columnProblems(mapping: Mapping, dataset: Dataset, path: string): Problem[] {
  return Object.entries(mapping.columns).flatMap(([name, type]): Problem[] => {
    const column = dataset.columns.find((candidate) => candidate.name === name);
    if (column === undefined) {
      const names = dataset.columns.map((candidate) => candidate.name).join(', ');
      return [
        {
          severity: 'error',
          path: `${path}: columns.${name}`,
          message: `${dataset.name} has no column "${name}".`,
          fix: `Use one of its columns: ${names}.`,
        },
      ];
    }
    const fits = column.type === type || (NUMBERS.includes(column.type) && NUMBERS.includes(type));
    if (fits) return [];
    return [
      {
        severity: 'error',
        path: `${path}: columns.${name}`,
        message: `${dataset.name}.${name} is of type ${column.type}, and the mapping reads ${type}.`,
        fix: `Register a version whose mapping reads ${column.type}, or change the column back.`,
      },
    ];
  });
}

function compileFeature(feature: Feature, mapping: Mapping, dataset: Dataset, path: string, problems: Problem[]): Encoder | null {
  if (feature.type === 'const') {
    const { value } = feature;
    return (_event, out, at) => {
      out[at] = value;
      return true;
    };
  }
  if (feature.type === 'expr') {
    const number = compileNumber(feature.expr, dataset, `${path}.expr`, problems);
    return number === null ? null : scalar(feature, number);
  }
  const { column: name } = readReference(feature.from);
  const column = dataset.columns.findIndex((candidate) => candidate.name === name);
  const declared = mapping.columns[name];
  if (column < 0 || declared === undefined) return null; // Said by columnProblems and the parser.
  if (!READABLE[feature.type].includes(declared)) {
    problems.push({
      severity: 'error',
      path: `${path}.from`,
      message: `A feature of type ${feature.type} can't read a column of type ${declared}.`,
      fix: `Read a column of type ${READABLE[feature.type].join(', ')}, or use another type of feature.`,
    });
    return null;
  }
  const read = readCell(feature.from, column);
  switch (feature.type) {
    case 'number':
      return scalar(feature, transformed(readNumber(read), feature.transform ?? []));
    case 'bool':
      return scalar(feature, (event) => {
        const value = read(event);
        return value === null ? undefined : value === true ? 1 : value === false ? 0 : NaN;
      });
    case 'ordinal':
      return scalar(feature, ordinal(read, feature.vocab, feature.unknown ?? -1));
    case 'changed':
      return scalar(feature, changed(column));
    case 'time':
      return time(feature, read);
    case 'onehot':
      return onehot(feature, read);
    case 'hash':
      return hashed(feature, read);
  }
}

/** Cells of `after` that the source did not send are those of `before`, where it sent that. */
function readCell(from: string, column: number): ReadCell {
  if (readReference(from).image === 'before') return (event) => known(event.before, column);
  return (event) => {
    const value = cell(event.after, column);
    return value === UNCHANGED ? known(event.before, column) : value;
  };
}

function known(row: Row | null, column: number): ReturnType<ReadCell> {
  const value = cell(row, column);
  return value === UNCHANGED ? null : value;
}

/** The cell; NaN for bytes that are no value of its type, so that they reject their row and not the batch. */
function cell(row: Row | null, column: number): ReturnType<Row['value']> {
  try {
    return row === null ? null : row.value(column);
  } catch {
    return NaN;
  }
}

function readNumber(read: ReadCell): ReadNumber {
  return (event) => {
    const value = read(event);
    return value === null ? undefined : typeof value === 'number' ? value : toNumber(value);
  };
}

function toNumber(value: NonNullable<ReturnType<ReadCell>>): number {
  // Number('') is 0: an empty text is no number.
  return typeof value === 'string' ? (value === '' ? NaN : Number(value)) : typeof value === 'object' ? NaN : Number(value);
}

function toText(value: NonNullable<ReturnType<ReadCell>>): string | null {
  return typeof value === 'string' ? value : typeof value === 'object' || Number.isNaN(value) ? null : String(value);
}

type ScalarFeature = Extract<Feature, { type: 'number' | 'bool' | 'ordinal' | 'changed' | 'expr' | 'time' }>;

/** One number and its null policy. */
function scalar(feature: ScalarFeature, read: ReadNumber): Encoder {
  const byDefault = feature.default ?? 0;
  switch (feature.null ?? 'reject') {
    case 'reject':
      return (event, out, at) => write(read(event) ?? NaN, out, at);
    case 'default':
      return (event, out, at) => write(read(event) ?? byDefault, out, at);
    case 'nan':
      return (event, out, at) => {
        const value = read(event);
        if (value !== undefined) return write(value, out, at);
        out[at] = NaN;
        return true;
      };
    case 'indicator':
      return (event, out, at) => {
        const value = read(event);
        out[at + 1] = value === undefined ? 1 : 0;
        return write(value ?? byDefault, out, at);
      };
  }
}

/** The gate before the model: trees give NaN and Infinity a confident score. */
function write(value: number, out: Float32Array, at: number): boolean {
  out[at] = value;
  return Math.abs(value) <= FLOAT_MAX;
}

type Transform = NonNullable<Extract<Feature, { type: 'number' }>['transform']>[number];

function transformed(read: ReadNumber, transforms: readonly Transform[]): ReadNumber {
  return transforms.map(compileTransform).reduce<ReadNumber>(
    (inner, step) => (event) => {
      const value = inner(event);
      return value === undefined ? undefined : step(value);
    },
    read,
  );
}

function compileTransform(transform: Transform): (value: number) => number {
  if (transform === 'log1p') return Math.log1p;
  if (transform === 'sqrt') return Math.sqrt;
  if (transform === 'abs') return Math.abs;
  if ('clip' in transform) {
    const [min = -Infinity, max = Infinity] = transform.clip;
    return (value) => (value < min ? min : value > max ? max : value);
  }
  const { mean, std } = transform.scale;
  return (value) => (value - mean) / std;
}

function ordinal(read: ReadCell, vocab: readonly string[], unknown: number): ReadNumber {
  const places = new Map(vocab.map((word, index) => [word, index]));
  return (event) => {
    const value = read(event);
    if (value === null) return undefined;
    const text = toText(value);
    return text === null ? NaN : (places.get(text) ?? unknown);
  };
}

function changed(column: number): ReadNumber {
  return (event) => {
    if (event.op !== 'update') return 0;
    const after = cell(event.after, column);
    if (after === UNCHANGED) return 0;
    const before = event.before === null ? UNCHANGED : cell(event.before, column);
    return before === UNCHANGED ? undefined : same(before, after) ? 0 : 1;
  };
}

function same(a: ReturnType<Row['value']>, b: ReturnType<Row['value']>): boolean {
  return a === b || Object.is(a, b) || (a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0);
}

function compileNumber(text: string, dataset: Dataset, path: string, problems: Problem[]): ReadNumber | null {
  const compiled = compileExpression(text, { dataset, path, want: 'number' });
  if (compiled.kind === 'refused') {
    problems.push(...compiled.problems);
    return null;
  }
  return (event) => {
    try {
      const value = compiled.evaluate(event);
      return value === undefined || value === null ? undefined : toNumber(value);
    } catch {
      return NaN; // It can't be computed from this row: unreadable, as a text that is no number is.
    }
  };
}

function time(feature: Extract<Feature, { type: 'time' }>, read: ReadCell): Encoder {
  const { part } = feature;
  const number: ReadNumber = (event) => {
    const value = read(event);
    return value === null ? undefined : typeof value === 'string' ? timePart(value, part) : NaN;
  };
  if (feature.encode !== 'sincos') return scalar(feature, number);
  const { steps, first } = TIME_CIRCLES[part];
  const policy = feature.null ?? 'reject';
  const byDefault = feature.default ?? 0;
  return (event, out, at) => {
    const value = number(event);
    if (policy === 'indicator') out[at + 2] = value === undefined ? 1 : 0;
    if (value === undefined && policy === 'reject') return false;
    if (value === undefined && policy === 'nan') {
      out[at] = NaN;
      out[at + 1] = NaN;
      return true;
    }
    const angle = (2 * Math.PI * ((value ?? byDefault) - first)) / steps;
    out[at] = Math.sin(angle);
    out[at + 1] = Math.cos(angle);
    return !Number.isNaN(angle);
  };
}

function onehot(feature: Extract<Feature, { type: 'onehot' }>, read: ReadCell): Encoder {
  const places = new Map(feature.vocab.map((word, index) => [word, index]));
  const words = feature.vocab.length;
  const other = feature.unknown === 'other' ? words : -1;
  return categorical(feature.null ?? 'default', words + (other < 0 ? 0 : 1), read, (text, out, at) => {
    const place = places.get(text) ?? other;
    if (place >= 0) out[at + place] = 1;
  });
}

function hashed(feature: Extract<Feature, { type: 'hash' }>, read: ReadCell): Encoder {
  const { buckets, prefix = '', signed = true, pre = [] } = feature;
  return categorical(feature.null ?? 'default', buckets, read, (text, out, at) => {
    let token = text;
    for (const step of pre) {
      if (step === 'lower') token = token.toLowerCase();
      else if (step === 'trim') token = token.trim();
      else token = token.slice(token.lastIndexOf('@') + 1);
    }
    const hash = murmur3Text(prefix + token);
    out[at + (Math.abs(hash) % buckets)] = signed && hash < 0 ? -1 : 1;
  });
}

/** Zeros, and what `mark` makes of the text. */
function categorical(
  policy: 'default' | 'reject' | 'indicator',
  width: number,
  read: ReadCell,
  mark: (text: string, out: Float32Array, at: number) => void,
): Encoder {
  return (event, out, at) => {
    for (let cell = at; cell < at + width; cell++) out[cell] = 0;
    const value = read(event);
    if (policy === 'indicator') out[at + width] = value === null ? 1 : 0;
    if (value === null) return policy !== 'reject';
    const text = toText(value);
    if (text === null) return false;
    mark(text, out, at);
    return true;
  };
}
