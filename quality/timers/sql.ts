/** sql: a query that returns rows which should not be there, a number between bounds, or whether all is well. */
import { decimalOf } from '../../core/expression/decimal.ts';
import { durationSchema as duration } from '../../core/duration.ts';
import { millis } from '../live/check.ts';
import { isWithin } from '../windows/bounds.ts';
import { boundsKwargs } from '../windows/words.ts';
import type { Parameters, Query, QueryAnswer, TimerExpectation, TimerSaid } from './check.ts';

const EVERY_MIN_MS = 1000;
const TIMEOUT_MAX_MS = 7 * 86_400_000;
const BOUNDS = ['between', 'min', 'max'] as const;
const bound = { type: 'number' } as const;

export const sql: TimerExpectation = {
  name: 'sql',
  gx: {
    name: 'unexpected_rows_expectation',
    takes: ['unexpected_rows_query', 'description', 'result_format', 'catch_exceptions', 'meta', 'severity'],
    parameters: ({ unexpected_rows_query: query }) => ({ query }),
  },
  schema: {
    title: 'Query',
    description:
      'A query that is asked again and again, of the target or of the source, in a transaction that only reads. It returns rows that should not be there, of which there have to be none; or one number between bounds; or one boolean, which has to be true. `{batch}` stands for the table of the dataset. A query that fails, or takes too long, says neither.',
    type: ['string', 'object'],
    minLength: 1,
    additionalProperties: false,
    required: ['query'],
    properties: {
      query: { type: 'string', minLength: 1, description: 'One statement that returns rows, such as select … from {batch} where ….' },
      on: { enum: ['target', 'source'], default: 'target', description: 'Which of the two databases is asked.' },
      every: { ...duration, default: '5m', description: 'How often, counted from midnight in UTC; 1s at least.' },
      timeout: { ...duration, default: '30s', description: 'How long the query may take.' },
      returns: {
        enum: ['rows', 'number', 'boolean'],
        description: 'What it returns. Default: number where there are bounds, else rows that should not be there.',
      },
      between: {
        type: 'array',
        minItems: 2,
        maxItems: 2,
        items: { type: ['number', 'null'] },
        description: 'The least and the greatest number in a list; null is open.',
      },
      min: { ...bound, description: 'The least number.' },
      max: { ...bound, description: 'The greatest number.' },
      strict_min: { type: 'boolean', default: false, description: 'It has to be greater than min.' },
      strict_max: { type: 'boolean', default: false, description: 'It has to be less than max.' },
    },
  },
  example: {
    rule: '- sql: { query: "select sum(total) from {batch}", min: 10 }',
    passes: [{ total: 4 }, { total: 6 }],
    fails: [{ total: 4 }, { total: 5 }],
  },
  bind: (written, refuse) => {
    const parameters = (typeof written === 'string' ? { query: written } : written) as Parameters; // As the schema has it.
    const { query, on = 'target', every = '5m', timeout = '30s', returns } = parameters;
    const hasBounds = BOUNDS.some((name) => parameters[name] !== undefined);
    const kind = returns ?? (hasBounds ? 'number' : 'rows');
    if (hasBounds && kind !== 'number')
      return refuse(`bounds are for a number, and the query returns ${kind as string}`, 'Remove returns, or the bounds.', 'returns');
    if (kind === 'number' && !hasBounds)
      return refuse('a number is held against bounds, and there are none', 'Write min, max or between.', 'returns');
    const everyMs = millis(every) ?? 0;
    const timeoutMs = millis(timeout) ?? 0;
    if (everyMs < EVERY_MIN_MS) return refuse('a query is asked every second at most', 'Write every: 1s or more.', 'every');
    if (timeoutMs < 1) return refuse('a query takes some time', 'Write timeout: 30s, or another time.', 'timeout');
    if (timeoutMs > TIMEOUT_MAX_MS) return refuse('a query may take seven days at most', 'Write timeout: 7d or less.', 'timeout');
    const bounds = kind === 'number' ? numbersOf(parameters) : null;
    if (bounds !== null && bounds.min !== null && bounds.max !== null && bounds.min > bounds.max)
      return refuse('min is greater than max', 'Exchange them.', 'min');
    // As the schema has them.
    const question = { kind: 'query', side: on, sql: query, returns: kind, timeoutMs } as Query;
    return {
      kind: 'query',
      everyMs,
      question,
      say: (answer) => (kind === 'rows' ? sayRows(answer) : bounds === null ? sayBoolean(answer) : sayNumber(answer, bounds)),
    };
  },
};

interface Numbers {
  readonly min: number | null;
  readonly max: number | null;
  readonly strictMin: boolean;
  readonly strictMax: boolean;
}

function numbersOf(parameters: Parameters): Numbers {
  const { min_value: min, max_value: max, strict_min: above, strict_max: below } = boundsKwargs(parameters);
  return { min: (min ?? null) as number | null, max: (max ?? null) as number | null, strictMin: above === true, strictMax: below === true };
}

function sayRows({ rows, examples }: QueryAnswer): TimerSaid {
  const such = examples.length === 0 ? '' : `, such as ${examples.join(' and ')}`;
  return {
    verdict: rows === 0 ? 'pass' : 'fail',
    observed: rows,
    reason: rows === 0 ? null : `the query returned ${rows} rows${such}, and there should be none`,
    rows,
  };
}

const unknown = (reason: string): TimerSaid => ({ verdict: 'indeterminate', observed: null, reason, rows: 0 });

function oneOf({ rows, cell }: QueryAnswer): string | TimerSaid {
  if (rows !== 1) return unknown(`the query returned ${rows === 0 ? 'no row' : 'more than one row'}, and not one value`);
  return cell ?? unknown('the query returned null');
}

function sayBoolean(answer: QueryAnswer): TimerSaid {
  const cell = oneOf(answer);
  if (typeof cell !== 'string') return cell;
  const isTrue = cell === 't';
  return { verdict: isTrue ? 'pass' : 'fail', observed: isTrue, reason: isTrue ? null : 'the query returned false', rows: 0 };
}

function sayNumber(answer: QueryAnswer, bounds: Numbers): TimerSaid {
  const cell = oneOf(answer);
  if (typeof cell !== 'string') return cell;
  // Infinity is one too, and has no exact form.
  const value = decimalOf(cell) ?? Number(cell.toLowerCase() === 'nan' ? NaN : cell);
  if (typeof value === 'number' && Number.isNaN(value)) return unknown('the query returned no number');
  const passes = isWithin(value, bounds, () => null);
  const observed = Number(cell);
  return {
    verdict: passes ? 'pass' : 'fail',
    observed: Number.isFinite(observed) ? observed : cell,
    reason: passes ? null : `the query returned ${cell}`,
    rows: 0,
  };
}
