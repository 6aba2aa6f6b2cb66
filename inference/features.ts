/**
 * A feature mapping compiled against a dataset: closures over column indices that write straight into the batch's one Float32Array.
 * Names, vocabularies and expressions are resolved here, once; encoding a row allocates nothing.
 */
import { CELL_UNCHANGED, type ChangeEvent, type ColumnType, type Dataset, type Row, UNCHANGED } from '../core/event.ts';
import { compileExpression } from '../core/expression.ts';
import type { Problem } from '../core/problems.ts';
import { Cell, numberOf } from './cell.ts';
import type { Feature, Mapping } from './mapping-schema.ts';
import { featureWidth, mappingWidth, readReference } from './mapping.ts';
import { type TextHasher, textHasher } from './text-hash.ts';
import { CLOCK_PARTS, microsPart, TIME_CIRCLES, timePart } from './time-part.ts';
import { Words } from './words.ts';

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

/** Writes one feature; false rejects the row. Throws where its cell's bytes are no value: that rejects it too. */
type Encoder = (event: ChangeEvent, out: Float32Array, at: number) => boolean;
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
      let index = 0;
      try {
        for (; index < encoders.length; index++) {
          const encode = encoders[index];
          if (encode !== undefined && !encode(event, out, at + (offsets[index] ?? 0))) return index;
        }
        return ENCODED;
      } catch {
        return index; // Bytes that are no value of their type reject their row, and not the batch.
      }
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
  const { column: name, image } = readReference(feature.from);
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
  if (feature.type === 'time' && declared === 'time' && !CLOCK_PARTS.includes(feature.part)) {
    problems.push({
      severity: 'error',
      path: `${path}.part`,
      message: `A time of day has no ${feature.part}.`,
      fix: `Take ${CLOCK_PARTS.join(' or ')}, or read a date or a timestamp.`,
    });
    return null;
  }
  const cell = new Cell(column, image);
  switch (feature.type) {
    case 'number':
      return scalar(
        feature,
        transformed((event) => (cell.find(event) ? cell.number() : undefined), feature.transform ?? []),
      );
    case 'bool':
      return scalar(feature, (event) => (cell.find(event) ? truth(cell) : undefined));
    case 'ordinal':
      return scalar(feature, ordinal(cell, feature.vocab, feature.unknown ?? -1));
    case 'changed':
      return scalar(feature, changed(column));
    case 'time':
      return time(feature, cell, declared === 'time');
    case 'onehot':
      return onehot(feature, cell);
    case 'hash':
      return hashed(feature, cell);
  }
}

function truth(cell: Cell): number {
  const value = cell.value();
  return value === true ? 1 : value === false ? 0 : NaN;
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

function ordinal(cell: Cell, vocab: readonly string[], unknown: number): ReadNumber {
  const words = new Words(vocab);
  return (event) => {
    if (!cell.find(event)) return undefined;
    const place = placeOf(cell, words);
    return place === -1 ? unknown : place;
  };
}

/** The cell's place in the vocabulary; -1 where it is not among the words, NaN where it has no text. */
function placeOf(cell: Cell, words: Words): number {
  if (cell.isText) return words.ofBytes(cell.bytes, cell.offset, cell.length);
  const text = cell.text();
  return text === null ? NaN : words.ofText(text);
}

function changed(column: number): ReadNumber {
  return (event) => {
    const { op, before, after } = event;
    if (op !== 'update' || isUnsent(after, column)) return 0;
    if (before === null || isUnsent(before, column)) return undefined;
    return haveSameBytes(before, after, column) || same(before.value(column), after.value(column)) ? 0 : 1;
  };
}

function isUnsent(row: Row, column: number): boolean {
  const { encoded } = row;
  return encoded === null ? row.value(column) === UNCHANGED : encoded.cells[encoded.at + 2 * column + 1] === CELL_UNCHANGED;
}

/** Most columns of most changes: the cells need not be decoded. False says nothing. */
function haveSameBytes({ encoded: a }: Row, { encoded: b }: Row, column: number): boolean {
  if (a === null || b === null || a.types !== b.types) return false;
  const [from, length = 0] = [a.cells[a.at + 2 * column] ?? 0, a.cells[a.at + 2 * column + 1]];
  const other = b.cells[b.at + 2 * column] ?? 0;
  if (length !== b.cells[b.at + 2 * column + 1]) return false;
  for (let at = 0; at < length; at++) if (a.bytes[from + at] !== b.bytes[other + at]) return false;
  return true;
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
    const value = compiled.evaluate(event); // Throws where it can't be computed from this row, which rejects it.
    return value === undefined || value === null ? undefined : numberOf(value);
  };
}

function time(feature: Extract<Feature, { type: 'time' }>, cell: Cell, isTimeOfDay: boolean): Encoder {
  const { part } = feature;
  const number: ReadNumber = (event) => {
    if (!cell.find(event)) return undefined;
    const micros = cell.micros();
    if (!Number.isNaN(micros)) return microsPart(micros, part, isTimeOfDay);
    const value = cell.value();
    return typeof value === 'string' ? timePart(value, part) : NaN;
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

function onehot(feature: Extract<Feature, { type: 'onehot' }>, cell: Cell): Encoder {
  const words = new Words(feature.vocab);
  const known = feature.vocab.length;
  const other = feature.unknown === 'other' ? known : -1;
  return categorical(feature.null ?? 'default', known + (other === -1 ? 0 : 1), cell, (out, at) => {
    const place = placeOf(cell, words);
    if (Number.isNaN(place)) return false;
    const one = place === -1 ? other : place;
    if (one !== -1) out[at + one] = 1;
    return true;
  });
}

function hashed(feature: Extract<Feature, { type: 'hash' }>, cell: Cell): Encoder {
  const { buckets, prefix = '', signed = true, pre = [] } = feature;
  const hasher = textHasher(prefix, pre);
  return categorical(feature.null ?? 'default', buckets, cell, (out, at) => {
    const hash = hashOf(cell, hasher);
    if (Number.isNaN(hash)) return false;
    out[at + (Math.abs(hash) % buckets)] = signed && hash < 0 ? -1 : 1;
    return true;
  });
}

/** NaN for a cell that has no text. */
function hashOf(cell: Cell, hasher: TextHasher): number {
  if (cell.isText) return hasher.ofBytes(cell.bytes, cell.offset, cell.length);
  const text = cell.text();
  return text === null ? NaN : hasher.ofText(text);
}

/** Zeros, and what `mark` makes of the cell; it returns false for a cell that rejects the row. */
function categorical(
  policy: 'default' | 'reject' | 'indicator',
  width: number,
  cell: Cell,
  mark: (out: Float32Array, at: number) => boolean,
): Encoder {
  return (event, out, at) => {
    for (let zero = at; zero < at + width; zero++) out[zero] = 0;
    const found = cell.find(event);
    if (policy === 'indicator') out[at + width] = found ? 0 : 1;
    return found ? mark(out, at) : policy !== 'reject';
  };
}
