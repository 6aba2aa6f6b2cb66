/** A row as it is, of a table or a file, in the form that rules judge; and what a rule says of one. */
import type { ChangeEvent, Dataset, Row, Version } from '../core/event.ts';
import { Outcome } from './outcome.ts';

export const readEvent = (row: Row, dataset: Dataset, committedAtMs = 0): ChangeEvent => ({
  op: 'read',
  before: null,
  after: row,
  dataset,
  key: '',
  movedFrom: null,
  version: '' as Version, // No rule asks for it.
  ordinal: 0,
  committedAtMs,
});

/** What a rule cannot read is an outcome too, and never an error: its text may hold a value. */
export function outcomeOf(test: (event: ChangeEvent) => Outcome, event: ChangeEvent): Outcome {
  try {
    return test(event);
  } catch {
    return Outcome.Unreadable;
  }
}
