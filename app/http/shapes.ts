/** What the HTTP API answers, as JSON Schemas; their types are inferred. /openapi.json is made from them. */
import type { EndpointStatus } from '../../ops/alerts/webhook.ts';
import type { DatasetSeries } from '../../ops/metrics.ts';
import type { LaneSeries } from '../../ops/lane-counters.ts';
import type { FromSchema, SchemaNode } from '../schema-type.ts';
import { list, numberOrNull, orNull, record, shape, text, textOrNull, whole, yes } from './shape.ts';
import { sloSchema } from './rule-shapes.ts';

export const reasonSchema = shape('Why something does not run.', {
  code: text('An error code of docs/errors.md, OPERATOR where a person halted it, or STANDBY where another instance has it.'),
  message: text('What happened, in words, without row values or secrets.'),
  fix: text('What to do about it.'),
  atMs: whole('Unix time in ms.'),
});

export const standbySchema = shape('The instance that has a pipeline.', {
  host: text('Its machine.'),
  pid: whole('Its process there.'),
  sinceMs: whole('Unix time in ms since when it has it.'),
  message: text('The same in words.'),
});

export const LANE_STATES = ['starting', 'standby', 'running', 'backing-off', 'halted', 'draining', 'stopped'] as const;

export const laneStatusSchema = shape('One lane of a pipeline.', {
  lane: text(
    '`source/slot` (`source/group`, `source/group/topic/partition` of topics), or `replay:<pipeline>` for the lane that brings released rows back.',
  ),
  role: { enum: ['main', 'replay'], description: 'Whether it reads the source or the released rows.' },
  state: { enum: LANE_STATES, description: 'What it does now.' },
  sinceMs: whole('Unix time in ms since when it is in this state.'),
  reason: orNull(reasonSchema, 'Why it backs off or is halted; else null.'),
  attempts: whole('Failed runs in a row.'),
  retryAtMs: numberOrNull('When it tries again, while backing off.'),
});

export const snapshotProgressSchema = shape('How far the first copy of a table is.', {
  dataset: text('source.schema.table'),
  rowsDone: whole('Rows copied.'),
  rowsEstimated: numberOrNull('What the planner of the source expects in all; null where it does not know.'),
  state: {
    enum: ['waiting', 'copying', 'done', 'away'],
    description: 'What it does now; away: the source has it under another name, and nothing of it is read.',
  },
});

export const rereadSchema = shape('Rows that are read again, or were.', {
  id: text('Names it.'),
  dataset: text('source.schema.table'),
  where: textOrNull('The condition for them, in the source’s SQL; null where there is none.'),
  keys: orNull(
    list(list({ type: 'string' }, 'The texts of its columns.'), 'Those still to be read.'),
    'Their keys, where they are named by them.',
  ),
  columns: orNull(
    list({ type: 'string' }, 'The columns.'),
    'What is read of them beside the key, because the table changed; null where it is whole rows.',
  ),
  rowsDone: whole('Rows read.'),
  rowsEstimated: numberOrNull('What there is about in all; null where nobody knows.'),
  state: { enum: ['reading', 'done', 'failed'], description: 'failed: given up, for the problem.' },
  problem: textOrNull('Why it was given up; else null.'),
});
export const snapshotSchema = shape('Rows that are read beside the log.', {
  waits: orNull(
    { enum: ['paused', 'rate', 'busy'], description: 'paused: by a person. rate: for its rate. busy: for the source.' },
    'Why none are read just now; null where there is no reason.',
  ),
  paused: orNull(
    shape('Who paused it.', { by: text('The name of the token that asked, or local.'), atMs: whole('Unix time in ms.') }),
    'Until it is resumed, over restarts too; null where it is not.',
  ),
  tables: list(snapshotProgressSchema, 'The first copy.'),
  rereads: list(rereadSchema, 'What is read again, then the last ones that were.'),
});
export const rereadBegunSchema = shape('It is read again, over restarts too.', { id: text('Names it.') });
export const acceptedSchema = shape('It will be done.', { accepted: yes('True.') });

