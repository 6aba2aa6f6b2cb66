/** heartbeat: whether anything comes from the source at all. */
import { durationSchema as duration } from '../../core/duration.ts';
import { millis } from '../live/check.ts';
import { type ClockExpectation, seconds } from './check.ts';

export const heartbeat: ClockExpectation = {
  name: 'heartbeat',
  schema: {
    type: 'object',
    title: 'Heartbeat',
    description:
      'Something comes from the source at least so often: a change of any table that it reads, so that a table that is silent is told from a source that is. Have something written there as often (a row of a heartbeat table) where nothing else is.',
    additionalProperties: false,
    required: ['every'],
    properties: { every: { ...duration, description: 'How often, such as 1m; 5s at least.' } },
  },
  example: { rule: '- heartbeat: { every: 1m }', passes: { last_seen: '30s', newest_row: '2h' }, fails: { last_seen: '90s' } },
  bind: ({ every }, refuse) => {
    const everyMs = millis(every) ?? 0;
    // What was seen is noted once a second.
    if (everyMs < 5000) return refuse('a heartbeat is looked for every second or two', 'Write every: 5s or more.', 'every');
    return {
      counting: null,
      asksForLife: true,
      maxAgeMs: null,
      say: ({ nowMs, seenMs, sinceMs }) => {
        const startMs = seenMs ?? sinceMs;
        const silentMs = Math.max(0, nowMs - startMs);
        return {
          severity: silentMs > everyMs ? 'as said' : null,
          observed: seconds(silentMs),
          reason: `nothing came from the source for ${Math.floor(silentMs / 1000)} s, and something should every ${Math.floor(everyMs / 1000)} s`,
          startMs,
          rows: 0,
        };
      },
    };
  },
};
