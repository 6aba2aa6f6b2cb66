/** On which side a row is by one revision of a dataset's rules: let through, or taken out of the flow; and by which of them. */
import { Verdict } from '../../core/batch.ts';
import type { ChangeEvent, Dataset } from '../../core/event.ts';
import { compileContract, type Rule } from '../../quality/compile.ts';
import type { Contract } from '../../quality/contract.ts';
import { Outcome } from '../../quality/outcome.ts';
import { outcomeOf } from '../../quality/read-event.ts';

export interface Broken {
  readonly rule: Rule;
  /** As a finding has it: no value of the row unless the rules allow it. */
  readonly message: string;
}

export interface Side {
  /** Whether the row would be held or dropped. */
  readonly out: boolean;
  readonly broken: readonly Broken[];
}

const IN: Side = { out: false, broken: [] };

export class Sides {
  readonly #contract: Contract | null;
  readonly #compiled = new WeakMap<Dataset, readonly Rule[]>();
  /** Rules that cannot be used on some of the rows, with the reason. */
  readonly unusable = new Map<string, string>();

  /** Of what is in shadow mode, what it would do if it were not. */
  constructor(contract: Contract | null) {
    this.#contract = contract === null ? null : { ...contract, mode: 'enforce' };
  }

  judge(event: ChangeEvent): Side {
    const broken: Broken[] = [];
    for (const rule of this.#rulesOf(event.dataset)) {
      if (!rule.ops.includes(event.op)) continue;
      const outcome = outcomeOf(rule.test, event);
      if (outcome !== Outcome.Pass) broken.push({ rule, message: rule.describe(event, outcome) });
    }
    return broken.length === 0 ? IN : { out: broken.some(({ rule }) => rule.verdict >= Verdict.Drop), broken };
  }

  /** Each rule by itself: one that does not fit these rows, be it over windows, says nothing against the others. */
  #rulesOf(dataset: Dataset): readonly Rule[] {
    const known = this.#compiled.get(dataset);
    if (known !== undefined || this.#contract === null) return known ?? [];
    const contract = this.#contract;
    const rules = contract.checks.flatMap((check) => {
      const compiled = compileContract({ ...contract, schema: null, live: { ...contract.live, checks: [] }, checks: [check] }, dataset);
      if ('rules' in compiled) return compiled.rules;
      this.unusable.set(check.id, compiled.find(({ severity }) => severity === 'error')?.message ?? 'it does not fit the table');
      return [];
    });
    this.#compiled.set(dataset, rules);
    return rules;
  }
}
