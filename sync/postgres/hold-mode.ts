/** Whether the later events of a held key wait for it: what was chosen for their dataset, else whether one of them could leave cells out. */
import type { ChangeEvent, ColumnType, Dataset, DatasetName } from '../../core/event.ts';
import type { HoldMode } from './items.ts';

/** Types whose values can be long enough for PostgreSQL to leave them out of an update that does not change them. */
const TOASTABLE: ReadonlySet<ColumnType> = new Set(['text', 'json', 'bytes', 'other', 'decimal']);

/** Whether updates may leave out cells that are written. `skipped`: 1 for each column that is not, as `Layout.skipped` has it. */
export const mayBePartial = ({ columns }: Dataset, skipped: Uint8Array | null): boolean =>
  columns.some(({ type }, i) => skipped?.[i] !== 1 && TOASTABLE.has(type));

/** `chosen`: null for the default. `skippedOf`: 1 for each column that is not written, as `Layout.skipped` has it. */
export function holdModes(
  chosen: (dataset: DatasetName) => HoldMode | null,
  skippedOf: (dataset: Dataset) => Uint8Array | null,
): (event: ChangeEvent) => HoldMode {
  const modes = new WeakMap<Dataset, HoldMode>();
  return ({ dataset }) => {
    const known = modes.get(dataset);
    if (known !== undefined) return known;
    const mode = chosen(dataset.name) ?? (mayBePartial(dataset, skippedOf(dataset)) ? 'key' : 'event');
    modes.set(dataset, mode);
    return mode;
  };
}
