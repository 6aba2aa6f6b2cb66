/** schema_compatible: the newest version of a schema at the registry goes with the ones before it. */
import { durationSchema as duration } from '../../core/duration.ts';
import {
  COMPATIBILITY_LEVELS,
  COMPATIBILITY_POLICIES,
  type CompatibilityLevel,
  type CompatibilityPolicy,
  InvalidSchema,
} from '../compatibility/levels.ts';
import { compareRegistered } from '../compatibility/registered.ts';
import { millis } from '../live/check.ts';
import type { Parameters, TimerExpectation, TimerSaid, VersionsAnswer } from './check.ts';

const EVERY_MIN_MS = 1000;
/** Changes that are named. */
const NAMED_MAX = 3;

export const schemaCompatible: TimerExpectation = {
  name: 'schema_compatible',
  gx: null,
  schema: {
    title: 'Schema compatible',
    description:
      'The registry of the source, or of the target, is asked for the versions of a subject; the newest has to go with the ones before it, as `tidegate schema diff` says. Avro and JSON Schema. What was registered while the registry asked for less, or for nothing, is told of.',
    type: 'object',
    additionalProperties: false,
    properties: {
      subject: { type: 'string', minLength: 1, description: 'The subject. Default: the topic of the dataset, with -value behind it.' },
      level: {
        enum: COMPATIBILITY_LEVELS.filter((level) => level !== 'NONE'),
        default: 'BACKWARD',
        description:
          'BACKWARD: the newest reads what the one before it wrote. FORWARD: that one reads what the newest writes. FULL: both. _TRANSITIVE: all before it.',
      },
      policy: {
        enum: [...COMPATIBILITY_POLICIES],
        default: 'strict',
        description: 'Of JSON Schema: whether a property that an open content model did not name may be named.',
      },
      every: { ...duration, default: '5m', description: 'How often, counted from midnight in UTC; 1s at least.' },
    },
  },
  example: {
    rule: '- schema_compatible: { subject: orders-value, level: BACKWARD_TRANSITIVE }',
    passes: [
      { version: 1, type: 'AVRO', schema: '"int"' },
      { version: 2, type: 'AVRO', schema: '"long"' },
    ],
    fails: [
      { version: 1, type: 'AVRO', schema: '"long"' },
      { version: 2, type: 'AVRO', schema: '"int"' },
    ],
    areVersions: true,
  },
  bind: (written, refuse) => {
    const { subject = null, level = 'BACKWARD', policy = 'strict', every = '5m' } = written as Parameters; // As the schema has it.
    const everyMs = millis(every) ?? 0;
    if (everyMs < EVERY_MIN_MS) return refuse('a registry is asked every second at most', 'Write every: 1s or more.', 'every');
    return {
      kind: 'versions',
      everyMs,
      question: {
        kind: 'versions',
        subject: subject as string | null,
        level: level as CompatibilityLevel,
        policy: policy as CompatibilityPolicy,
      },
      say: (answer) => say(answer, level as CompatibilityLevel, policy as CompatibilityPolicy),
    };
  },
};

function say({ subject, versions }: VersionsAnswer, level: CompatibilityLevel, policy: CompatibilityPolicy): TimerSaid {
  const newest = versions.at(-1);
  const unknown = (reason: string): TimerSaid => ({ verdict: 'indeterminate', observed: null, reason, rows: 0 });
  if (newest === undefined) return unknown(`the registry has no subject ${subject}`);
  try {
    const { compatible, changes } = compareRegistered(versions, level, policy);
    const harmful = changes.filter((change) => !change.compatible);
    const words = harmful
      .slice(0, NAMED_MAX)
      .map(({ message, path, against }) => `${path} against version ${versions[against]?.version}: ${message}`);
    const more = harmful.length > NAMED_MAX ? ` (and ${harmful.length - NAMED_MAX} more)` : '';
    return {
      verdict: compatible ? 'pass' : 'fail',
      observed: harmful.length,
      reason: compatible ? null : `version ${newest.version} of ${subject} is not ${level}: ${words.join(' ')}${more}`,
      rows: 0,
    };
  } catch (error) {
    if (error instanceof InvalidSchema) return unknown(`the versions of ${subject} could not be compared: ${error.message}`);
    throw error;
  }
}
