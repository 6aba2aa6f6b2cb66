/** What is wrong with a config or with rule files, in a file of its own: commands that start no service need not load one. */
import type { Problem } from '../core/problems.ts';

/** A config or rule files that must not run: every problem at once. */
export class ConfigProblems extends Error {
  override readonly name = 'ConfigProblems';
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super(problems.map(({ path, message }) => `${path}: ${message}`).join('; '));
    this.problems = problems;
  }
}
