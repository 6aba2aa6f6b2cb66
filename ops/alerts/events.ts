/** What the service tells people of: the types of alerts and what each carries. */

/** One entry an alert type; `data` of the webhook's body has the fields named here. No row values and no secrets. */
export interface AlertData {
  'breaker.opened': {
    pipeline: string;
    dataset: string;
    ratio: number;
    rows: number;
    quarantined: number;
    topRules: readonly { rule: string; count: number }[];
    message: string;
    fix: string;
  };
  'breaker.closed': { pipeline: string; dataset: string };
  'lane.halted': { pipeline: string; code: string; message: string; fix: string };
  'lane.recovered': { pipeline: string; haltedMs: number };
  'schema.drift': { pipeline: string; dataset: string; changes: readonly string[]; policy: string };
  'model.registered': { model: string; version: string; aliases: readonly string[] };
  'model.unavailable': { pipeline: string; dataset: string; model: string; failure: string; message: string };
  'quarantine.rate': {
    pipeline: string;
    dataset: string;
    ratio: number;
    rows: number;
    quarantined: number;
    topRules: readonly { rule: string; count: number }[];
  };
  /** Other rules are in force: revisions, null where a dataset has none. */
  'rules.changed': {
    pipeline: string;
    changes: readonly { dataset: string; from: string | null; to: string | null }[];
  };
  /** The rules before stay in force. Told once for each set of problems; `path` and `message` are those of the first. */
  'rules.refused': { pipeline: string; path: string; message: string; fix: string; problems: number };
  'score.alert': {
    pipeline: string;
    dataset: string;
    rule: string;
    severity: string;
    count: number;
    keys: readonly string[];
    withheld: number;
  };
  /** Told when a level is reached that is worse than the last one told. */
  'slot.retention': {
    pipeline: string;
    slot: string;
    level: 'warning' | 'critical' | 'lost';
    retainedBytes: number;
    bytesPerSecond: number | null;
    fullInMs: number | null;
    message: string;
    fix: string;
  };
  /** Told when it opens, and again where a warning becomes critical. */
  'slo.opened': SloAlert & { message: string };
  'slo.resolved': SloAlert & { openMs: number };
  'slot.safe': { pipeline: string; slot: string; retainedBytes: number };
  /** One for a window, however many of its rows are at fault. */
  'window.failed': WindowAlert & { severity: string; message: string };
  /** Rows that came late made another verdict of a window that had failed; or rows come again, where a freshness check had failed. */
  'window.passed': WindowAlert & { verdict: string };
  'webhook.test': { message: string };
}
interface SloAlert {
  pipeline: string;
  dataset: string;
  slo: string;
  /** The same for everything that is told of one incident. */
  incident: string;
  /** burn: the error budget is used up too fast. budget: it is used up. */
  cause: 'burn' | 'budget';
  severity: 'warning' | 'critical';
}
interface WindowAlert {
  pipeline: string;
  dataset: string;
  rule: string;
  /** Unix times in ms; null for the rows of a snapshot. */
  startMs: number | null;
  endMs: number | null;
  group: string | null;
  revision: number;
  rows: number;
  observed: unknown;
}
export type AlertType = keyof AlertData;

export const ALERT_TYPES = [
  'breaker.opened',
  'breaker.closed',
  'lane.halted',
  'lane.recovered',
  'schema.drift',
  'model.registered',
  'model.unavailable',
  'quarantine.rate',
  'rules.changed',
  'rules.refused',
  'score.alert',
  'slo.opened',
  'slo.resolved',
  'slot.retention',
  'slot.safe',
  'window.failed',
  'window.passed',
  'webhook.test',
] as const satisfies readonly AlertType[];

/** Whether a pattern of the config's `events` (`breaker.*`, `quarantine.rate`, `*`) takes this type. */
export function takes(pattern: string, type: string): boolean {
  if (pattern === '*' || pattern === type) return true;
  return pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1));
}

/** Patterns that take no alert at all: most likely misspelt. For `tidegate check`. */
export function idlePatterns(patterns: readonly string[]): string[] {
  return patterns.filter((pattern) => !ALERT_TYPES.some((type) => takes(pattern, type)));
}
