/** null_rate, and the share of values that are there. */
import { createHash } from 'node:crypto';
import type { GxExpectation, Word, WordExample } from '../gx/expectation.ts';
import { BOUNDS, type Kwargs, refuse } from '../gx/kwargs.ts';
import { membership } from '../gx/values.ts';
import type { FileCell, Present } from '../states/cell.ts';
import { type Counts, type Encoded, type State, type StateKind, wholeOf } from '../states/state.ts';
import { defineAggregate, defineMetric, withinBounds } from './aggregate.ts';
import { nothing, windowCheck } from './check.ts';
import { boundsKwargs, metricWord, rowsOf } from './words.ts';

/** How many values are there that stand for none. */
class Tokens implements State {
  readonly #isToken: (cell: Present) => boolean;
  count: number;

  constructor(isToken: (cell: Present) => boolean, count = 0) {
    this.#isToken = isToken;
    this.count = count;
  }

  put(cell: Present, times: 1 | -1): void {
    if (this.#isToken(cell)) this.count += times;
  }

  add(cell: Present): void {
    this.put(cell, 1);
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  encode(): Encoded {
    return this.count;
  }
}

/** Other tokens count other values, and are kept under another name. */
function tokensIn(values: readonly FileCell[], kwargs: Kwargs): StateKind<Tokens> {
  const isToken = membership(values, kwargs) ?? (() => false);
  const written = createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 16);
  return {
    name: `tokens ${written}`,
    retracts: true,
    size: 'fixed',
    create: () => new Tokens(isToken),
    merge: (into, from) => {
      into.count += from.count;
      return into;
    },
    retract: (state, cell) => state.put(cell, -1),
    decode: (encoded) => new Tokens(isToken, wholeOf(encoded)),
  };
}

/** The number of rows that are meant, of those that there are. */
type Part = (missing: number, rows: number) => number;

/** As the metric of that word, where some values stand for none. */
function withTokens(name: string, part: Part): GxExpectation {
  return defineAggregate({
    name,
    takes: [...BOUNDS, 'tokens'],
    window: (kwargs) => {
      const bounds = kwargs.bounds();
      if (bounds.min === null && bounds.max === null) refuse('max', 'is missing', 'Write the greatest share, or min.');
      const test = withinBounds(bounds, kwargs.nowMs);
      return windowCheck(tokensIn(kwargs.valueSet('tokens') ?? [], kwargs), ({ count }: Tokens, { rows, missing }) =>
        test(share(part(missing + count, rows), rows)),
      );
    },
  });
}

function rateWord(name: string, title: string, description: string, expectation: GxExpectation, example: WordExample): Word {
  const word = metricWord(name, title, `${description} Values among \`tokens\`, such as "" or n/a, count as none too.`, example);
  const { properties } = word.schema as { readonly properties: Readonly<Record<string, unknown>> };
  const tokens = {
    type: 'array',
    minItems: 1,
    items: { type: ['number', 'string', 'boolean'] },
    title: 'Tokens',
    description: 'Values that stand for none, beside null: texts to the letter, numbers and dates by their values.',
  };
  return {
    ...word,
    schema: { ...word.schema, properties: { ...properties, tokens } },
    or: {
      key: 'tokens',
      expectation,
      kwargs: (parameters) => ({ ...boundsKwargs(parameters), tokens: (parameters as Readonly<Record<string, unknown>>)['tokens'] }),
    },
  };
}

const present: Part = (missing, rows) => rows - missing;
const absent: Part = (missing) => missing;

export const nonNullRateOfTokens = withTokens('non_null_rate_of_tokens', present);
export const nullRateOfTokens = withTokens('null_rate_of_tokens', absent);

export const nonNullRate = defineMetric({
  name: 'expect_column_proportion_of_non_null_values_to_be_between',
  word: rateWord(
    'non_null_rate',
    'Share of values',
    'The share of rows that have a value lies between bounds from 0 to 1.',
    nonNullRateOfTokens,
    { rule: 'email: [{ non_null_rate: { min: 0.5 } }]', passes: rowsOf('email', 'a@b.c', null), fails: rowsOf('email', null, null) },
  ),
  kind: nothing,
  observe: (_, { rows, missing }) => share(present(missing, rows), rows),
});

export const nullRate = defineMetric({
  name: 'null_rate',
  word: rateWord('null_rate', 'Share of nulls', 'The share of rows without a value lies between bounds from 0 to 1.', nullRateOfTokens, {
    rule: 'email: [{ null_rate: { max: 0.5, tokens: ["", n/a] } }]',
    passes: rowsOf('email', 'a@b.c', 'N/A', 'n/a', null),
    fails: rowsOf('email', 'a@b.c', '', 'n/a', null),
  }),
  kind: nothing,
  observe: (_, { rows, missing }) => share(absent(missing, rows), rows),
});

const share = (part: number, rows: Counts['rows']): Present | null => (rows === 0 ? null : part / rows);
