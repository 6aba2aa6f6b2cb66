/** The arithmetic of service levels: what is left of the error budget, how fast it is used up, and whether somebody has to hear of it. */
import { formatMillis } from '../core/duration.ts';
import { type BurnRule, budgetShare, type GoodAndBad, type Objective, type SloTrouble } from '../core/slo.ts';

export interface Burn extends BurnRule {
  /** How many times too fast the budget is used up over each span; null where nothing was counted. */
  readonly long: number | null;
  readonly short: number | null;
  readonly isBurning: boolean;
}

export interface SloReport {
  readonly good: number;
  readonly bad: number;
  /** The share of the budget that is left: 1 while nothing is bad, below 0 once the promise is broken; null where nothing was counted. */
  readonly budgetLeft: number | null;
  readonly burns: readonly Burn[];
  readonly troubles: readonly Omit<SloTrouble, 'dataset' | 'slo'>[];
}

/** The spans, back from now, whose counts `reportOf` is given: in this order. */
export function spansOf({ overMs, burns }: Objective): readonly number[] {
  return [overMs, ...burns.flatMap(({ longMs, shortMs }) => [longMs, shortMs])];
}

export function reportOf(objective: Objective, counts: readonly GoodAndBad[]): SloReport {
  const { percent, burns, minCount } = objective;
  const budget = budgetShare(percent);
  const [all = NOTHING, ...spans] = counts;
  const measured = burns.map((rule, i): Burn => {
    const [long, short] = [spans[2 * i] ?? NOTHING, spans[2 * i + 1] ?? NOTHING];
    const rates = { long: burnRate(long, budget), short: burnRate(short, budget) };
    const isBurning = long.good + long.bad >= minCount && (rates.long ?? 0) >= rule.rate && (rates.short ?? 0) >= rule.rate;
    return { ...rule, ...rates, isBurning };
  });
  const used = burnRate(all, budget);
  const budgetLeft = used === null ? null : rounded(1 - used);
  const report = { good: all.good, bad: all.bad, budgetLeft, burns: measured };
  return { ...report, troubles: troublesOf(objective, report, budget) };
}

const NOTHING: GoodAndBad = { good: 0, bad: 0 };

const rounded = (value: number): number => Math.round(value * 1e9) / 1e9;

function burnRate({ good, bad }: GoodAndBad, budget: number): number | null {
  const total = good + bad;
  return total === 0 ? null : rounded(bad / (total * budget));
}

function troublesOf(
  objective: Objective,
  { good, bad, budgetLeft, burns }: Omit<SloReport, 'troubles'>,
  budget: number,
): SloReport['troubles'] {
  const promise = promiseText(objective);
  const troubles: Omit<SloTrouble, 'dataset' | 'slo'>[] = [];
  const burning = burns.filter(({ isBurning }) => isBurning);
  const [worst] = burning.toSorted((a, b) => Number(b.page) - Number(a.page) || b.rate - a.rate);
  if (worst !== undefined)
    troubles.push({
      cause: 'burn',
      severity: worst.page ? 'critical' : 'warning',
      message: `the budget of ${promise} is used up ${worst.rate} times too fast or more, over ${formatMillis(worst.longMs)} and over ${formatMillis(worst.shortMs)}`,
    });
  // Of so few that not one might be bad, nothing can be said yet.
  const total = good + bad;
  const isEnough = total >= objective.minCount && total * budget >= 1;
  if (isEnough && budgetLeft !== null && budgetLeft < 0)
    troubles.push({ cause: 'budget', severity: 'critical', message: `${promise} is not kept: more was bad than it allows` });
  return troubles;
}

/** `99.9 % of rows over 28d` */
export function promiseText({ percent, of, rules, overMs }: Pick<Objective, 'percent' | 'of' | 'rules' | 'overMs'>): string {
  const what =
    of === 'minutes' ? `minutes fresh (${rules.join(', ')})` : of === 'windows' && rules.length === 1 ? `windows of ${rules[0]}` : of;
  return `${percent} % of ${what} over ${formatMillis(overMs)}`;
}
