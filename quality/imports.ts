/** Suites of Great Expectations that a rule file names: each expectation is a check, as if it stood in the file by its name. */
import type { ReadBeside } from './reference/in-rules.ts';
import { CATALOGUE } from './gx/registry.ts';
import { itemsOf, type SuiteItem } from './gx/suite.ts';
import { judgesWindows } from './live/check.ts';
import { isObject, type Keys, type RuleText } from './rule-text.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface ImportedCheck {
  /** A check in the long form. */
  readonly item: Fields;
  readonly keys: Keys;
}

/** Their checks, in the order of the file. A suite that cannot be read is told, and has none. */
export function importedChecks(rules: RuleText, imports: unknown, read: ReadBeside): readonly ImportedCheck[] {
  if (!Array.isArray(imports)) return [];
  const names = new Map<string, number>();
  return imports.flatMap((written: unknown, index) => {
    // What is no path was told by the schema.
    if (!isObject(written) || typeof written['gx_suite'] !== 'string') return [];
    const at = ['imports', index, 'gx_suite'];
    const suite = read(written['gx_suite'], at);
    if (suite === undefined) return [];
    const items = itemsOf(suite);
    if (items === null) {
      rules.refuse(
        at,
        `the file ${written['gx_suite']} is no suite of Great Expectations`,
        'Give the JSON file that it wrote: {"expectations": […]}.',
      );
      return [];
    }
    return items.map((item, place) => ({ item: checkOf(item, written, names), keys: ['imports', index, 'expectations', place] }));
  });
}

function checkOf({ type, kwargs }: SuiteItem, { on_fail: onFail, severity }: Fields, names: Map<string, number>): Fields {
  const { severity: ownSeverity, ...others } = kwargs;
  const { column, mostly } = kwargs;
  const name = typeof column === 'string' ? `${column}.${type}` : type;
  const times = (names.get(name) ?? 0) + 1;
  names.set(name, times);
  // Of rows of which some may fail none is at fault by itself: the window decides.
  const ofRows = onFail ?? (typeof mostly === 'number' && mostly < 1 ? 'tag' : undefined);
  const isOfRows = CATALOGUE.has(type) && !judgesWindows(type);
  const given = { on_fail: isOfRows ? ofRows : undefined, severity: ownSeverity ?? severity };
  return {
    id: times === 1 ? name : `${name}-${times}`,
    expect: type,
    kwargs: others,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}
