/** What is left of an event where the target has some of its rows newer. */
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent } from '../../core/event.ts';

/** Null where nothing of it is to be written. `isPartial`: whether it leaves cells out, asked only where that matters. */
export function withoutOutrun(
  event: ChangeEvent,
  isPartial: (event: ChangeEvent) => boolean,
  isOutrun: (key: string) => boolean,
): ChangeEvent | null {
  const keyOutrun = isOutrun(event.key);
  if (event.movedFrom === null) return keyOutrun ? null : event;
  const oldOutrun = isOutrun(event.movedFrom);
  if (!keyOutrun && !oldOutrun) return event;
  if (keyOutrun && oldOutrun) return null;
  if (event.op !== 'update') throw new PipelineError('BUG', `a ${event.op} that moves a key`);
  if (keyOutrun) return { ...event, op: 'delete', after: null, key: event.movedFrom, movedFrom: null };
  // The row at the old key is a newer one and stays. Cells left out were those of the one before it. (An event may make its key when it is asked for it.)
  return isPartial(event) ? null : { ...event, key: event.key, movedFrom: null };
}