const counted = (description: string) => record({ type: 'integer' }, description);
/** Shapes that ops/metrics.ts defines: documented here, typed there. */
const open = (description: string) => ({ type: 'object', description, additionalProperties: {} }) as const;

export const modelUseStatusSchema = shape('A model in use.', {
  model: text('Its name.'),
  dataset: text('What it scores.'),
  alias: text('The version or alias that the config names.'),
  version: textOrNull('The version this stands for now; null where there is none yet.'),
  state: { enum: ['ready', 'starting', 'backing-off', 'missing'], description: 'Whether it can score. missing: nobody registered it yet.' },
  failure: { enum: ['fail_open', 'fail_closed', 'hold'], description: 'What happens to rows while it cannot.' },
  routes: list(
    shape('Where a row goes by its score.', {
      when: text('An expression over the score and the row.'),
      do: { enum: ['quarantine', 'alert', 'tag'], description: 'What is done with the row.' },
    }),
    'The first that is true counts.',
  ),
});

const schemaChangeProperties = {
  id: text('Names the change: the pipeline and a number.'),
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  status: {
    enum: ['held', 'rejected', 'approved', 'accepted'],
    description: 'held: the dataset waits for you. rejected: it waits, and you said no. approved: you said yes. accepted: made by itself.',
  },
  kinds: list(
    shape('One difference.', {
      kind: text('add_optional, add_required, drop, rename, widen, narrow, retype or key; table for one that is new.'),
      policy: text('What the rule file says of it; newTables of one that is new.'),
      column: textOrNull('The column, or null where it is about the key.'),
      message: text('In words.'),
    }),
    'What changed.',
  ),
  message: text('All of it in words.'),
  problem: textOrNull('Why the target did not take it by itself.'),
  held: whole('Events held for it, while it is open.'),
  reread: textOrNull(
    'Whether the source’s rows are read anew for it: after (once it is approved), wanted, begun, done; null where there is no need.',
  ),
  atMs: whole('Unix time in ms at which it was first met.'),
  settledAtMs: numberOrNull('Unix time in ms of the decision.'),
  by: textOrNull('Who decided.'),
  why: textOrNull('Why it was rejected.'),
} as const;
export const schemaChangeSchema = shape('A change of a table.', schemaChangeProperties);
export const schemaChangesSchema = shape('Changes of tables, newest first.', { changes: list(schemaChangeSchema, 'The changes.') });
export const schemaChangeDetailSchema = shape('A change of a table, with what it means.', {
  ...schemaChangeProperties,
  statements: list({ type: 'string' }, 'The SQL that is left to run at the target, in order.'),
  rules: list({ type: 'string' }, 'Rules that read one of its columns.'),
  models: list({ type: 'string' }, 'Models that read one of its columns.'),
});
export const schemaDecisionSchema = shape('What was decided.', {
  changes: list({ type: 'string' }, 'The changes, in order: those of the same dataset that were before it are approved with it.'),
  released: whole('Events that are on their way now.'),
});

const windowProperties = {
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  rule: text('The id of the rule.'),
  type: text('The check: its word, or its name.'),
  column: textOrNull('The column, or null where it is about rows.'),
  startMs: numberOrNull('Unix time in ms at which the window begins; null for the rows of a snapshot.'),
  endMs: numberOrNull('And ends.'),
  group: textOrNull('The values of the columns that it is grouped by; null where it is not.'),
  verdict: { enum: ['pass', 'fail', 'indeterminate'], description: 'indeterminate: it could not be said, for the reason.' },
  revision: whole('1, and one more each time rows that came late made it another one.'),
  observed: { description: 'What the window came to; null where that is nothing, or would be a value of a row.' },
  reason: textOrNull('Why it could not be said, or what the rule says of it.'),
  rows: whole('Rows that the rule met.'),
  missing: whole('Rows without a value.'),
  severity: { enum: ['info', 'warning', 'critical'], description: 'How loud to be about it.' },
  onFail: { enum: ['alert', 'halt', 'hold'], description: 'What follows where it fails.' },
  version: whole('Of the rule file.'),
  digest: text('sha256 of the rule file.'),
  atMs: whole('Unix time in ms at which it was judged.'),
} as const;
export const windowSchema = shape('What a rule said of one window.', windowProperties);
export const windowsSchema = shape('What rules said of windows, newest first.', { windows: list(windowSchema, 'The verdicts.') });

