/** Every check that databases are asked by, by its name here and by that of Great Expectations. */
import type { TimerExpectation } from './check.ts';
import { reconcile } from './reconcile.ts';
import { schemaCompatible } from './schema-compatible.ts';
import { sql } from './sql.ts';

const all: readonly TimerExpectation[] = [sql, reconcile, schemaCompatible];

export const TIMERS: ReadonlyMap<string, TimerExpectation> = new Map(all.map((expectation) => [expectation.name, expectation]));

export const TIMERS_OF_GX: ReadonlyMap<string, TimerExpectation> = new Map(
  all.flatMap((expectation) => (expectation.gx === null ? [] : [[expectation.gx.name, expectation] as const])),
);
