/** match_regex and match_like with their negative and list forms: searched in texts, in linear time. */
import { compileRegex } from '../../core/expression/regex.ts';
import type { RegexTable } from '../../core/expression/regex-table.ts';
import { textMatches } from '../encoded/tests.ts';
import { type Bound, columnOf, defineExpectation, type Site, textTests, typeOf } from '../expectation.ts';
import { compileLike } from '../like.ts';

interface Matcher {
  readonly test: (text: string) => boolean;
  /** The same for texts of ASCII; null where there is none. */
  readonly table: RegexTable | null;
}

const pattern = { type: 'string', title: 'Pattern' } as const;
const REGEX = 'a regex in RE2 syntax, searched anywhere in the value (write ^…$ for the whole of it)';
const LIKE = 'an SQL LIKE pattern (% any text, _ one character, \\ escapes), matched with the whole value';

function listSchema(of: string, negative: boolean) {
  return {
    title: 'Patterns',
    description: negative ? `None of these matches: each is ${of}.` : `One of these matches, or all with match_on: all. Each is ${of}.`,
    anyOf: [
      { type: 'array', minItems: 1, items: { type: 'string' } },
      {
        type: 'object',
        additionalProperties: false,
        required: ['patterns'],
        properties: {
          patterns: { type: 'array', minItems: 1, items: { type: 'string' }, description: 'The patterns.' },
          match_on: { enum: ['any', 'all'], default: 'any', description: 'Whether one match is enough or all have to match.' },
        },
      },
    ],
  } as const;
}

type ListParameters = readonly string[] | { readonly patterns: readonly string[]; readonly match_on?: 'any' | 'all' };

export const matchRegex = defineExpectation({
  name: 'match_regex',
  schema: { ...pattern, description: `The value matches ${REGEX}.` },
  bind: (parameters, site) => bindPatterns(site, regexes([parameters], site, false), 'any', false),
});

export const notMatchRegex = defineExpectation({
  name: 'not_match_regex',
  schema: { ...pattern, description: `The value does not match ${REGEX}.` },
  bind: (parameters, site) => bindPatterns(site, regexes([parameters], site, false), 'any', true),
});

export const matchRegexList = defineExpectation({
  name: 'match_regex_list',
  schema: listSchema(REGEX, false),
  bind: (parameters, site) => bindPatterns(site, regexes(listOf(parameters), site, true), matchOn(parameters), false),
});

export const notMatchRegexList = defineExpectation({
  name: 'not_match_regex_list',
  schema: listSchema(REGEX, true),
  bind: (parameters, site) => bindPatterns(site, regexes(listOf(parameters), site, true), 'any', true),
});

export const matchLike = defineExpectation({
  name: 'match_like',
  schema: { ...pattern, description: `The value matches ${LIKE}.` },
  bind: (parameters, site) => bindPatterns(site, likes([parameters], site, false), 'any', false),
});

export const notMatchLike = defineExpectation({
  name: 'not_match_like',
  schema: { ...pattern, description: `The value does not match ${LIKE}.` },
  bind: (parameters, site) => bindPatterns(site, likes([parameters], site, false), 'any', true),
});

export const matchLikeList = defineExpectation({
  name: 'match_like_list',
  schema: listSchema(LIKE, false),
  bind: (parameters, site) => bindPatterns(site, likes(listOf(parameters), site, true), matchOn(parameters), false),
});

export const notMatchLikeList = defineExpectation({
  name: 'not_match_like_list',
  schema: listSchema(LIKE, true),
  bind: (parameters, site) => bindPatterns(site, likes(listOf(parameters), site, true), 'any', true),
});

function listOf(parameters: ListParameters): readonly string[] {
  return 'patterns' in parameters ? parameters.patterns : parameters;
}

function matchOn(parameters: ListParameters): 'any' | 'all' {
  return 'patterns' in parameters ? (parameters.match_on ?? 'any') : 'any';
}

function regexes(patterns: readonly string[], site: Site, list: boolean): Matcher[] | null {
  return all(patterns, (text, index) => {
    const at = list ? [index] : [];
    if (isTrivial(text))
      return site.refuse('the regex matches every text', 'Write what the value has to look like, or remove the check.', ...at);
    const regex = compileRegex(text);
    return 'refused' in regex ? site.refuse(regex.refused, regex.fix, ...at) : regex;
  });
}

/** Patterns that are found in every text; the proof of more is not attempted. */
function isTrivial(text: string): boolean {
  return /^(?:\^?(?:\.\*\??)?|\$)$/.test(text);
}

function likes(patterns: readonly string[], site: Site, list: boolean): Matcher[] | null {
  return all(patterns, (text, index) => {
    const at = list ? [index] : [];
    if (/^%+$/.test(text))
      return site.refuse('the pattern matches every text', 'Write what the value has to look like, or remove the check.', ...at);
    const like = compileLike(text);
    return 'refused' in like ? site.refuse(like.refused, like.fix, ...at) : like;
  });
}

/** Everything or nothing, with the problems of all of them. */
function all(patterns: readonly string[], compile: (text: string, index: number) => Matcher | null): Matcher[] | null {
  const matchers = patterns.map(compile);
  return matchers.every((matcher) => matcher !== null) ? matchers : null;
}

function bindPatterns(site: Site, matchers: readonly Matcher[] | null, on: 'any' | 'all', negative: boolean): Bound | null {
  const column = columnOf(site);
  if (column.type !== 'text' && column.type !== 'json' && column.type !== 'other') {
    return site.refuse(
      `${column.name} is ${typeOf(column)}, and patterns are for texts`,
      'Use between or in_set, or an expr with string(…).',
    );
  }
  if (matchers === null) return null;
  const [only, ...more] = matchers;
  const matches =
    only !== undefined && more.length === 0
      ? only.test
      : on === 'all'
        ? (text: string) => matchers.every((matcher) => matcher.test(text))
        : (text: string) => matchers.some((matcher) => matcher.test(text));
  const tables = matchers.flatMap(({ table }) => (table === null ? [] : [table]));
  const encoded = tables.length === matchers.length ? textMatches(tables, on, negative) : undefined;
  const which =
    matchers.length === 1
      ? 'the pattern'
      : on === 'all'
        ? `all of the ${matchers.length} patterns`
        : `any of the ${matchers.length} patterns`;
  return {
    ...textTests(site, negative ? (text) => !matches(text) : matches, encoded),
    reason: negative
      ? `matches ${matchers.length === 1 ? 'the forbidden pattern' : `one of the ${matchers.length} forbidden patterns`}`
      : `does not match ${which}`,
    columns: [column.index],
  };
}
