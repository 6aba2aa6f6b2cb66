/** increasing and decreasing over a window: its rows in the order of their times, however they came. */
import type { Kwargs } from '../gx/kwargs.ts';
import { course, type Course } from '../states/course.ts';
import { type WindowCheck, windowCheck } from './check.ts';

export function orderWindow(kwargs: Kwargs, direction: 1 | -1): WindowCheck {
  const strictly = kwargs.flagOrNull('strictly');
  const mostly = kwargs.share('mostly', 1);
  const check = windowCheck(course, (state: Course) => {
    const { count, failed } = state.outOfOrder(direction, strictly);
    if (count === 0) return { success: true, observed: null };
    const observed = (count - failed) / count;
    return { success: observed >= mostly, observed };
  });
  return { ...check, reads: { kind: 'timed' } };
}
