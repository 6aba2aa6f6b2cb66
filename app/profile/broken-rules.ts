/** How often the rules of a file are broken by rows that go by. */
import type { Dataset, Row } from '../../core/event.ts';
import { isError } from '../../core/problems.ts';
import { type CompiledChecks, compileContract } from '../../quality/compile.ts';
import type { Contract } from '../../quality/contract.ts';
import { Outcome } from '../../quality/outcome.ts';
import type { ProfileChange } from '../../quality/profile/compare.ts';
import type { TableProfile } from '../../quality/profile/propose.ts';
import { outcomeOf, readEvent } from '../../quality/read-event.ts';
import { BrokenWindows } from './broken-windows.ts';

export class BrokenRules {
  readonly #contract: Contract;
  #checks: CompiledChecks | null = null;
  #unusable: readonly ProfileChange[] = [];
  #dataset: Dataset | null = null;
  #failed: number[] = [];
  #rows = 0;
  readonly #windows: BrokenWindows;

  constructor(contract: Contract) {
    this.#contract = contract;
    this.#windows = new BrokenWindows(contract);
  }

  begin(dataset: Dataset): void {
    const compiled = compileContract(this.#contract, dataset);
    this.#dataset = dataset;
    this.#windows.begin(dataset);
    if ('rules' in compiled) this.#checks = compiled;
    else
      this.#unusable = compiled
        .filter(isError)
        .map(({ path, message }) => ({ kind: 'rule', column: null, message: `${path}: ${message}` }));
    this.#failed = this.#contract.checks.map(() => 0);
  }

  see(row: Row): void {
    this.#rows++;
    if (this.#checks === null || this.#dataset === null) return;
    const event = readEvent(row, this.#dataset);
    this.#windows.see(row, event);
    for (const { index, test } of this.#checks.byOperation.read)
      if (outcomeOf(test, event) !== Outcome.Pass) this.#failed[index] = (this.#failed[index] ?? 0) + 1;
  }

  /** What the rows say against the rules, and what could be said besides. */
  changes({ rules: proposed, columns }: Pick<TableProfile, 'rules' | 'columns'>): readonly ProfileChange[] {
    const broken = this.#contract.checks.flatMap(({ id, column }, at): ProfileChange[] => {
      const failed = this.#failed[at] ?? 0;
      return failed === 0 ? [] : [{ kind: 'rule', column, message: `${id} fails for ${failed} of ${this.#rows} rows` }];
    });
    // Other rows are asked of the target; here those that were seen are beside each other.
    const doubled = this.#contract.checks.flatMap(({ id, column, expectation }): ProfileChange[] => {
      const isDoubled = expectation.asksTarget === 'all rows' && columns.some(({ name, unique }) => name === column && unique === false);
      return isDoubled ? [{ kind: 'rule', column, message: `${id} fails: there are values that come twice` }] : [];
    });
    const known = new Set([
      ...this.#contract.checks.map(({ column, expectation, id }) => (column === null ? id : `${column}.${expectation.name}`)),
      ...this.#contract.live.checks.map(({ id }) => id),
      ...this.#contract.live.clock.map(({ id }) => id),
      ...this.#contract.live.timers.map(({ id }) => id),
    ]);
    const more = proposed
      .filter(({ id }) => !known.has(id))
      .map(({ id, column, evidence }): ProfileChange => ({ kind: 'rule', column, message: `${id} could be a rule as well: ${evidence}` }));
    return [...this.#unusable, ...broken, ...doubled, ...this.#windows.changes(), ...more];
  }
}
