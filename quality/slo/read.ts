/** From `slo:` in a rule file to objectives, with everything that keeps one from being used. */
import { type BurnRule, budgetShare, MINUTE_MS, type Objective, ROWS_COUNTED, type SloUnit } from '../../core/slo.ts';
import { formatMillis } from '../../core/duration.ts';
import { suggestion } from '../../core/expression/suggest.ts';
import { type LiveRules, millis } from '../live/check.ts';
import { isObject, type Keys, type RuleText } from '../rule-text.ts';
import { sloSchema } from './schema.ts';

type Fields = Readonly<Record<string, unknown>>;

const DAY_MS = 86_400_000;
const OVER = { default: '28d', minMs: 3_600_000, maxMs: 30 * DAY_MS };
const MIN_COUNT: Readonly<Record<SloUnit, number>> = { rows: 100, windows: 3, minutes: 5 };

/** What the workbook of Google's site reliability engineers recommends. */
const BURNS: readonly BurnRule[] = [
  { longMs: 3_600_000, shortMs: 300_000, rate: 14.4, page: true },
  { longMs: 6 * 3_600_000, shortMs: 1_800_000, rate: 6, page: true },
  { longMs: 3 * DAY_MS, shortMs: 6 * 3_600_000, rate: 1, page: false },
];

/** `written` may be anything: what does not fit the schema was told. */
export function readObjectives(rules: RuleText, written: unknown, live: LiveRules): readonly Objective[] {
  if (written === undefined || !rules.fits(sloSchema, written)) return [];
  const items = Array.isArray(written) ? (written as readonly unknown[]) : [written];
  const found: Objective[] = [];
  for (const [index, item] of items.entries()) {
    if (!isObject(item)) continue;
    const keys: Keys = Array.isArray(written) ? ['slo', index] : ['slo'];
    const objective = new ObjectiveReader(rules, item, keys, live).read();
    if (objective === null) continue;
    if (found.some(({ id }) => id === objective.id))
      rules.refuse(keys, `the id "${objective.id}" is taken by another service level`, 'Give one of them an id of its own: `id: …`.');
    else found.push(objective);
  }
  return found;
}

class ObjectiveReader {
  readonly #rules: RuleText;
  readonly #item: Fields;
  readonly #keys: Keys;
  readonly #live: LiveRules;

  constructor(rules: RuleText, item: Fields, keys: Keys, live: LiveRules) {
    this.#rules = rules;
    this.#item = item;
    this.#keys = keys;
    this.#live = live;
  }

