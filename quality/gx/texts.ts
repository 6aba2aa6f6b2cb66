/** Expectations of single cells by their text: patterns, formats, JSON. */
import { decimalText } from '../../core/expression/decimal.ts';
import { compileRegex } from '../../core/expression/regex.ts';
import { Decimal } from '../../core/expression/values.ts';
import { compileJsonSchema } from '../json-schemas.ts';
import { compileLike } from '../like.ts';
import { kindOf, Moment, type Present, Unusable } from '../states/cell.ts';
import { parseDate, strptime } from './dates.ts';
import { defineMap, type GxExpectation } from './expectation.ts';
import { type Kwargs, refuse } from './kwargs.ts';
import { parseJson } from './python-json.ts';

type TextTest = (text: string) => boolean;

export const matchRegex = onePattern('expect_column_values_to_match_regex', 'regex', regexTest, true, '(?s).*');
export const notMatchRegex = onePattern('expect_column_values_to_not_match_regex', 'regex', regexTest, false);
export const matchRegexList = patternList('expect_column_values_to_match_regex_list', 'regex_list', regexTest);
export const notMatchRegexList = noneOfList('expect_column_values_to_not_match_regex_list', 'regex_list', regexTest);
export const matchLike = onePattern('expect_column_values_to_match_like_pattern', 'like_pattern', likeTest, true);
export const notMatchLike = onePattern('expect_column_values_to_not_match_like_pattern', 'like_pattern', likeTest, false);
export const matchLikeList = patternList('expect_column_values_to_match_like_pattern_list', 'like_pattern_list', likeTest);
export const notMatchLikeList = noneOfList('expect_column_values_to_not_match_like_pattern_list', 'like_pattern_list', likeTest);

type Compile = (pattern: string, kwarg: string) => TextTest;

function onePattern(name: string, kwarg: string, compile: Compile, expected: boolean, byDefault?: string): GxExpectation {
  return defineMap({
    name,
    takes: [kwarg],
    bind: (kwargs) => {
      const test = compile(byDefault !== undefined && !kwargs.has(kwarg) ? byDefault : kwargs.text(kwarg), kwarg);
      return (cell) => test(textOf(cell)) === expected;
    },
  });
}

function patternList(name: string, kwarg: string, compile: Compile): GxExpectation {
  return defineMap({
    name,
    takes: [kwarg, 'match_on'],
    bind: (kwargs) => {
      const tests = kwargs.texts(kwarg).map((pattern) => compile(pattern, kwarg));
      const all = kwargs.oneOf('match_on', ['any', 'all'], 'any') === 'all';
      return (cell) => {
        const text = textOf(cell);
        return all ? tests.every((test) => test(text)) : tests.some((test) => test(text));
      };
    },
  });
}

function noneOfList(name: string, kwarg: string, compile: Compile): GxExpectation {
  return defineMap({
    name,
    takes: [kwarg],
    bind: (kwargs) => {
      const tests = kwargs.texts(kwarg).map((pattern) => compile(pattern, kwarg));
      return (cell) => {
        const text = textOf(cell);
        return !tests.some((test) => test(text));
      };
    },
  });
}

/** Python's str() of a value. */
function textOf(cell: Present): string {
  if (typeof cell === 'string') return cell;
  if (typeof cell === 'boolean') return cell ? 'True' : 'False';
  if (typeof cell === 'number' || typeof cell === 'bigint') return String(cell);
  if (cell instanceof Moment) return cell.text;
  return cell instanceof Decimal ? decimalText(cell) : JSON.stringify(cell);
}

const PYTHON = /\\u([\da-fA-F]{4})|\\([^])|\{,(\d+)\}|(\[\^?\]?)|(\])/g;
const LETTERS = { w: '\\p{L}\\p{N}_', d: '\\p{Nd}' } as const;

