/** Regular expressions from rule files: always in linear time, refused where that cannot be. */
import { RE2JS } from 're2js';
import { nativeSource } from './regex-native.ts';

/** Searches `text` for the pattern: true where it is found anywhere in it. */
export interface SafeRegex {
  readonly pattern: string;
  /** `native`: proven to be free of backtracking and run by V8. `re2`: run by the linear-time engine. */
  readonly engine: 'native' | 're2';
  readonly test: (text: string) => boolean;
}

/** A pattern in RE2's syntax, or why it is refused (look-around and back-references have no linear-time match). */
export function compileRegex(pattern: string): SafeRegex | { readonly refused: string; readonly fix: string } {
  let linear: RE2JS;
  try {
    linear = RE2JS.compile(pattern);
  } catch (error) {
    return refusal(pattern, error instanceof Error ? error.message : 'not understood');
  }
  const source = nativeSource(pattern);
  if (source !== null) {
    const native = new RegExp(source, 'u');
    return { pattern, engine: 'native', test: (text) => native.test(text) };
  }
  return { pattern, engine: 're2', test: (text) => linear.matcher(text).find() };
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
