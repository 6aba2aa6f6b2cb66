/** How often each rule of a dataset found something, since the beginning and over the last hour. */
import type { RuleCount } from './metrics.ts';
import { MinuteRing } from './rule-series.ts';

/** Rule ids come from contracts and from SQLSTATEs, so there are few; beyond this many they are counted as `other`. */
const RULES_MAX = 2_000;

type Named = Pick<RuleCount, 'stage' | 'rule' | 'column' | 'verdict'>;
type RuleCounter = { -readonly [K in Exclude<keyof RuleCount, 'recent'>]: RuleCount[K] } & { readonly minutes: MinuteRing };
export type RuleCounters = Map<string, RuleCounter>;

const idOf = ({ stage, rule, column, verdict }: Named): string => `${stage} ${rule} ${column ?? ''} ${verdict}`;

/** The counter of a rule, with so many more; that of all others where there are too many. */
export function ruleCounter(rules: RuleCounters, named: Named, count: number, atMs: number): RuleCounter {
  const { stage, rule, column, verdict } = named;
  const isCrowded = rules.size >= RULES_MAX && !rules.has(idOf(named));
  const id = isCrowded ? `${stage} other ${verdict}` : idOf(named);
  const known = rules.get(id);
  if (known !== undefined) {
    known.count += count;
    known.lastAtMs = Math.max(known.lastAtMs, atMs);
    return known;
  }
  const shown = isCrowded ? { rule: 'other', column: null } : { rule, column };
  const made = { stage, ...shown, verdict, count, lastAtMs: atMs, minutes: new MinuteRing() };
  rules.set(id, made);
  return made;
}

/** Takes out what was counted by `atMs`: another goes on from it. */
export function lessenRules(rules: RuleCounters, counted: readonly RuleCount[], atMs: number): void {
  for (const rule of counted) {
    const known = rules.get(idOf(rule));
    if (known === undefined) continue;
    known.count = Math.max(0, known.count - rule.count);
    known.minutes.lessen(rule.recent, atMs);
  }
}
