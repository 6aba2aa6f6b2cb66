/** pair_in_set: the values of two columns are together one of the pairs that are listed. */
import { UNCHANGED, type Value } from '../../core/event.ts';
import { defineExpectation, type Site, typeOf } from '../expectation.ts';
import type { FromSchema } from '../schema-type.ts';
import { Outcome } from '../outcome.ts';
import { IGNORE_PAIR } from './pairs.ts';
import { type Canonical, canonicalizer, type Member } from './sets.ts';

const column = { type: 'string', minLength: 1 } as const;

export const PAIR_IN_SET = {
  type: 'object',
  title: 'Pairs',
  description: 'The values of two columns are together one of these pairs.',
  additionalProperties: false,
  required: ['column_A', 'column_B', 'pairs'],
  properties: {
    column_A: { ...column, description: 'One column.' },
    column_B: { ...column, description: 'The other.' },
    pairs: {
      type: 'array',
      minItems: 1,
      items: { type: 'array', minItems: 2, maxItems: 2, items: { type: ['number', 'string', 'boolean', 'null'] } },
      description: 'Lists of two values, of column_A and of column_B; null is a missing value.',
    },
    ignore_row_if: {
      ...IGNORE_PAIR,
      description: 'Rows that are not judged. Where one value is missing and the row is judged, a pair has to have null there.',
    },
  },
} as const;

type Parameters = FromSchema<typeof PAIR_IN_SET>;

export const pairInSet = defineExpectation({
  name: 'pair_in_set',
  on: 'row',
  judgesNulls: true,
  mixesKinds: true,
  schema: PAIR_IN_SET,
  bind: (parameters, site) => {
    if (parameters.column_A === parameters.column_B)
      return site.refuse(`pairs ${parameters.column_A} with itself`, 'Name two columns, or use in_set.');
    const first = sideOf(site, parameters.column_A, 'column_A');
    const second = sideOf(site, parameters.column_B, 'column_B');
    if (first === null || second === null) return null;
    const pairs = pairsOf(parameters, site, [first, second]);
    if (pairs === null) return null;
    const policy = parameters.ignore_row_if ?? 'both_values_are_missing';
    const [ignoresOne, ignoresBoth] = [policy === 'either_value_is_missing', policy !== 'neither'];
    const [a, b] = [first.index, second.index];
    return {
      columns: [a, b],
      reason: `${parameters.column_A} and ${parameters.column_B} are none of the ${parameters.pairs.length} allowed pairs`,
      test: (row) => {
        const x = row.value(a);
        const y = row.value(b);
        if (x === UNCHANGED || y === UNCHANGED) return Outcome.Pass;
        if (ignoresOne && (x === null || y === null)) return Outcome.Pass;
        if (ignoresBoth && x === null && y === null) return Outcome.Pass;
        return pairs.get(first.member(x))?.has(second.member(y)) === true ? Outcome.Pass : Outcome.Fail;
      },
    };
  },
});

interface Side {
  readonly name: string;
  readonly type: string;
  readonly index: number;
  readonly canonical: Canonical;
  readonly member: (value: Exclude<Value, typeof UNCHANGED>) => Member | null;
}

function sideOf(site: Site, name: string, at: 'column_A' | 'column_B'): Side | null {
  const index = site.columnIndex(name, at);
  const found = site.dataset.columns[index ?? -1];
  if (index === null || found === undefined) return null;
  const canonical = canonicalizer(found);
  if (canonical === null)
    return site.refuse(`${name} is ${typeOf(found)}, whose values cannot be listed`, 'Name another column, or use an expr.', at);
  return { name, type: typeOf(found), index, canonical, member: (value) => (value === null ? null : canonical.cell(value)) };
}

/** The second values by the first one; null where a value is none of its column. */
function pairsOf({ pairs, ignore_row_if: policy }: Parameters, site: Site, sides: readonly [Side, Side]) {
  const found = new Map<Member | null, Set<Member | null>>();
  let isValid = true;
  const memberOf = (pair: Parameters['pairs'][number], place: 0 | 1, at: number): Member | null => {
    const value = pair[place] ?? null;
    const { name, type, canonical } = sides[place];
    const member = value === null ? null : canonical.member(value);
    if (value === null || member !== null) return member;
    isValid = false;
    return site.refuse(`${JSON.stringify(value)} is no value of ${name}, which is ${type}`, canonical.fix, 'pairs', at, place);
  };
  for (const [at, pair] of pairs.entries()) {
    const [x, y] = [memberOf(pair, 0, at), memberOf(pair, 1, at)];
    const seconds = found.get(x) ?? new Set();
    if (isValid && seconds.has(y)) site.warn(`${JSON.stringify(pair)} is listed twice`, 'Remove one.', 'pairs', at);
    if (isValid && isIgnored(policy, x, y))
      site.warn(
        `${JSON.stringify(pair)} is never looked for: such rows are not judged`,
        'Remove it, or change ignore_row_if.',
        'pairs',
        at,
      );
    found.set(x, seconds.add(y));
  }
  return isValid ? found : null;
}

function isIgnored(policy: Parameters['ignore_row_if'], x: Member | null, y: Member | null): boolean {
  if (policy === 'neither') return false;
  return policy === 'either_value_is_missing' ? x === null || y === null : x === null && y === null;
}
