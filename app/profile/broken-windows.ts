/** What the window checks of a file say of all rows that go by, as of one window: not how many these are, which says nothing of how many come in one. */
import type { ChangeEvent, Dataset, Row } from '../../core/event.ts';
import type { Contract } from '../../quality/contract.ts';
import { bindSets, type Binding } from '../../quality/live/binding.ts';
import { budgetOf } from '../../quality/live/budget.ts';
import { Fold } from '../../quality/live/fold.ts';
import { judgeWindow } from '../../quality/live/judge.ts';
import { SetMemory } from '../../quality/live/memory.ts';
import { planSets, type SetPlan } from '../../quality/live/slots.ts';
import type { ProfileChange } from '../../quality/profile/compare.ts';

/** How often what is kept is held against its cap. */
const LOOK_ROWS = 1000;

export class BrokenWindows {
  readonly #contract: Contract;
  readonly #plans: readonly SetPlan[];
  /** Of the rows that were held against the cap; those after them have folds of their own, for what has gone over to sketches takes no single rows. */
  readonly #wholes: readonly Fold[];
  #added: readonly Fold[];
  readonly #bytesMax: number;
  #binding: Binding | null = null;
  #rows = 0;

  constructor(contract: Contract) {
    const checks = contract.live.checks.filter(({ countsRows, groupBy }) => !countsRows && groupBy.length === 0);
    this.#contract = contract;
    this.#plans = planSets(checks);
    this.#wholes = this.#emptyFolds();
    this.#added = this.#emptyFolds();
    this.#bytesMax = budgetOf(contract.live).valueBytes / Math.max(1, this.#plans.length);
  }

  begin(dataset: Dataset): void {
    this.#binding = bindSets(this.#contract, this.#plans, dataset);
  }

  /** `event`: that the row was read. */
  see(row: Row, event: ChangeEvent): void {
    this.#rows++;
    for (const [at, fold] of this.#added.entries()) fold.add(this.#binding?.sets[at]?.readers ?? [], event, row, null);
    if (this.#rows % LOOK_ROWS === 0) this.#merge();
  }

  changes(): readonly ProfileChange[] {
    this.#merge();
    return this.#plans.flatMap((plan, at) => {
      const fold = this.#wholes[at];
      // Of no window before it anything is remembered.
      const memory = new SetMemory(
        plan.checks.map(({ check }) => check),
        [],
      );
      const findings = fold === undefined ? [] : judgeWindow(this.#contract, plan, { startMs: 0, group: '', memory, beside: null }, fold);
      return findings
        .filter(({ verdict }) => verdict === 'fail')
        .map(({ rule, column, observed }): ProfileChange => {
          const shown = observed === null ? '' : `, with ${observed} observed`;
          return { kind: 'rule', column, message: `${rule} fails over the ${this.#rows} rows${shown}` };
        });
    });
  }

  #merge(): void {
    for (const [at, whole] of this.#wholes.entries()) {
      const added = this.#added[at];
      if (added !== undefined) whole.merge(added);
      lessen(whole, this.#bytesMax);
    }
    this.#added = this.#emptyFolds();
  }

  #emptyFolds(): readonly Fold[] {
    return this.#plans.map(({ slots }) => new Fold(slots));
  }
}

function lessen(fold: Fold, bytesMax: number): void {
  for (const slot of fold.slots) {
    if (slot.bytes > bytesMax) slot.condense();
    if (slot.bytes > bytesMax) slot.giveUp();
  }
}
