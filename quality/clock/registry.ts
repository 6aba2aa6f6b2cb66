/** Every check of the clock, by its name. */
import type { ClockExpectation } from './check.ts';
import { eventLag } from './event-lag.ts';
import { freshness } from './freshness.ts';
import { heartbeat } from './heartbeat.ts';
import { lateRatio } from './late-ratio.ts';

export const CLOCK: ReadonlyMap<string, ClockExpectation> = new Map(
  [freshness, heartbeat, eventLag, lateRatio].map((expectation) => [expectation.name, expectation]),
);
