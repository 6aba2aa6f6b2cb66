/** The rows that an expectation is about, said as a `where` of a live stream. */
import { isObject, type Keys, type RuleText } from '../rule-text.ts';
import { Unusable } from '../states/cell.ts';
import { askedRows } from './asked-rows.ts';
import { conditionInCel } from './condition-in-cel.ts';
import { Kwargs, ROWS } from './kwargs.ts';
import { CATALOGUE } from './registry.ts';

type Item = Readonly<Record<string, unknown>>;

/** Dates that say no year are of this year, or of another one. */
const TIMES_MS = [0, 2e12];

/**
 * A check by its name with what `row_condition` says in its `where`, and without that kwarg; as it is where it has none, or where its name takes none.
 * Null where it is refused.
 */
export function withRowsAsWhere(rules: RuleText, item: Item, keys: Keys): Item | null {
  const { expect: name, kwargs, where } = item;
  if (typeof name !== 'string' || !isObject(kwargs) || !ROWS.some((kwarg) => kwarg in kwargs)) return item;
  if (CATALOGUE.get(name)?.takesRows !== true) return item;
  const others = Object.fromEntries(Object.entries(kwargs).filter(([kwarg]) => !ROWS.includes(kwarg)));
  try {
    const [condition = null, later = null] = TIMES_MS.map((nowMs) => inCel(new Kwargs(kwargs, nowMs)));
    if (condition !== later) throw new Unusable('the row_condition has a date that says no year. Write it as 2026-11-24.');
    if (condition === null) return { ...item, kwargs: others };
    // What is no text was told by the schema.
    return { ...item, kwargs: others, where: typeof where === 'string' ? `(${where}) && ${condition}` : condition };
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    const [message = '', fix = 'Correct it.'] = error.message.split(/(?<=\.) (?=[^.]+\.?$)/);
    return rules.refuse([...keys, 'kwargs', 'row_condition'], `${name}: ${message.replace(/\.$/, '')}`, fix);
  }
}

function inCel(kwargs: Kwargs): string | null {
  const asked = askedRows(kwargs);
  return asked === null ? null : conditionInCel(asked.condition, asked.nullsDiffer);
}
