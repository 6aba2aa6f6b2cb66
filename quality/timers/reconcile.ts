/** reconcile: the table at the target is its source, row by row; or it comes to as much as the table of another dataset there. */
import type { Decimal } from '../../core/expression/values.ts';
import { decimalOf } from '../../core/expression/decimal.ts';
import { durationSchema as duration } from '../../core/duration.ts';
import type { Refuse } from '../clock/check.ts';
import { millis } from '../live/check.ts';
import type {
  Comparison,
  ComparisonAnswer,
  DifferingRow,
  Parameters,
  Proof,
  ProofAnswer,
  TimerExpectation,
  TimerRule,
  TimerSaid,
} from './check.ts';

const EVERY_MIN_MS = 1000;
const TIMEOUT_MAX_MS = 7 * 86_400_000;
const OF_SOURCE = ['rate', 'max_rows'];
const OF_DATASETS = ['rows', 'sums', 'checksum', 'tolerance', 'timeout'];
const columns = { type: 'array', minItems: 1, maxItems: 32, uniqueItems: true, items: { type: 'string', minLength: 1 } } as const;

export const reconcile: TimerExpectation = {
  name: 'reconcile',
  gx: null,
  schema: {
    title: 'Reconciliation',
    description:
      'With `source`: the table at the target is the one at the source, row by row, as `tidegate verify` proves it while both go on; what is held or was given up is no difference. With another dataset of the pipeline: both tables at the target have as many rows, columns that add up to as much, or the same values in some columns, at one moment.',
    type: 'object',
    additionalProperties: false,
    required: ['with'],
    properties: {
      with: { type: 'string', minLength: 1, description: 'source, or another dataset of the pipeline, as source.schema.table.' },
      every: { ...duration, default: '1h', description: 'How often, counted from midnight in UTC; 1s at least.' },
      rate: {
        type: 'integer',
        minimum: 1,
        default: 20_000,
        description: 'With source: how many rows a second are compared at most, to spare the databases.',
      },
      max_rows: {
        type: 'integer',
        minimum: 0,
        maximum: 99,
        default: 0,
        description: 'With source: how many rows may differ without an explanation.',
      },
      rows: { type: 'boolean', default: true, description: 'With a dataset: both have as many rows.' },
      sums: {
        ...columns,
        description:
          'With a dataset: columns, each of which adds up to as much as the one of this name there; { own: other } where it has another.',
        type: ['array', 'object'],
        minProperties: 1,
        maxProperties: 32,
        additionalProperties: { type: 'string', minLength: 1 },
      },
      checksum: {
        ...columns,
        description: 'With a dataset: columns of both, whose values are the same rows, in any order, each as often.',
      },
      tolerance: {
        type: 'number',
        minimum: 0,
        maximum: 1,
        default: 0,
        description: 'With a dataset: the share of what the other one comes to by which numbers of rows and sums may differ.',
      },
      timeout: { ...duration, default: '30s', description: 'With a dataset: how long the query may take.' },
    },
  },
  example: {
    rule: '- reconcile: { with: shop.public.copies, sums: [total] }',
    beside: { dataset: 'shop.public.copies', rows: [{ total: 4 }, { total: 6 }] },
    passes: [{ total: 6 }, { total: 4 }],
    fails: [{ total: 4 }, { total: 5 }],
  },
  bind: (written, refuse) => {
    const parameters = written as Parameters; // As the schema has it.
    const everyMs = millis(parameters['every'] ?? '1h') ?? 0;
    if (everyMs < EVERY_MIN_MS) return refuse('databases are asked every second at most', 'Write every: 1s or more.', 'every');
    const isSource = parameters['with'] === 'source';
    for (const name of isSource ? OF_DATASETS : OF_SOURCE)
      if (parameters[name] !== undefined)
        return refuse(`${name} is for reconciling with ${isSource ? 'another dataset' : 'the source'}`, `Remove ${name}.`, name);
    return isSource ? withSource(parameters, everyMs) : withDataset(parameters, everyMs, refuse);
  },
};

function withSource(parameters: Parameters, everyMs: number): TimerRule {
  const { rate = 20_000, max_rows: most = 0 } = parameters;
  const question: Proof = { kind: 'proof', rate: rate as number };
  return { kind: 'proof', everyMs, question, say: (answer) => sayProof(answer, most as number) };
}

const unknown = (reason: string): TimerSaid => ({ verdict: 'indeterminate', observed: null, reason, rows: 0 });