/** What Python writes otherwise: `\w` and `\d` are of all scripts, `\Z` is the end, `{,3}` begins with none, `\u00e9` is a character. */
function ofPython(pattern: string): string {
  const isAscii = /^\(\?[ims]*a/.test(pattern);
  let inClass = false;
  return pattern.replace(PYTHON, (all: string, code?: string, escaped?: string, most?: string, opening?: string, closing?: string) => {
    if (code !== undefined) return `\\x{${code}}`;
    if (most !== undefined) return inClass ? all : `{0,${most}}`;
    if (opening !== undefined) {
      if (inClass) return all;
      inClass = true;
    }
    if (closing !== undefined) inClass = false;
    if (escaped === undefined || isAscii) return escaped === 'Z' ? '\\z' : all;
    switch (escaped) {
      case 'w':
      case 'd':
        return inClass ? LETTERS[escaped] : `[${LETTERS[escaped]}]`;
      case 'W':
      case 'D':
        return inClass ? all : `[^${LETTERS[escaped === 'W' ? 'w' : 'd']}]`;
      case 'Z':
        return '\\z';
      default:
        return all;
    }
  });
}

/** Searched anywhere. In linear time where that can be; else, for look-around and back-references, by JavaScript. */
function regexTest(pattern: string, kwarg: string): TextTest {
  const compiled = compileRegex(ofPython(pattern));
  if (!('refused' in compiled)) return (text) => compiled.test(text);
  const flags = /^\(\?([aims]+)\)/.exec(pattern)?.[1] ?? '';
  const written = pattern
    .replace(/^\(\?[aims]+\)/, '')
    .replace(/\(\?P</g, '(?<')
    .replace(/\(\?P=(\w+)\)/g, '\\k<$1>')
    .replace(/\\A/g, '^')
    .replace(/\\Z/g, '$');
  try {
    const regex = new RegExp(written, `${flags.replace('a', '')}u`);
    return (text) => regex.test(text);
  } catch {
    return refuse(kwarg, `is no regex that can be used: ${compiled.refused}`, compiled.fix);
  }
}

function likeTest(pattern: string, kwarg: string): TextTest {
  const compiled = compileLike(pattern);
  return 'refused' in compiled ? refuse(kwarg, compiled.refused, compiled.fix) : compiled.test;
}

export const strftimeFormat = defineMap({
  name: 'expect_column_values_to_match_strftime_format',
  takes: ['strftime_format'],
  bind: (kwargs) => {
    const format = kwargs.text('strftime_format');
    const test = strptime(format);
    if (test === null)
      return refuse(
        'strftime_format',
        `cannot be used: strptime does not read ${format}`,
        'Write directives of strptime, such as %Y-%m-%d.',
      );
    return (cell) => test(onlyText(cell, 'strftime_format'));
  },
});

export const dateutilParseable = defineMap({
  name: 'expect_column_values_to_be_dateutil_parseable',
  bind: (kwargs) => (cell) => parseDate(onlyText(cell, 'column'), kwargs.nowMs) !== null,
});

function onlyText(cell: Present, kwarg: string): string {
  return typeof cell === 'string' ? cell : refuse(kwarg, `judges texts, and the column holds a ${kindOf(cell)}`, 'Name a column of texts.');
}

export const jsonParseable = defineMap({
  name: 'expect_column_values_to_be_json_parseable',
  bind: () => (cell) => typeof cell === 'string' && parseJson(cell) !== undefined,
});

export const jsonSchema = defineMap({
  name: 'expect_column_values_to_match_json_schema',
  takes: ['json_schema'],
  bind: (kwargs) => {
    const validate = schemaTest(kwargs);
    return (cell) => {
      const value = parseJson(onlyText(cell, 'json_schema'));
      if (value === undefined)
        throw new Unusable('column holds a text that is no JSON. Add expect_column_values_to_be_json_parseable to find it.');
      return validate(value);
    };
  },
});

function schemaTest(kwargs: Kwargs): (value: unknown) => boolean {
  const schema = kwargs.get('json_schema');
  if (typeof schema !== 'object' || schema === null)
    return refuse('json_schema', kwargs.has('json_schema') ? 'is no object' : 'is missing', 'Write a JSON Schema.');
  if (Object.keys(schema).length === 0) return () => true;
  const compiled = compileJsonSchema(schema);
  return 'refused' in compiled ? refuse('json_schema', compiled.refused, compiled.fix) : (value) => compiled.validate(value);
}