const windowEdges = {
  startMs: numberOrNull('Unix time in ms at which the window begins.'),
  endMs: numberOrNull('And ends.'),
} as const;
export const lotSchema = shape('Rows that are published or diverted at once.', {
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  ...windowEdges,
  status: { enum: ['staged', 'published', 'diverted'], description: 'staged: it waits. diverted: it is held in the quarantine.' },
  rows: whole('Rows that were ever staged in it.'),
  rules: list({ type: 'string' }, 'The rules that diverted it.'),
  settledAtMs: numberOrNull('Unix time in ms at which it was published or diverted last.'),
  waitsFor: textOrNull(
    'Why it is staged although its window may be over: processes have different rules. Null where it waits for its window alone.',
  ),
});
export const heldDatasetSchema = shape('A dataset whose rows wait until you let them go on.', {
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  rule: text('The rule whose window failed.'),
  ...windowEdges,
  sinceMs: whole('Unix time in ms since when.'),
});
export const lotsSchema = shape(
  'Lots, those that are staged first, then newest first; a window of null: rows that came while their dataset was held.',
  {
    lots: list(lotSchema, 'The lots.'),
    held: list(heldDatasetSchema, 'The datasets that are held.'),
  },
);
export const resumedSchema = shape('What goes on.', { dataset: text('The dataset.'), resumed: yes('Always true.') });

export const slotSchema = shape('The slot at the source, and how much log is kept for it.', {
  slot: text('Its name.'),
  level: {
    enum: ['ok', 'warning', 'critical', 'lost'],
    description: 'Whether somebody has to look. critical and lost: the pipeline is not ready.',
  },
  walStatus: textOrNull('What the source calls it: reserved, extended, unreserved or lost.'),
  retainedBytes: whole('Bytes of log that the source keeps for it.'),
  leftBytes: numberOrNull('Bytes that may be kept beyond that; null where no limit is known.'),
  limit: {
    enum: ['keep', 'disk', 'none'],
    description:
      'What ends then: the slot (keep: max_slot_wal_keep_size), or the room on the disk that the config names. none: no limit is known.',
  },
  bytesPerSecond: numberOrNull('How fast it grows; null while that is not known, and where it does not.'),
  fullInMs: numberOrNull('When nothing is left, at this pace.'),
  atMs: whole('Unix time in ms of the look.'),
  message: text('All of it in words.'),
});

