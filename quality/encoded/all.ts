/**
 * Several tests of a row as one. A loop over them calls whatever stands in a list, which the compiler can't see through; the function made here has
 * a call of its own for each test, so that it compiles each where it is called. Of ten tests that is a fifth of the time
 * (docs/decisions/0026-the-tests-of-a-row-are-compiled-into-one.md).
 */
import { Outcome } from '../outcome.ts';
import type { EncodedTest } from './cells.ts';

/** Whether a row passes all of them. */
export type AllPass = (...row: Parameters<EncodedTest>) => boolean;

type Make = (...tests: readonly EncodedTest[]) => AllPass;

/** Null where one of them can't judge encoded rows. */
export function allPass(tests: readonly (EncodedTest | null)[]): AllPass | null {
  if (!tests.every((test) => test !== null)) return null;
  const names = tests.map((_, at) => `test${at}`);
  const calls = names.map((name) => `${name}(row, event) === ${Outcome.Pass}`);
  // Nothing of a rule is in its text but how many there are.
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function(...names, `return (row, event) => ${calls.join(' && ') || 'true'};`) as Make;
  return make(...tests);
}
