/** expr: a condition over the change, in the expression language of core/expression.ts. */
import { compileExpression } from '../../core/expression.ts';
import { defineExpectation } from '../expectation.ts';
import { Outcome } from '../outcome.ts';

export const expr = defineExpectation({
  name: 'expr',
  on: 'either',
  judgesNulls: false,
  schema: {
    type: 'string',
    minLength: 1,
    title: 'Expression',
    description:
      "A condition that holds for every row, in a subset of CEL: 'after.total == after.net + after.tax'. Where it is unknown (something it computes with is null), `nulls` decides.",
  },
  bind: (text, site) => {
    const compiled = compileExpression(text, { dataset: site.dataset, path: site.path(), want: 'bool' });
    if (compiled.kind === 'refused') {
      for (const { message, fix } of compiled.problems) site.refuse(message, fix);
      return null;
    }
    const { evaluate } = compiled;
    if (compiled.constant) return site.refuse('says the same of every row', 'Write a condition on after.<column>.');
    const whenUnknown = site.nulls === 'fail' ? Outcome.Fail : Outcome.Pass;
    return {
      columns: compiled.columns,
      reason: `the condition ${text.replaceAll(/\s+/g, ' ').trim()} does not hold`,
      test: (_, event) => {
        const holds = evaluate(event);
        return holds === true ? Outcome.Pass : holds === false ? Outcome.Fail : whenUnknown;
      },
    };
  },
});
