/** What the HTTP API answers of rules over time, and of service levels. */
import type { FromSchema } from '../schema-type.ts';
import { list, numberOrNull, orNull, shape, text, textOrNull, whole, yes } from './shape.ts';

export const ruleSeriesSchema = shape('What rules found over time.', {
  stepMs: whole('How long a step is.'),
  fromMs: whole('Unix time in ms at which the first step begins. What was counted before a restart is there again within 20 s of it.'),
  datasets: list(
    shape('A dataset.', {
      pipeline: text('The pipeline.'),
      dataset: text('source.schema.table'),
      rows: list({ type: 'integer' }, 'Events that were judged, step by step; the last step is under way.'),
      rules: list(
        shape('A rule: of its rule file, or of what else found something.', {
          stage: { enum: ['cdc', 'quality', 'inference', 'sync'], description: 'Which part of the pipeline it belongs to.' },
          rule: text('Its id.'),
          column: textOrNull('The column it is about, or null where it is about rows.'),
          verdict: orNull(
            { enum: ['tag', 'warn', 'drop', 'quarantine'], description: 'What became of the rows that it found.' },
            'null where it found none since the start.',
          ),
          failed: list({ type: 'integer' }, 'Events in which it found something, step by step.'),
          passed: list({ type: 'integer' }, 'Events in which it did not: those that it is not about (where, ops) among them.'),
        }),
        'Those that found most since the start first, then those that found nothing.',
      ),
    }),
    'The datasets.',
  ),
});

const sloProperties = {
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  id: text('The id of the service level.'),
  promise: text('What is promised, in words.'),
  objective: { type: 'number', description: 'The share in percent that is promised to be good.' },
  of: { enum: ['rows', 'windows', 'minutes'], description: 'What it is about.' },
  rules: list({ type: 'string' }, 'The rules over windows, or of freshness, that it is about; none for rows.'),
  overMs: whole('The time that it is about, back from now.'),
  good: whole('How many were good in that time.'),
  bad: whole('How many were not.'),
  budgetLeft: numberOrNull(
    'The share of the error budget that is left: below 0 where the promise is broken; null where nothing was counted.',
  ),
  burns: list(
    shape('How fast the budget is used up.', {
      longMs: whole('The window.'),
      window: text('The window as rule files write it: 1h.'),
      shortMs: whole('The short window.'),
      rate: { type: 'number', description: 'How many times too fast is too much.' },
      page: yes('Whether it is critical then.'),
      long: numberOrNull('How many times too fast it is over the window; null where nothing was counted.'),
      short: numberOrNull('And over the short one.'),
      isBurning: yes('Whether it is too much over both.'),
    }),
    'The burn rates.',
  ),
  troubles: list({ type: 'string' }, 'What is wrong with it now, in words; empty where nothing is.'),
} as const;
const incidentProperties = {
  pipeline: text('The pipeline.'),
  dataset: text('source.schema.table'),
  slo: text('The id of the service level.'),
  id: text('The same in all that is told of it.'),
  cause: { enum: ['burn', 'budget'], description: 'burn: the budget is used up too fast. budget: it is used up.' },
  severity: { enum: ['warning', 'critical'], description: 'How loud to be about it.' },
  message: text('What is wrong, in words.'),
  openedMs: whole('Unix time in ms.'),
  resolvedMs: numberOrNull('Unix time in ms; null while it is open.'),
} as const;
export const sloSchema = shape('A service level.', sloProperties);
export const slosSchema = shape('Service levels, and what became of them.', {
  objectives: list(sloSchema, 'The service levels of the rules in force.'),
  incidents: list(
    shape('A time in which a service level was in danger, or broken.', incidentProperties),
    'Open ones first, then the newest.',
  ),
});

export type RuleSeriesView = FromSchema<typeof ruleSeriesSchema>;
export type SloView = FromSchema<typeof sloSchema>;
export type SlosView = FromSchema<typeof slosSchema>;
export type IncidentView = SlosView['incidents'][number];