const ruleProblemsSchema = list(
  shape('What is wrong with a rule file, or odd.', {
    severity: { enum: ['error', 'warning'], description: 'Only an error keeps it from being used.' },
    path: text('Where.'),
    message: text('What.'),
    fix: text('What to do about it.'),
  }),
  'What is wrong, in the order of the files.',
);
export const draftSchema = shape('A draft of rules, which judges beside those in force and holds nothing.', {
  dataset: text('source.schema.table'),
  file: text('Relative to the config.'),
  revision: text('The version, and the beginning of the hash of the text.'),
  sinceMs: whole('Unix time in ms since when it judges here; all counts are from then on.'),
  events: whole('Events judged.'),
  freed: whole('Events that would go through by it, and were held or dropped by the rules in force.'),
  taken: whole('Events that would be held or dropped by it, and were not.'),
  out: whole('Events that are held or dropped by both.'),
  failures: whole('Batches that it could not judge.'),
  rules: list(
    shape('A rule of the draft.', {
      rule: text('Its id.'),
      failed: whole('Events that break it.'),
      taken: whole('Of these, events that would be held or dropped for it, and were not.'),
    }),
    'In the order of the file.',
  ),
  notAsked: list(
    { type: 'string' },
    'Of these, rules that the target was not asked for with the last batch: its table is large and has no index that finds their rows, so every row passed them.',
  ),
  examples: list(
    shape('An event that would change sides.', {
      key: text('The row’s key as text.'),
      op: { enum: ['read', 'insert', 'update', 'delete', 'truncate'], description: 'What the change did.' },
      committedAtMs: whole('Unix time in ms of the commit at the source.'),
      to: { enum: ['through', 'out'], description: 'Where it would go.' },
      why: list(
        shape('A rule.', { rule: text('Its id.'), message: text('In words, without values unless the rule file allows them.') }),
        'The rules that let it be out: of the draft, or of those in force where it would go through.',
      ),
    }),
    'The newest first, 20 at most.',
  ),
});
export const rulesSchema = shape('The rules in force.', {
  datasets: list(
    shape('A rule file.', {
      dataset: text('source.schema.table'),
      file: text('Relative to the config.'),
      version: whole('As the file says.'),
      revision: text('The version, and the beginning of the hash of the text.'),
      mode: { enum: ['enforce', 'shadow'], description: 'Whether it acts.' },
      sinceMs: whole('Unix time in ms since when it is in force here.'),
    }),
    'Those of the pipeline.',
  ),
  drafts: list(draftSchema, 'Of datasets that have one.'),
  changedOnDisk: yes('Whether the files say something else by now, which nobody has asked to take up.'),
  refused: orNull(
    shape('A new revision that was refused.', { atMs: whole('Unix time in ms.'), problems: ruleProblemsSchema }),
    'Why the newest revision is not in force; null where it is.',
  ),
});
export const reloadSchema = shape('What reading the rule files again came to.', {
  outcome: {
    enum: ['taken-up', 'unchanged', 'refused'],
    description: 'taken-up: from the next batch on. refused: what was in force still is.',
  },
  changes: list(
    shape('A dataset with other rules.', {
      dataset: text('source.schema.table'),
      from: textOrNull('The revision before; null where it had no rules.'),
      to: textOrNull('The revision from now on; null where it has no rules any more.'),
      draft: yes('Whether it is the draft beside the rules, and not the rules in force.'),
    }),
    'What is in force now and was not.',
  ),
  problems: ruleProblemsSchema,
});

const pipelineProperties = {
  name: text('Its name in the config.'),
  source: text('The source’s name.'),
  target: text('The target’s name.'),
  targetSchema: textOrNull('The schema of the target that its tables go to; null where they go to topics.'),
  state: { enum: LANE_STATES, description: 'The state of its main lane; halted where its replay lane is.' },
  sinceMs: whole('Unix time in ms since when it is in this state.'),
  retryAtMs: numberOrNull('When it tries again, while backing off.'),
  attempt: whole('Failed runs in a row.'),
  error: orNull(reasonSchema, 'Why it backs off or is halted; else null.'),
  ready: yes('Whether it counts as ready: running, caught up, not halted.'),
  notReady: list({ type: 'string' }, 'Why it is not ready; empty where it is.'),
  standby: orNull(standbySchema, 'Who has its lanes while this instance stands by; null where this one has them.'),
  reading: list({ type: 'string' }, 'The lanes that this instance reads now: of topics, those of the partitions that its group gave it.'),
  runs: list(laneStatusSchema, 'What its two lanes do: the one that reads the source, and the one that brings released rows back.'),
  snapshot: list(snapshotProgressSchema, 'The first copy; empty before it is known and where there is none.'),
  schemaChanges: list(schemaChangeSchema, 'Changes of tables that park their dataset, newest first.'),
  rules: rulesSchema,
  windows: list(windowSchema, 'The newest window of each rule and group, newest first.'),
  slo: list(sloSchema, 'Its service levels.'),
  slot: orNull(slotSchema, 'The slot at the source; null before it was looked at, and while there is none (of topics, always).'),
  lagMs: numberOrNull('How far behind the source it is: 0 once caught up; null before that is known.'),
  stageMs: record({ type: 'number' }, 'Mean milliseconds a batch in each stage.'),
  models: list(modelUseStatusSchema, 'The models it scores by.'),
} as const;
export const pipelineStatusSchema = shape('One pipeline.', {
  ...pipelineProperties,
  lanes: list(open('lane, position, batches, ledger, lagMs, lagBytes, lagRecords, committedAtMs.'), 'Its lanes since the service started.'),
  datasets: list(
    open('dataset, totals, rates, latencyMs, lastEventAtMs, rules, scores, quarantine (items by status), judged, ruleFile.'),
    'What it moves, with rates over the last 10 s and totals since the service started.',
  ),
});

