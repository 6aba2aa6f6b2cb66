/** What the checks of one set keep of a window: slots, each a state of one column's values. Checks that need the same share one. */
import type { Sketch, SketchKind } from '../states/sketch.ts';
import type { StateKind, State } from '../states/state.ts';
import type { Reads } from '../windows/check.ts';
import type { Check } from '../contract.ts';
import type { Token } from '../missing.ts';
import type { LiveCheck, WindowSpec } from './check.ts';
import { setIdOf } from './check.ts';

export interface Slot {
  /** Names it in what is kept at the target: the same from one start to the next. */
  readonly id: string;
  /** null: only the number of rows counts. */
  readonly column: string | null;
  readonly where: string | null;
  /** Values that stand for none. */
  readonly missing: readonly Token[];
  /** They are those of the file: each counts in the columns of which it is a value. */
  readonly missingIsDefault: boolean;
  /** The check that rows pass or not; null where the cell itself is what counts. */
  readonly rows: Check | null;
  /** null: the cell of its column. */
  readonly reads: Reads | null;
  readonly kind: StateKind<State>;
  /** What goes on for its checks where its values are more than there is room for, one of a kind. */
  readonly sketches: readonly SketchKind<Sketch>[];
}

export interface SetPlan {
  readonly id: string;
  readonly spec: WindowSpec;
  readonly groupBy: readonly string[];
  readonly maxGroups: number;
  readonly slots: readonly Slot[];
  readonly checks: readonly { readonly check: LiveCheck; readonly slot: number }[];
}

/** Kinds without parameters: whoever asks for one can do with that of another. */
const SHARED: ReadonlySet<string> = new Set(['nothing', 'sums', 'extremes', 'value counts', 'ranks', 'course']);

export function slotIdOf({ check: { kind, reads }, column, where, missing, id, rows }: LiveCheck): string {
  const without = missing.length === 0 ? '' : ` without ${JSON.stringify(missing)}`;
  // Other parameters count other rows.
  if (rows !== null) return `${column ?? ''}${without}|share#${id}${JSON.stringify(rows.parameters)}|${where ?? ''}`;
  const of = reads?.kind === 'columns' ? JSON.stringify(reads.columns) : reads?.kind === 'score' ? JSON.stringify(reads) : (column ?? '');
  const own = SHARED.has(kind.name) ? '' : `#${id}`;
  return `${of}${without}|${kind.name}${own}|${where ?? ''}`;
}

/** The sets of a contract's checks, each with its slots. */
export function planSets(checks: readonly LiveCheck[]): readonly SetPlan[] {
  const bySet = new Map<string, LiveCheck[]>();
  for (const check of checks) {
    const id = setIdOf(check);
    bySet.set(id, [...(bySet.get(id) ?? []), check]);
  }
  return [...bySet].map(([id, own]) => planSet(id, own));
}

function planSet(id: string, checks: readonly LiveCheck[]): SetPlan {
  const slots: (Slot & { readonly sketches: SketchKind<Sketch>[] })[] = [];
  const placed = checks.map((check) => {
    const slotId = slotIdOf(check);
    const known = slots.findIndex((slot) => slot.id === slotId);
    const { kind, sketch, reads = null } = check.check;
    if (known < 0)
      slots.push({
        id: slotId,
        column: check.column,
        where: check.where,
        missing: check.missing,
        missingIsDefault: check.missingIsDefault,
        rows: check.rows,
        reads,
        kind,
        sketches: [],
      });
    const at = known < 0 ? slots.length - 1 : known;
    const { sketches = [] } = slots[at] ?? {};
    if (sketch !== null && !sketches.some(({ id: other }) => other === sketch.kind.id)) sketches.push(sketch.kind);
    return { check, slot: at };
  });
  const [first] = checks;
  if (first === undefined) throw new Error('a set without checks');
  const { spec, groupBy, maxGroups } = first;
  return { id, spec, groupBy, maxGroups, slots, checks: placed };
}
