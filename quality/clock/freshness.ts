/** freshness: how old the newest row is. */
import { durationSchema as duration } from '../../core/duration.ts';
import { millis } from '../live/check.ts';
import { type ClockExpectation, seconds } from './check.ts';

export const freshness: ClockExpectation = {
  name: 'freshness',
  schema: {
    type: 'object',
    title: 'Freshness',
    description:
      'The newest row is not older than max, by source.event_time. Older than warn, if you say that, it fails as a warning, and nothing is halted. Rows of a snapshot do not count; before there is a row, its age counts from the start of the service.',
    additionalProperties: false,
    required: ['max'],
    properties: {
      max: { ...duration, description: 'The greatest age, such as 5m.' },
      warn: { ...duration, description: 'The age from which on it is a warning, less than max.' },
    },
  },
  example: { rule: '- freshness: { max: 5m, warn: 2m }', passes: { newest_row: '1m' }, fails: { newest_row: '3m' } },
  bind: ({ max, warn }, refuse) => {
    const [maxMs, warnMs] = [millis(max) ?? 0, millis(warn)];
    if (warnMs !== null && warnMs >= maxMs)
      return refuse('a row would be too old before it is a warning', 'Make warn less than max, or remove it.', 'warn');
    return {
      counting: null,
      asksForLife: false,
      maxAgeMs: maxMs,
      say: ({ nowMs, newestMs, sinceMs }) => {
        const startMs = newestMs ?? sinceMs;
        const ageMs = Math.max(0, nowMs - startMs);
        const isWarning = warnMs !== null && ageMs > warnMs && ageMs <= maxMs;
        const limit = isWarning ? `warn is ${Math.floor(warnMs / 1000)} s` : `max is ${Math.floor(maxMs / 1000)} s`;
        return {
          severity: isWarning ? 'warning' : ageMs > maxMs ? 'as said' : null,
          observed: seconds(ageMs),
          reason: `no row for ${Math.floor(ageMs / 1000)} s, and ${limit}`,
          startMs,
          rows: 0,
        };
      },
    };
  },
};