const statusProperties = {
  version: text('Of Tidegate.'),
  instance: text('Differs between two starts of the service.'),
  startedAtMs: whole('Unix time in ms.'),
  nowMs: whole('Unix time in ms.'),
  ready: yes('Whether every pipeline is ready.'),
} as const;
export const statusSchema = shape('The service.', {
  ...statusProperties,
  pipelines: list(pipelineStatusSchema, 'All pipelines.'),
  alerts: list(open('name, delivered, failures, givenUp, lastDeliveredAtMs, lastFailure, gone.'), 'The receivers of alerts.'),
});

export const readySchema = shape('Whether the service is ready, and why not.', {
  ready: yes('Whether every pipeline is.'),
  pipelines: list(
    shape('One pipeline.', {
      name: text('Its name.'),
      ready: yes('Whether it is ready.'),
      reasons: list({ type: 'string' }, 'Why it is not.'),
      notes: list({ type: 'string' }, 'What is worth knowing, and no reason.'),
      standby: orNull(
        standbySchema,
        'Who has its lanes while this instance stands by, ready to take them over; null where this one has them.',
      ),
    }),
    'Every pipeline.',
  ),
});

export const laneSchema = shape('A lane as the target keeps it, in the same transactions as the rows.', {
  pipeline: text('The pipeline.'),
  lane: text('The lane.'),
  role: { enum: ['main', 'replay'], description: 'Whether it reads the source or the released rows.' },
  state: { enum: LANE_STATES, description: 'What it does now in this process.' },
  epoch: whole('The number of its newest lease.'),
  position: textOrNull('Where it resumes; null where it never committed.'),
  updatedAtMs: numberOrNull('Unix time in ms of its last commit.'),
  ledger: record(
    { type: 'integer' },
    'Every event accounted for: events = upserts + deletes + truncates + stale + folded + held + dropped.',
  ),
  closed: yes('Whether the ledger adds up. If not, it is a bug.'),
});
export const lanesSchema = shape('All lanes.', { lanes: list(laneSchema, 'All lanes that a target knows.') });

export const findingSchema = shape('Why an event did not simply pass.', {
  stage: { enum: ['cdc', 'quality', 'inference', 'sync'], description: 'Who found it.' },
  rule: text('The rule’s id.'),
  column: textOrNull('The column, or null where it is about the row.'),
  verdict: { enum: ['tag', 'warn', 'drop', 'quarantine'], description: 'What the rule asks for.' },
  severity: { enum: ['info', 'warning', 'critical'], description: 'How loud to be.' },
  message: text('In words, without values unless the rule file allows them.'),
});

export const ITEM_STATUSES = ['held', 'waiting', 'staged', 'released', 'applied', 'superseded', 'discarded'] as const;

