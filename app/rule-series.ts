/** What the rules of every dataset found over the last hour, those that found nothing among them. */
import { MINUTE_MS } from '../core/slo.ts';
import { type MetricsSnapshot, type RuleCount, silentSeries } from '../ops/metrics.ts';
import { RULE_MINUTES } from '../ops/rule-series.ts';
import type { Contract } from '../quality/contract.ts';
import type { Desk } from './desk.ts';
import type { RuleSeriesView } from './http/rule-shapes.ts';

const NOTHING: readonly number[] = Array.from({ length: RULE_MINUTES }, () => 0);

type DatasetView = RuleSeriesView['datasets'][number];

export function ruleSeries(
  { atMs, pipelines }: MetricsSnapshot,
  desks: readonly Pick<Desk, 'pipeline' | 'datasets' | 'contracts'>[],
  isAsked: (pipeline: string, dataset: string) => boolean,
): RuleSeriesView {
  const datasets = desks.flatMap((desk) => {
    const counted = pipelines.find(({ pipeline }) => pipeline === desk.pipeline)?.datasets ?? [];
    const contracts = desk.contracts();
    return desk.datasets
      .filter((dataset) => isAsked(desk.pipeline, dataset))
      .map((dataset): DatasetView => {
        const { recent, rules } = counted.find((one) => one.dataset === dataset) ?? silentSeries(dataset);
        const rows = recent.length === 0 ? NOTHING : recent;
        return { pipeline: desk.pipeline, dataset, rows: [...rows], rules: rulesOf(rows, rules, contracts.get(dataset)) };
      });
  });
  return { stepMs: MINUTE_MS, fromMs: (Math.floor(atMs / MINUTE_MS) - RULE_MINUTES + 1) * MINUTE_MS, datasets };
}

function rulesOf(rows: readonly number[], counts: readonly RuleCount[], contract: Contract | undefined): DatasetView['rules'] {
  const found = counts.map(({ stage, rule, column, verdict, recent }) => ({
    stage,
    rule,
    column,
    verdict,
    failed: [...recent],
    // A batch may end in the next minute of the clock; a row that a rule finds twice counts twice.
    passed: rows.map((n, i) => Math.max(0, n - (recent[i] ?? 0))),
  }));
  const known = new Set(counts.filter(({ stage }) => stage === 'quality').map(({ rule }) => rule));
  const silent = (contract?.checks ?? []).filter(({ id }) => !known.has(id));
  return [
    ...found,
    ...silent.map(({ id, column }) => ({
      stage: 'quality' as const,
      rule: id,
      column,
      verdict: null,
      failed: [...NOTHING],
      passed: [...rows],
    })),
  ];
}
