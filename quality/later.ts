/** Parts of rule files that other versions read and this one does not: each is said, none is silently ignored. */

import { isObject, type Keys, type RuleText } from './rule-text.ts';

interface Later {
  /** `error` where leaving it out would leave something unjudged or unprotected. */
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly fix: string;
}

const described = (what: string): Later => ({
  severity: 'warning',
  message: `${what} is not supported yet and is not used`,
  fix: 'Remove it, or leave it for a later version.',
});
const needed = (what: string, fix: string): Later => ({ severity: 'error', message: `${what} is not supported yet`, fix });

/** By path in the file; a path ends the search, so nothing below it is looked at. */
export const LATER_PATHS: Readonly<Record<string, Later>> = {
  'source.topics': described('topics'),
  'source.envelope': described('envelope'),
  'source.key': described('key'),
  'source.image': described('image'),
  'schema.format': { severity: 'warning', message: 'format is not needed: the registry says it', fix: 'Remove it.' },
  'breaker.half_open': described('half_open'),
  'quarantine.redact': needed('redact', 'Remove it. Findings show no values unless a check allows them; held events are kept whole.'),
  'quarantine.topic': described('topic'),
  'quarantine.body': described('body'),
  'quarantine.headers': described('headers'),
  'quarantine.key_fence': needed('key_fence', 'Write `hold: key` at the top of the file instead: later events of a held key wait.'),
  'quarantine.retention': described('retention'),
  replay: described('replay'),
};

/** Modifiers that only window checks use. */
const OF_WINDOWS = ['window', 'group_by', 'max_groups', 'on_empty', 'min_rows'];

export const LATER_MODIFIERS: ReadonlyMap<string, Later> = new Map([
  ...OF_WINDOWS.map((name): [string, Later] => [
    name,
    { severity: 'error', message: `${name} belongs to checks over windows of a stream`, fix: 'Remove it.' },
  ]),
  ...['every', 'within'].map((name): [string, Later] => [name, needed(`${name}, beside a check,`, 'Remove it.')]),
]);

type Item = Readonly<Record<string, unknown>>;

/** Whether a modifier of an item is one of this version; `drop`: it says nothing where the file is read. */
type PassesModifier = (item: Item, name: string) => boolean | 'drop';

/** The file without the parts that belong to other versions, each of which is told. */
export function withoutLater(value: Item, rules: RuleText, passes: PassesModifier): Record<string, unknown> {
  const copy: Record<string, unknown> = { ...value };
  for (const [path, later] of Object.entries(LATER_PATHS)) {
    const [section = '', key] = path.split('.');
    const part = copy[section];
    if (key === undefined ? part === undefined : !isObject(part) || !(key in part)) continue;
    const keys = key === undefined ? [section] : [section, key];
    if (later.severity === 'error') rules.refuse(keys, later.message, later.fix);
    else rules.warn(keys, later.message, later.fix);
    if (key === undefined) delete copy[section];
    else copy[section] = Object.fromEntries(Object.entries(part as object).filter(([name]) => name !== key));
  }
  if (isObject(copy['quarantine']) && Object.keys(copy['quarantine']).length === 0) delete copy['quarantine'];
  const { breaker, columns, checks } = copy;
  if (isObject(breaker) && (breaker['while_open'] === 'divert' || breaker['while_open'] === 'pass')) {
    rules.refuse(
      ['breaker', 'while_open'],
      `while_open: ${breaker['while_open']} is not supported yet`,
      'Write while_open: hold (the lane stops), or remove it.',
    );
    copy['breaker'] = { ...breaker, while_open: 'hold' };
  }
  const itemOf = (item: unknown, keys: Keys) => itemWithoutLater(item, keys, rules, passes);
  if (isObject(columns)) {
    copy['columns'] = Object.fromEntries(
      Object.entries(columns).map(([column, items]) => [
        column,
        Array.isArray(items) ? items.map((item: unknown, index) => itemOf(item, ['columns', column, index])) : items,
      ]),
    );
  }
  if (Array.isArray(checks)) copy['checks'] = checks.map((item: unknown, index) => itemOf(item, ['checks', index]));
  return copy;
}

function itemWithoutLater(item: unknown, keys: Keys, rules: RuleText, passes: PassesModifier): unknown {
  if (!isObject(item)) return item;
  const kept: [string, unknown][] = [];
  for (const [name, value] of Object.entries(item)) {
    const passed = passes(item, name);
    if (passed === 'drop') continue;
    const later = passed ? undefined : LATER_MODIFIERS.get(name);
    if (later === undefined) kept.push([name, value]);
    else rules.refuse([...keys, name], later.message, later.fix);
  }
  return Object.fromEntries(kept);
}