const itemProperties = {
  id: text('Names the event wherever it turns up.'),
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  op: { enum: ['read', 'insert', 'update', 'delete', 'truncate'], description: 'What the change did.' },
  key: text('The row’s key as text.'),
  status: {
    enum: ITEM_STATUSES,
    description:
      'held: waits for you. waiting: waits for an earlier row of its key. staged: waits for its window, or with its dataset. released: on its way back. The rest are settled.',
  },
  version: text('The commit in the source’s order.'),
  committedAtMs: whole('Unix time in ms of the commit at the source.'),
  heldAtMs: whole('Unix time in ms.'),
  settledAtMs: numberOrNull('Unix time in ms; null while open.'),
  waitsUntilMs: numberOrNull(
    'Unix time in ms until which the row that it names may come, and it is released by itself; null where it waits for none.',
  ),
  by: textOrNull('Who released or discarded it.'),
  why: textOrNull('Why it was discarded.'),
  lane: text('The lane that brought it.'),
  revision: textOrNull('The revision of the rules by which it was judged last; null where its dataset has none.'),
  lotStartMs: numberOrNull(
    'Unix time in ms at which the window begins whose lot it is of; -1 where its dataset was held. Null where it is of none.',
  ),
  findings: list(findingSchema, 'Why it is held.'),
} as const;
export const itemSchema = shape('A quarantined event.', itemProperties);
export const itemDetailSchema = shape('A quarantined event with its row.', {
  ...itemProperties,
  columns: list(
    shape('A cell.', {
      name: text('The column.'),
      type: text('The source’s name of its type.'),
      key: yes('Whether it is part of the key.'),
      before: textOrNull('The cell before the change as text; null where it is null or there was no row.'),
      after: textOrNull('The cell after the change as text.'),
      note: textOrNull('`unchanged`: the source did not send it.'),
    }),
    'The row.',
  ),
});
export const itemsSchema = shape('A page of the quarantine, newest first.', {
  items: list(itemSchema, 'The items.'),
  next: textOrNull('Give this as `after` for the next page; null at the end.'),
});

export const heldByRuleSchema = shape('Open items by what holds them: of each pipeline the newest 100,000.', {
  rules: list(
    shape('A rule.', {
      pipeline: text('Whose quarantine.'),
      dataset: text('source.schema.table'),
      rule: text('Its id, or what else holds them.'),
      count: whole('Items that it holds, alone or beside others.'),
      fromMs: whole('Unix time in ms at which the first of them was held.'),
      toMs: whole('Unix time in ms at which the last of them was held.'),
    }),
    'Those with most items first, 200 a pipeline at most.',
  ),
});

export const releaseOutcomeSchema = shape('What releasing an item would come to.', {
  id: text('The item.'),
  outcome: {
    enum: ['would-pass', 'still-fails', 'superseded', 'settled', 'unknown'],
    description:
      'would-pass: by today’s rules and models, though the target may still refuse it. superseded: the target has something newer. settled: not open any more. unknown: there is none of this id.',
  },
  findings: list(findingSchema, 'Why it still fails.'),
});
export const releaseSchema = shape('What releasing came to, or would.', {
  dryRun: yes('Whether nothing was done.'),
  results: list(releaseOutcomeSchema, 'With dryRun: item by item. Else empty.'),
  notAsked: list(
    shape('A rule that is left out.', { dataset: text('source.schema.table'), rule: text('Its id.') }),
    'With dryRun: rules that need other rows, and that the target could not be asked for: it has no such table yet, or cannot read a cell of a row as its column.',
  ),
  released: list({ type: 'string' }, 'Without dryRun: the ids now on their way, with those of the same keys that go along.'),
});
export const discardSchema = shape('What was discarded.', { discarded: list({ type: 'string' }, 'The ids.') });

export const datasetSchema = shape('A dataset of a pipeline.', {
  dataset: text('source.schema.table'),
  pipeline: text('The pipeline.'),
  judged: yes('Whether it has a rule file.'),
  ruleFile: textOrNull('Its rule file, relative to the config; null where it passes unjudged.'),
  models: list({ type: 'string' }, 'Models that score it, as named in the config.'),
  totals: counted('Events since the service started: in, passed, tagged, warned, dropped, held.'),
  rates: record({ type: 'number' }, 'Events a second over the last 10 s: pass, warn, drop, quarantine.'),
  latencyMs: shape('Commit at the source to commit at the target.', {
    p50: numberOrNull('Median.'),
    p99: numberOrNull('99th percentile.'),
  }),
  lastEventAtMs: numberOrNull('Unix time in ms.'),
  quarantine: counted('Items in each status.'),
});
export const datasetsSchema = shape('All datasets.', { datasets: list(datasetSchema, 'All datasets.') });

