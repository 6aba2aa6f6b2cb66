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
/** What is said elsewhere, or is always so. */
const given = (message: string, fix: string): Later => ({ severity: 'warning', message, fix });
const needed = (what: string, fix: string): Later => ({ severity: 'error', message: `${what} is not supported yet`, fix });

/** By path in the file; a path ends the search, so nothing below it is looked at. */
export const LATER_PATHS: Readonly<Record<string, Later>> = {
  'source.topics': given('topics are not named here: the config says what a source reads', 'Remove it.'),
  'source.envelope': given('envelope is not needed: the source knows the form of its records', 'Remove it.'),
  'source.key': given('key is not needed: it is that of the table', 'Remove it.'),
  'source.image': given(
    'image is not used: checks judge the new row, and of a delete the old one',
    'Remove it. In where and expr, before.<column> is the old row.',
  ),
  'schema.format': { severity: 'warning', message: 'format is not needed: the registry says it', fix: 'Remove it.' },
  'breaker.half_open': given(
    'half_open is not used: a breaker that has opened is closed by whoever resumes the pipeline',
    'Remove it, and resume the pipeline once the cause is mended.',
  ),
  'quarantine.redact': needed('redact', 'Remove it. Findings show no values unless a check allows them; held events are kept whole.'),
  'quarantine.topic': described('topic'),
  'quarantine.body': described('body'),
  'quarantine.headers': described('headers'),
  'quarantine.key_fence': needed('key_fence', 'Write `hold: key` at the top of the file instead: later events of a held key wait.'),
  'quarantine.retention': given('retention is not used: what is held is never thrown away for its age', 'Remove it.'),
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

/** Parameters of checks, by the name of the check. */
const LATER_PARAMETERS: Readonly<Record<string, Readonly<Record<string, Later>>>> = {
  unique: { within: needed('unique within a time', 'Write unique: true, over all rows; or, window by window, duplicates: { max: 0 }.') },
  quantiles: { error: needed('an error of your own', 'Remove it: docs/windows.md says how exact quantiles are.') },
  drift: { every: needed('every, within drift,', 'Write window: { every: 1h } beside drift.') },
  reconcile: {
    by: needed('by', 'Remove it: rows are compared one by one, and those that differ are named by their keys.'),
    buckets: needed('buckets', 'Remove it: rows are compared one by one, and those that differ are named by their keys.'),
  },
};

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
      'Write while_open: hold (the lane stops), or leave the breaker out: rows that fail are in quarantine all the same.',
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
    if (later === undefined) kept.push([name, withoutLaterParameters(name, value, keys, rules)]);
    else rules.refuse([...keys, name], later.message, later.fix);
  }
  return Object.fromEntries(kept);
}

function withoutLaterParameters(name: string, value: unknown, keys: Keys, rules: RuleText): unknown {
  const known = Object.hasOwn(LATER_PARAMETERS, name) ? LATER_PARAMETERS[name] : undefined;
  if (known === undefined || !isObject(value)) return value;
  const kept = Object.entries(value).filter(([parameter]) => {
    const later = Object.hasOwn(known, parameter) ? known[parameter] : undefined;
    if (later !== undefined) rules.refuse([...keys, name, parameter], later.message, later.fix);
    return later === undefined;
  });
  return name === 'unique' && kept.length === 0 ? true : Object.fromEntries(kept);
}