  read(): Objective | null {
    const item = this.#item;
    const percent = item['objective'] as number; // As the schema has it, like all that follows.
    if (!(percent > 0 && percent < 100) || budgetShare(percent) <= 0)
      return this.#refuse(
        ['objective'],
        `an objective of ${percent} % leaves ${percent >= 100 ? 'nothing that may go wrong' : 'nothing to promise'}`,
        'Write a percentage between 0 and 100, such as 99.9.',
      );
    const of = (item['of'] as SloUnit | undefined) ?? 'rows';
    const overMs = millis(item['over'] ?? OVER.default) ?? 0;
    if (overMs < OVER.minMs || overMs > OVER.maxMs)
      return this.#refuse(['over'], 'a service level is about 1h to 30d', 'Write over: 28d, or another time between 1h and 30d.');
    const subject = this.#subject(of);
    const burns = this.#burns(percent, overMs);
    if (subject === null || burns === null) return null;
    const rule = typeof item['rule'] === 'string' ? item['rule'] : null;
    return {
      id: typeof item['id'] === 'string' ? item['id'] : rule === null ? of : `${of}.${rule}`,
      percent,
      of,
      ...subject,
      overMs,
      burns,
      minCount: (item['min_count'] as number | undefined) ?? MIN_COUNT[of],
    };
  }

  /** The rules it is about. */
  #subject(of: SloUnit): Pick<Objective, 'rules' | 'counted' | 'maxAgeMs'> | null {
    const rule = typeof this.#item['rule'] === 'string' ? this.#item['rule'] : null;
    if (of === 'rows') {
      if (rule !== null) return this.#refuse(['rule'], 'of rows, a service level is about all rules of rows together', 'Remove rule.');
      return { rules: [], counted: ROWS_COUNTED, maxAgeMs: null };
    }
    const { checks } = this.#live;
    const freshness = this.#live.clock.filter(({ rule: { maxAgeMs } }) => maxAgeMs !== null);
    if (of === 'windows') {
      const ids = checks.map(({ id }) => id);
      if (ids.length === 0)
        return this.#refuse(['of'], 'no check of this file is over windows', 'Add one, such as row_count, or write of: rows.');
      if (rule !== null && !ids.includes(rule)) return this.#unknown(rule, ids, 'over windows');
      return { rules: rule === null ? ids : [rule], counted: 'windows', maxAgeMs: null };
    }
    const ids = freshness.map(({ id }) => id);
    if (ids.length === 0)
      return this.#refuse(
        ['of'],
        'no check of this file says how old the newest row may be',
        'Add one under checks: freshness: { max: 5m }.',
      );
    if (rule !== null && !ids.includes(rule)) return this.#unknown(rule, ids, 'of freshness');
    if (rule === null && ids.length > 1)
      return this.#refuse(
        [],
        'several checks are of freshness, and it is not said which is meant',
        `Add rule: ${ids.join(', or rule: ')}.`,
      );
    const check = freshness.find(({ id }) => id === (rule ?? ids[0]));
    return check === undefined ? null : { rules: [check.id], counted: `minutes ${check.id}`, maxAgeMs: check.rule.maxAgeMs };
  }

  #unknown(rule: string, ids: readonly string[], what: string): null {
    return this.#refuse(['rule'], `no check ${what} has the id "${rule}"`, suggestion(rule, ids, 'id'));
  }

  #burns(percent: number, overMs: number): readonly BurnRule[] | null {
    const written = this.#item['burn'] as readonly Fields[] | undefined;
    const budget = budgetShare(percent);
    // Of what is not said, what can come to pass.
    if (written === undefined) return BURNS.filter(({ longMs, rate }) => longMs <= overMs && rate * budget <= 1);
    const before = this.#rules.problems.length;
    const burns = written.map((item, index) => this.#burn(item, ['burn', index], budget, overMs));
    return this.#rules.problems.length > before ? null : burns.filter((burn) => burn !== null);
  }

  #burn(item: Fields, at: Keys, budget: number, overMs: number): BurnRule | null {
    const rate = item['rate'] as number;
    const longMs = millis(item['window']) ?? 0;
    const shortMs =
      item['short'] === undefined ? Math.max(MINUTE_MS, Math.ceil(longMs / 12 / MINUTE_MS) * MINUTE_MS) : (millis(item['short']) ?? 0);
    if (longMs < MINUTE_MS) return this.#refuse([...at, 'window'], 'rows are counted by the minute', 'Write window: 1m or more.');
    if (longMs > overMs)
      return this.#refuse(
        [...at, 'window'],
        `the window is longer than the ${formatMillis(overMs)} that the service level is about`,
        'Make it shorter, or over longer.',
      );
    if (shortMs < MINUTE_MS || shortMs > longMs)
      return this.#refuse(
        [...at, 'short'],
        'the short window is a minute to as long as the window',
        'Correct it, or remove it: a twelfth of the window.',
      );
    if (rate * budget > 1)
      return this.#refuse(
        [...at, 'rate'],
        `${rate} times a budget of ${Number((budget * 100).toPrecision(12))} % is more than everything: it can never be so`,
        `Write a rate of ${Math.floor(10 / budget) / 10} or less.`,
      );
    return { longMs, shortMs, rate, page: item['page'] === true };
  }

  #refuse(at: Keys, message: string, fix: string): null {
    return this.#rules.refuse([...this.#keys, ...at], message, fix);
  }
}