export const modelVersionSchema = shape('One version of a model.', {
  model: text('Its name.'),
  version: whole('1, 2, 3 …'),
  sha256: text('Of the bytes that are served.'),
  aliases: list({ type: 'string' }, 'Aliases that point at it.'),
  registeredAtMs: whole('Unix time in ms.'),
  usedBy: list({ type: 'string' }, 'Pipelines that score by it now.'),
  mapping: { description: 'The feature mapping as registered.' },
  report: { description: 'What admission measured.' },
});
export const modelVersionsSchema = shape('A model’s versions.', {
  model: text('Its name.'),
  versions: list(modelVersionSchema, 'Oldest first.'),
});
export const modelsSchema = shape('All models.', { models: list(modelVersionsSchema, 'All models.') });
export const registeredSchema = shape('A registered version.', {
  created: yes('False where this very upload is a version already.'),
  version: modelVersionSchema,
});

export const problemSchema = {
  type: 'object',
  description: 'An error (RFC 9457), with `error` for clients of the Open Inference Protocol and `error_code` for programs.',
  properties: {
    type: text('A page about this kind of error.'),
    title: text('The kind of error in words.'),
    status: whole('The HTTP status.'),
    detail: text('What went wrong here.'),
    fix: text('What to do about it.'),
    error: text('The same as `detail`.'),
    error_code: text('For programs.'),
    findings: list(
      {
        type: 'object',
        properties: {
          rule: text('What was violated.'),
          severity: text('error or warning.'),
          path: text('Where.'),
          detail: text('What and what to do.'),
        },
        required: ['rule', 'severity', 'path', 'detail'],
      },
      'Of a rejected model.',
    ),
  },
  required: ['type', 'title', 'status', 'detail', 'error', 'error_code'],
} as const satisfies SchemaNode;

export type SchemaChangeView = Properties<typeof schemaChangeProperties>;
export type SchemaChangeDetailView = SchemaChangeView & {
  readonly statements: readonly string[];
  readonly rules: readonly string[];
  readonly models: readonly string[];
};
export type WindowView = Properties<typeof windowProperties>;
export type LotView = FromSchema<typeof lotSchema>;
export type HeldDatasetView = FromSchema<typeof heldDatasetSchema>;
export type LotsView = FromSchema<typeof lotsSchema>;
export type LaneRunState = (typeof LANE_STATES)[number];
export type Reason = FromSchema<typeof reasonSchema>;
export type LaneStatus = FromSchema<typeof laneStatusSchema>;
export type RulesView = FromSchema<typeof rulesSchema>;
export type DraftView = FromSchema<typeof draftSchema>;
export type ReloadView = FromSchema<typeof reloadSchema>;
export type SlotView = FromSchema<typeof slotSchema>;
export type SnapshotView = FromSchema<typeof snapshotSchema>;
export type Standby = FromSchema<typeof standbySchema>;
export type Ready = FromSchema<typeof readySchema>;
export type LaneView = FromSchema<typeof laneSchema>;
export type FindingView = FromSchema<typeof findingSchema>;
export type ItemView = FromSchema<typeof itemSchema>;
export type ItemDetail = FromSchema<typeof itemDetailSchema>;
export type HeldByRuleView = FromSchema<typeof heldByRuleSchema>;
export type ItemPage = FromSchema<typeof itemsSchema>;
export type ReleaseOutcome = FromSchema<typeof releaseOutcomeSchema>;
export type ReleaseView = FromSchema<typeof releaseSchema>;
export type DiscardView = FromSchema<typeof discardSchema>;
export type DatasetView = FromSchema<typeof datasetSchema>;
export type ModelUseStatus = FromSchema<typeof modelUseStatusSchema>;
export type ModelVersionView = FromSchema<typeof modelVersionSchema>;

type Properties<P> = { readonly [K in keyof P]: FromSchema<P[K]> };
export type DatasetStatus = DatasetSeries & {
  readonly quarantine: Readonly<Record<string, number>>;
  readonly judged: boolean;
  readonly ruleFile: string | null;
};
export type PipelineStatus = Properties<typeof pipelineProperties> & {
  readonly lanes: readonly LaneSeries[];
  readonly datasets: readonly DatasetStatus[];
};
export type Status = Properties<typeof statusProperties> & {
  readonly pipelines: readonly PipelineStatus[];
  readonly alerts: readonly EndpointStatus[];
};
