/** Reads a reference that a rule names, and says what is wrong with it. */
import { isObject } from '../rule-text.ts';
import { PARTS_MAX, type StoredReference } from './form.ts';

const TYPES = ['boolean', 'integer', 'float', 'decimal', 'text', 'timestamp', 'date', 'time', 'json', 'bytes', 'other'];

/** The reference, or what it is not. */
export function readReference(value: unknown): StoredReference | string {
  if (!isObject(value) || value['apiVersion'] !== 'quality/v1' || value['kind'] !== 'Reference')
    return 'it has not apiVersion: quality/v1 and kind: Reference';
  for (const name of ['dataset', 'column']) if (typeof value[name] !== 'string') return `it does not say its ${name}`;
  if (!TYPES.includes(String(value['type']))) return 'it does not say the type of its column';
  for (const name of ['rows', 'missing']) if (!isCount(value[name])) return `${name} is no number of rows`;
  const { bins, values, weights } = value;
  if (!isList(weights, isCount) || weights.length === 0) return 'weights are no list of counts';
  if ((bins === undefined) === (values === undefined)) return 'it has not either bins or values';
  const problem = bins === undefined ? valuesProblem(value, weights) : binsProblem(value, weights);
  return problem ?? (value as unknown as StoredReference); // Held against its form above.
}

function binsProblem({ bins, tail_weights: tails, other_weight: other }: Fields, weights: readonly number[]): string | null {
  if (!isList(bins, isNumber) || bins.length !== weights.length + 1 || bins.length > PARTS_MAX)
    return `bins are no list of one edge more than weights, ${PARTS_MAX} at most`;
  if (bins.some((edge, at) => at > 0 && edge <= (bins[at - 1] ?? edge))) return 'its bins do not increase';
  if (!isList(tails, isCount) || tails.length !== 2) return 'tail_weights are not two counts';
  if (other !== undefined) return 'other_weight goes with values';
  return sumProblem([...weights, ...tails]);
}

function valuesProblem({ values, tail_weights: tails, other_weight: other }: Fields, weights: readonly number[]): string | null {
  const isValue = (one: unknown): one is string | number | boolean => ['string', 'number', 'boolean'].includes(typeof one);
  if (!isList(values, isValue) || values.length !== weights.length || values.length > PARTS_MAX)
    return `values are no list as long as weights, ${PARTS_MAX} at most`;
  if (new Set(values).size !== values.length) return 'a value stands there twice';
  if (!isCount(other)) return 'other_weight is no count';
  if (tails !== undefined) return 'tail_weights go with bins';
  return sumProblem([...weights, other]);
}

type Fields = Readonly<Record<string, unknown>>;

function sumProblem(counts: readonly number[]): string | null {
  return counts.some((count) => count > 0) ? null : 'it is of no values';
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isCount = (value: unknown): value is number => isNumber(value) && Number.isInteger(value) && value >= 0;

function isList<T>(value: unknown, isOne: (one: unknown) => one is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isOne);
}
