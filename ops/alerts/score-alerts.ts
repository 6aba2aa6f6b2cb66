/** Findings that someone asked to be told of (a route with `do: alert`) become `score.alert`, a few a minute at most. */
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Observer } from '../../core/contracts.ts';
import type { AlertData } from './events.ts';

export interface ScoreAlertOptions {
  readonly pipeline: string;
  readonly emit: (data: AlertData['score.alert']) => void;
  /** One alert a rule in so many ms; what comes in between is counted and told with the next one. */
  readonly everyMs?: number;
  readonly clock?: Pick<Clock, 'monotonic'>;
}

const KEYS_MAX = 20;
const GROUPS_MAX = 1_000;

/** An observer: tells after the commit, so never of an event that is read again. One alert names the keys of up to 20 events. */
export function scoreAlerts(options: ScoreAlertOptions): Observer {
  const clock = options.clock ?? systemClock;
  const everyMs = options.everyMs ?? 10_000;
  const told = new Map<string, { atMs: number; withheld: number }>();
  return ({ batch }) => {
    if (batch.findings.length === 0) return;
    const groups = new Map<string, { dataset: string; rule: string; severity: string; count: number; keys: string[] }>();
    for (const { index, notify, rule, severity } of batch.findings) {
      const event = notify ? batch.event(index) : undefined;
      if (event === undefined) continue;
      const dataset = event.dataset.name;
      const id = `${dataset}\n${rule}`;
      const group = groups.get(id) ?? { dataset, rule, severity, count: 0, keys: [] };
      groups.set(id, group);
      group.count++;
      if (group.keys.length < KEYS_MAX) group.keys.push(event.key);
    }
    for (const [id, group] of groups) {
      const nowMs = clock.monotonic();
      const last = told.get(id);
      if (last !== undefined && nowMs - last.atMs < everyMs) {
        last.withheld += group.count;
        continue;
      }
      if (told.size >= GROUPS_MAX) told.clear();
      told.set(id, { atMs: nowMs, withheld: 0 });
      options.emit({ pipeline: options.pipeline, ...group, withheld: last?.withheld ?? 0 });
    }
  };
}
