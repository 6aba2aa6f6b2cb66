/** Regular expressions from rule files: always in linear time, refused where that cannot be. */
import { RE2JS } from 're2js';
import { nativeSource } from './regex-native.ts';
import { positionsOf } from './regex-positions.ts';
import { parsePattern } from './regex-syntax.ts';
import { Found, RegexTable } from './regex-table.ts';

/** Searches `text` for the pattern: true where it is found anywhere in it. */
export interface SafeRegex {
  readonly pattern: string;
  /** `native`: proven to be free of backtracking and run by V8. `table`: of states, for texts of ASCII. `re2`: run by the linear-time engine, as are other texts. */
  readonly engine: 'native' | 'table' | 're2';
  readonly test: (text: string) => boolean;
  /** For texts of ASCII as bytes; null where there is none. */
  readonly table: RegexTable | null;
}

/** Beyond this length a text may fill V8's stack of places to come back to, although it never comes back far. */
const NATIVE_LENGTH_MAX = 100_000;

type Compiled = SafeRegex | { readonly refused: string; readonly fix: string };

/** A rule is tried on several kinds of columns, and compiled again for each shape of its table. */
const known = new Map<string, Compiled>();
const KNOWN_MAX = 1000;

/** A pattern in RE2's syntax, or why it is refused (look-around and back-references have no linear-time match). */
export function compileRegex(pattern: string): Compiled {
  const found = known.get(pattern);
  if (found !== undefined) return found;
  if (known.size >= KNOWN_MAX) known.clear();
  const compiled = compile(pattern);
  known.set(pattern, compiled);
  return compiled;
}

function compile(pattern: string): Compiled {
  let linear: RE2JS;
  try {
    linear = RE2JS.compile(pattern);
  } catch (error) {
    return refusal(pattern, error instanceof Error ? error.message : 'not understood');
  }
  const byEngine = (text: string) => linear.matcher(text).find();
  const parsed = parsePattern(pattern);
  const positions = parsed === null ? null : positionsOf(parsed.root);
  if (parsed === null || positions === null) return { pattern, engine: 're2', test: byEngine, table: null };
  const table = RegexTable.of(parsed, positions);
  const byTable = table === null ? byEngine : (text: string) => search(table, text, byEngine);
  const source = nativeSource(parsed, positions);
  if (source === null) return { pattern, engine: table === null ? 're2' : 'table', test: byTable, table };
  const native = new RegExp(source, 'u');
  return { pattern, engine: 'native', test: (text) => (text.length <= NATIVE_LENGTH_MAX ? native.test(text) : byTable(text)), table };
}

function search(table: RegexTable, text: string, otherwise: (text: string) => boolean): boolean {
  const found = table.inText(text);
  return found === Found.NotAscii ? otherwise(text) : found === Found.Yes;
}

function refusal(pattern: string, reason: string) {
  if (/\(\?(?:[=!]|<[=!])/.test(pattern)) {
    return {
      refused: 'the regex uses look-around, which can take time exponential in the length of a value',
      fix: 'Rewrite it without (?=…), (?!…), (?<=…), (?<!…): two checks, a not_match_regex, or an expr.',
    };
  }
  if (/\\[1-9]/.test(pattern)) {
    return {
      refused: 'the regex uses a back-reference, which can take time exponential in the length of a value',
      fix: 'Rewrite it without \\1 and the like, as an expr for instance.',
    };
  }
  return {
    refused: `the regex is not valid: ${reason.replace(/^error parsing regexp: /, '')}`,
    fix: 'Use the syntax of RE2 (https://github.com/google/re2/wiki/Syntax).',
  };
}