/** Held and given up rows are as they should be; those of which nothing could be found out are no pass. */
function sayProof(
  { through, rows, state, isEqual, laneStands, differing, examples, undecided, lacking }: ProofAnswer,
  most: number,
): TimerSaid {
  if (state === 'copying') return unknown('the table is still being copied');
  const differ = Object.values(differing).reduce((sum, count) => sum + count, 0);
  const counts = Object.entries(differing).flatMap(([reason, count]) => (count === 0 ? [] : [`${count} ${reason}`]));
  const named = examples.length === 0 ? '' : `: ${examples.map(rowText).join('; ')}${differ > examples.length ? '; …' : ''}`;
  const text = `through ${through}, of ${rows} rows ${counts.length === 0 ? 'none differs' : counts.join(', ')}${named}`;
  if (isEqual || (differ > 0 && differ <= most && state === 'verified' && undecided === 0 && lacking.length === 0))
    return { verdict: 'pass', observed: differ, reason: text, rows };
  // A lane that stands has not brought everything yet.
  if (laneStands) return unknown('the lane stands still: what it has not brought yet cannot be told from what is lost');
  if (differ > most) return { verdict: 'fail', observed: differ, reason: text, rows };
  if (undecided > 0) return { ...unknown(`of ${undecided} rows it could not be found out whether they differ`), rows };
  return { verdict: 'fail', observed: differ, reason: `the target lacks the columns ${lacking.join(', ')}`, rows };
}

/** Columns of a table that are named. */
const COLUMNS_MAX = 8;

function rowText({ key, reason, columns }: DifferingRow): string {
  const named = columns.length > COLUMNS_MAX ? [...columns.slice(0, COLUMNS_MAX), '…'] : columns;
  return `${key} ${reason}${named.length === 0 ? '' : ` (${named.join(', ')})`}`;
}

function withDataset(parameters: Parameters, everyMs: number, refuse: Refuse): TimerRule | null {
  const { with: other, rows = true, sums = [], checksum = null, tolerance = 0, timeout = '30s' } = parameters;
  const timeoutMs = millis(timeout) ?? 0;
  if (timeoutMs < 1) return refuse('a query takes some time', 'Write timeout: 30s, or another time.', 'timeout');
  if (timeoutMs > TIMEOUT_MAX_MS) return refuse('a query may take seven days at most', 'Write timeout: 7d or less.', 'timeout');
  const pairs = Array.isArray(sums)
    ? sums.map((name: string) => [name, name] as const)
    : Object.entries(sums as Readonly<Record<string, string>>);
  if (rows === false && pairs.length === 0 && checksum === null)
    return refuse('nothing is compared', 'Leave rows out, or write sums or checksum.', 'rows');
  // As the schema has them.
  const question: Comparison = {
    kind: 'comparison',
    side: 'target',
    other: other as string,
    sums: pairs,
    checksum: checksum as readonly string[] | null,
    timeoutMs,
  };
  return { kind: 'comparison', everyMs, question, say: (answer) => sayComparison(question, answer, rows === true, tolerance as number) };
}

/** Exactly, to the last digit. */
function sayComparison({ other, sums, checksum }: Comparison, answer: ComparisonAnswer, rows: boolean, tolerance: number): TimerSaid {
  const measures = [
    ...(rows ? [{ name: 'rows', pair: answer.rows, within: tolerance }] : []),
    ...sums.map(([name], i) => ({ name, pair: answer.sums[i] ?? (['', ''] as const), within: tolerance })),
    ...(checksum === null ? [] : [{ name: 'checksum', pair: answer.checksums, within: 0 }]),
  ];
  const differing = measures.filter(({ pair: [own, theirs], within }) => !isNear(own, theirs, within));
  const text = ({ name, pair: [own, theirs] }: (typeof measures)[number]) =>
    name === 'checksum'
      ? `other values${onlyText(answer, other)}`
      : `${name === 'rows' ? 'rows' : `sum of ${name}`}: ${own}, and there ${theirs}`;
  return {
    verdict: differing.length === 0 ? 'pass' : 'fail',
    observed: Object.fromEntries(measures.map(({ name, pair }) => [name, pair])),
    reason: differing.length === 0 ? null : `it differs from ${other}: ${differing.map(text).join('; ')}`,
    rows: Number(answer.rows[0]),
  };
}

function onlyText({ onlyOwn, onlyTheirs }: ComparisonAnswer, other: string): string {
  const own = onlyOwn.length === 0 ? [] : [`only here ${onlyOwn.join(', ')}`];
  const theirs = onlyTheirs.length === 0 ? [] : [`only in ${other} ${onlyTheirs.join(', ')}`];
  return own.length + theirs.length === 0 ? '' : `, such as ${[...own, ...theirs].join(', and ')}`;
}

function isNear(own: string, theirs: string, tolerance: number): boolean {
  if (own === theirs) return true;
  const [a, b, share] = [decimalOf(own), decimalOf(theirs), decimalOf(tolerance)];
  // Not a number, or infinite.
  if (a === null || b === null || share === null) return false;
  const scale = Math.max(a.scale, b.scale);
  const [x, y] = [scaled(a, scale), scaled(b, scale)];
  return magnitude(x - y) * 10n ** BigInt(share.scale) <= magnitude(y) * share.unscaled;
}

const scaled = ({ unscaled, scale }: Decimal, to: number): bigint => unscaled * 10n ** BigInt(to - scale);
const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);
