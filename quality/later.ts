/** Parts of rule files that other versions read and this one does not: each is said, none is silently ignored. */

import { WORDS } from './gx/registry.ts';

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
  'source.event_time': described('event_time'),
  'schema.format': described('format'),
  'schema.subject': described('subject'),
  'schema.compatibility': described('compatibility'),
  'schema.policy': described('policy'),
  'defaults.window': described('window'),
  'breaker.half_open': described('half_open'),
  slo: described('slo'),
  'quarantine.redact': needed('redact', 'Remove it. Findings show no values unless a check allows them; held events are kept whole.'),
  'quarantine.topic': described('topic'),
  'quarantine.body': described('body'),
  'quarantine.headers': described('headers'),
  'quarantine.key_fence': needed('key_fence', 'Write `hold: key` at the top of the file instead: later events of a held key wait.'),
  'quarantine.retention': described('retention'),
  replay: described('replay'),
  imports: needed('imports', 'Write the checks in this file.'),
};

/** Names of checks by what they need. Those that `tidegate judge` knows are refused on a live stream alone. */
const WINDOW =
  'mean median sum min max stdev quantiles drift kl psi row_count freshness event_lag late_ratio heartbeat distinct_count unique_proportion most_common z_score null_rate distinct_in_set volume_anomaly metric_anomaly';
const STATE = 'unique compound_unique increasing decreasing sequence_gap before_matches';
const OTHERS = 'references reconcile row_count_equals';
const OUTPUTS = 'score_drift feature_missing abstain_rate';

const OF_FILES: readonly [string, Later][] = [...WORDS.keys()].map((name) => [
  name,
  needed(
    `${name}, a check over a whole file,`,
    'Remove the check here: on a stream this version judges single rows. `tidegate judge` runs it on files.',
  ),
]);

export const LATER_CHECKS: ReadonlyMap<string, Later> = new Map([
  ...OF_FILES,
  ...entries(WINDOW, 'a check over a window of rows'),
  ...entries(STATE, 'a check that remembers other rows'),
  ...entries(OTHERS, 'a check against another dataset'),
  ...entries(OUTPUTS, 'a check of model output'),
]);

function entries(names: string, what: string): [string, Later][] {
  return names.split(' ').map((name) => [name, needed(`${name}, ${what},`, 'Remove the check: this version judges single rows.')]);
}

/** Modifiers that only window checks use. */
export const LATER_MODIFIERS: ReadonlyMap<string, Later> = new Map(
  ['window', 'group_by', 'max_groups', 'on_empty', 'min_rows', 'every', 'within'].map((name) => [
    name,
    needed(`${name}, which belongs to checks over windows,`, 'Remove it.'),
  ]),
);
