/** A reference made of the windows that a rule remembers: what it is held against now, kept. */
import type { WindowMemory } from '../../core/windows.ts';
import { tracesOf } from '../live/memory.ts';
import { countsOfTraces, gridOfTraces, isLong } from '../windows/rolling.ts';
import type { StoredReference } from './form.ts';
import { binsOf, NoReference, valuesOf, type Wanted } from './make.ts';

/** `memories`: of the groups that are meant, all of one rule. */
export function referenceOfWindows(dataset: string, memories: readonly WindowMemory[], { parts }: Pick<Wanted, 'parts'>): StoredReference {
  const remembered = memories.map(({ state }) => tracesOf(state));
  const [first] = remembered;
  const traces = remembered.flatMap((one) => one.traces);
  if (first === undefined || traces.length === 0)
    throw new NoReference('the rule remembers no window', 'Name a rule with a rolling reference that has seen some.');
  const { id, column } = first;
  if ((id !== 'numbers' && id !== 'values') || column === null)
    throw new NoReference(`what the rule remembers (${id}) is no distribution`, 'Name a rule with a rolling reference.');
  if ((id === 'numbers') !== 'bins' in parts)
    throw new NoReference(`the rule remembers ${id}`, id === 'numbers' ? 'Give --bins.' : 'Give --values.');
  const head = { apiVersion: 'quality/v1', kind: 'Reference', dataset, column } as const;
  if ('bins' in parts) {
    const grid = gridOfTraces(traces);
    return { ...head, type: 'decimal', rows: grid.count, missing: 0, ...binsOf(grid, false, parts.bins) };
  }
  const { named, others } = countsOfTraces(traces);
  const rows = named.reduce((sum, { count }) => sum + count, others);
  // The beginning of a long text is no value of the column: such texts are among the others.
  const whole = named.filter(({ cell }) => !isLong(cell));
  if (whole.length === 0)
    throw new NoReference('the rule remembers the beginnings of long texts alone', 'Make it of rows: leave --windows-of out.');
  const of = valuesOf(column, whole, rows - whole.reduce((sum, { count }) => sum + count, 0), parts.values);
  return { ...head, type: typeOf(of.values ?? []), rows, missing: 0, ...of };
}

/** A type of the kind that the values are of. */
function typeOf([first]: NonNullable<StoredReference['values']>): StoredReference['type'] {
  return typeof first === 'number' ? 'decimal' : typeof first === 'boolean' ? 'boolean' : 'text';
}
