/** Puts what a reference's file says in the place of its name, in a check that names one. */
import type { FileCheck } from '../contract.ts';
import { CATALOGUE } from '../gx/registry.ts';
import { isObject, type Keys, type RuleText } from '../rule-text.ts';
import { readReference } from './read.ts';

/** The content of a file beside the rule file, as JSON; undefined where it was refused. */
export type ReadBeside = (path: string, keys: Keys) => unknown;

/** The kwargs of the check with the reference in them; null where it is refused. */
export function withReference(
  rules: RuleText,
  { kwargs, keys, column, expectation }: Omit<FileCheck, 'id' | 'where' | 'missing' | 'missingIsDefault'>,
  read: ReadBeside,
): FileCheck['kwargs'] | null {
  const path = pathOf(kwargs);
  if (path === null || CATALOGUE.get(expectation)?.takes.includes('reference') !== true) return kwargs;
  const twice = ['bins', 'values', 'weights', 'tail_weights', 'other_weight'].find((name) => kwargs[name] !== undefined);
  if (twice !== undefined) return rules.refuse(keys, `${twice} and reference: one of them is needed, and no more`, `Remove ${twice}.`);
  const before = rules.problems.length;
  const value = read(path, keys);
  const unread = rules.problems.splice(before);
  for (const { message } of unread)
    rules.refuse(keys, `reference: ${message}`, 'Make it with `tidegate reference`, and put it beside the rule file.');
  if (unread.length > 0) return null;
  const reference = readReference(value);
  if (typeof reference === 'string')
    return rules.refuse(keys, `the file ${path} is no reference: ${reference}`, 'Make it again with `tidegate reference`.');
  const { bins, values, weights, tail_weights, other_weight } = reference;
  if (values !== undefined && (expectation === 'ks' || kwargs['metric'] === 'ks'))
    return rules.refuse(keys, `the reference ${path} is of values, and ks is about bins of numbers`, 'Make one with --bins.');
  if (column !== null && reference.column !== column)
    rules.warn(keys, `the reference ${path} is of the column ${reference.column}`, `Make one of ${column}.`);
  const given = { bins, values, weights, tail_weights, other_weight, reference_type: reference.type };
  return { ...kwargs, ...Object.fromEntries(Object.entries(given).filter(([, one]) => one !== undefined)) };
}

function pathOf({ reference }: FileCheck['kwargs']): string | null {
  const path = isObject(reference) ? reference['file'] : reference;
  return typeof path === 'string' ? path : null;
}
