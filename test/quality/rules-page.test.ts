/** docs/rules.md: every example is a rule file that loads, and judges the rows beside it as the page says. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { compileContract } from '../../quality/compile.ts';
import { parseContract } from '../../quality/contract.ts';
import { EXPECTATIONS } from '../../quality/expectations/registry.ts';
import { Outcome } from '../../quality/outcome.ts';
import { type Cells, FILE, HEAD, insert, lines, orders, removed, update } from './support.ts';

const page = readFileSync(new URL('../../docs/rules.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/^```yaml\n([^]*?)^```$/gm)].map(([, text = '']) => text);
const tried = new Map<string, Set<string>>();

function checksOf(text: string) {
  const parsed = parseContract(text.startsWith('apiVersion') ? text : HEAD + text, FILE);
  if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
  const compiled = compileContract(parsed.contract, orders);
  if (Array.isArray(compiled)) throw new Error(lines(compiled).join('\n'));
  return compiled;
}

describe.each(examples.map((text) => [text.split('\n').slice(0, 3).join(' '), text]))('%s', (_, text) => {
  test('loads without a problem', () => {
    expect(lines(checksOf(text).contract.warnings)).toEqual([]);
  });

  const rows = [...text.matchAll(/^# (passes|fails|cannot read) (\{.*?\})(?: -> (\{.*\}|deleted))?$/gm)];
  test.each(rows.map(([line, outcome = '', first = '', second]) => [line, outcome, first, second] as const))(
    '%s',
    (_, outcome, first, second) => {
      const { byOperation, contract } = checksOf(text);
      const event = eventOf(parse(first) as Cells, second);
      const outcomes = byOperation[event.op].map((rule) => {
        let found: Outcome;
        try {
          found = rule.test(event);
        } catch {
          found = Outcome.Unreadable;
        }
        const name = contract.checks[rule.index]?.expectation.name ?? '';
        tried.set(name, (tried.get(name) ?? new Set()).add(found === Outcome.Pass ? 'passes' : 'fails'));
        return found;
      });
      const worst = Math.max(0, ...outcomes);
      expect(['passes', 'fails', 'cannot read'][worst]).toBe(outcome);
    },
  );
});

function eventOf(row: Cells, then: string | undefined) {
  if (then === undefined) return insert(row);
  return then === 'deleted' ? removed(row) : update(row, parse(then) as Cells);
}

test('the page has an example of every check, of a row that passes and of one that fails', () => {
  // Those that ask the target have a page of their own, docs/keyed.md; those of a table say the same of every row.
  const missing = [...EXPECTATIONS.values()].filter(
    ({ name, asksTarget, judgesTable }) => asksTarget === null && !judgesTable && tried.get(name)?.size !== 2,
  );
  expect(missing).toEqual([]);
});
