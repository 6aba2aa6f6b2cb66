/**
 * What the rules of a set remember of windows that were judged: of each group the traces of the last windows, and which of them later windows are held against.
 *
 * A window is held against windows alone that take no more rows once it is judged. So which ones these are, and what is in them, depends neither on when windows are
 * closed nor on how late rows come; and a later revision of a verdict is held against the same ones as the first. What is remembered is written in the transaction that
 * closes the windows: it survives what their verdicts survive.
 */
import type { WindowMemory } from '../../core/windows.ts';
import { type Encoded, fieldsOf, listOf, wholeOf } from '../states/state.ts';
import type { Memory, PastAsked, Season } from '../windows/memory.ts';
import type { LiveCheck, WindowSpec } from './check.ts';

/** Of a rule, with its windows in mind. */
export interface PastSpec {
  /** Windows that began so long before, or longer, are looked at. */
  readonly gapMs: number;
  readonly of: PastAsked['of'];
  readonly same: Season | null;
}

interface Remembered {
  readonly startMs: number;
  readonly learns: boolean;
  readonly trace: Encoded;
}

/** So many windows lie between at least: those that late rows may still change, and those that share rows with it. */
export function offsetMin({ everyMs, sizeMs, latenessMs }: WindowSpec): number {
  return Math.max(1, Math.ceil(latenessMs / everyMs), Math.ceil(sizeMs / everyMs)) - 1;
}

export function pastSpec({ asked }: Memory, spec: WindowSpec): PastSpec {
  return { gapMs: ((asked.offset ?? offsetMin(spec)) + 1) * spec.everyMs, of: asked.of, same: asked.same };
}

/** How many windows of a group are remembered at once, at most. */
export function rememberedMax(memory: Memory, spec: WindowSpec): number {
  const { gapMs, of, same } = pastSpec(memory, spec);
  const past = 'windows' in of ? of.windows * (same === null ? 1 : SLOTS[same]) : Math.ceil(of.ms / spec.everyMs) + 1;
  return past + Math.ceil((gapMs + spec.latenessMs + spec.sizeMs) / spec.everyMs) + 1;
}

/** What keeps a check from being used over its windows. */
export function pastProblem(memory: Memory, check: Pick<LiveCheck, 'id' | 'spec' | 'groupBy' | 'maxGroups'>): PastProblem | null {
  const { asked, traceSize } = memory;
  const { spec, groupBy, maxGroups } = check;
  const least = offsetMin(spec);
  if (asked.offset !== null && asked.offset < least)
    return {
      message: `offset: ${asked.offset} leaves too few windows out: late rows may still change the last ${least} before a window, or it shares rows with them`,
      fix: `Leave offset out, or write ${least} or more; with a shorter lateness fewer are enough.`,
    };
  const past =
    'ms' in asked.of ? Math.floor(asked.of.ms / spec.everyMs / (asked.same === null ? 1 : slotShare(asked.same, spec.everyMs))) : null;
  if (past !== null && past < asked.minWindows)
    return {
      message: `its baseline has ${past} windows that it could be held against, and min_windows is ${asked.minWindows}: it would never be judged`,
      fix: 'Make baseline longer, or min_windows less, or the windows shorter.',
    };
  const bytes = rememberedMax(memory, spec) * (groupBy.length === 0 ? 1 : maxGroups + 1) * (traceSize + 24);
  if (bytes > REMEMBERED_BYTES_MAX)
    return {
      message: `${check.id} would remember up to ${Math.ceil(bytes / 1e6)}MB (windows times groups), and ${REMEMBERED_BYTES_MAX / 1e6}MB are the most`,
      fix: 'Ask for fewer windows or a shorter baseline, make the windows longer, or lower max_groups.',
    };
  return null;
}

export interface PastProblem {
  readonly message: string;
  readonly fix: string;
}

/** Read and written whenever windows of the set are closed. */
const REMEMBERED_BYTES_MAX = 32_000_000;

/** Of so many windows, one is of the same time. */
function slotShare(same: Season, everyMs: number): number {
  return Math.min(SLOTS[same], Math.max(1, (SLOTS[same] * (same === 'day_of_week' ? 24 : 1) * HOUR_MS) / everyMs));
}

const HOUR_MS = 3_600_000;
const SLOTS = { hour_of_day: 24, day_of_week: 7, hour_of_week: 168 } as const;

/** Which time of the day or the week it is, in UTC. */
function slotOf(same: Season | null, startMs: number): number {
  if (same === null) return 0;
  return Math.floor(startMs / (same === 'day_of_week' ? 24 * HOUR_MS : HOUR_MS)) % SLOTS[same];
}

/** Those that a window is held against, oldest first. */
function pastOf(all: readonly Remembered[], { gapMs, of, same }: PastSpec, startMs: number): readonly Remembered[] {
  const slot = slotOf(same, startMs);
  const latestMs = startMs - gapMs;
  const past = all.filter((one) => one.learns && one.startMs <= latestMs && slotOf(same, one.startMs) === slot);
  return 'windows' in of ? past.slice(-of.windows) : past.filter((one) => one.startMs >= latestMs - of.ms);
}

/** Those that no window is held against any more are left out. */
function pruned(all: readonly Remembered[], spec: PastSpec, oldestMs: number): readonly Remembered[] {
  const latestMs = oldestMs - spec.gapMs;
  const { of, same } = spec;
  const left = new Map<number, number>();
  const kept = all.toReversed().filter((one) => {
    if (one.startMs > latestMs) return true;
    if (!one.learns) return false;
    if ('ms' in of) return one.startMs >= latestMs - of.ms;
    const slot = slotOf(same, one.startMs);
    const count = (left.get(slot) ?? 0) + 1;
    left.set(slot, count);
    return count <= of.windows;
  });
  return kept.reverse();
}

/** Windows that began longer before the last one are none that it is held against. */
function spanOf({ of, same }: PastSpec, everyMs: number): number {
  if ('ms' in of) return of.ms;
  if (same === null) return of.windows * everyMs;
  const slotMs = (same === 'day_of_week' ? 24 : 1) * HOUR_MS;
  const times = Math.ceil(of.windows / Math.max(1, Math.floor(slotMs / everyMs)));
  return (times + 1) * SLOTS[same] * slotMs;
}

interface RuleMemory {
  readonly check: LiveCheck;
  readonly spec: PastSpec;
  readonly groups: Map<string, Remembered[]>;
}

/**
 * What is known of a group, up to the last window that one which begins at `startMs` is held against. Since it was there first it has had no rows in each window that nothing
 * is known of: while it is too new for that to be told, nobody says so.
 */
function sinceThere({ check, spec, groups }: RuleMemory, group: string, startMs: number): readonly Remembered[] {
  const known = groups.get(group) ?? [];
  const absent = check.check.memory?.absent;
  const [first] = known;
  if (absent === undefined || first === undefined || check.groupBy.length === 0) return known;
  const { everyMs } = check.spec;
  const all: Remembered[] = [];
  const latestMs = startMs - spec.gapMs;
  const tooOld = Math.ceil(Math.max(0, latestMs - spanOf(spec, everyMs) - first.startMs) / everyMs);
  let at = 0;
  for (let ms = first.startMs + tooOld * everyMs; ms <= latestMs; ms += everyMs) {
    while ((known[at]?.startMs ?? Infinity) < ms) at++;
    const own = known[at];
    all.push(own?.startMs === ms ? own : { startMs: ms, learns: true, trace: absent });
  }
  return all;
}

/** Rules are many and few remember: only those that do have an entry. */
export class SetMemory {
  readonly #rules = new Map<string, RuleMemory>();

  constructor(checks: readonly LiveCheck[], kept: readonly WindowMemory[]) {
    for (const check of checks) {
      const { memory } = check.check;
      if (memory === undefined) continue;
      const own = kept.filter(({ rule }) => rule === check.id);
      const groups = own.map(({ group, state }) => [group, decode(state, formOf(check))] as const);
      this.#rules.set(check.id, { check, spec: pastSpec(memory, check.spec), groups: new Map(groups) });
    }
  }

  /** Traces of the windows that this one is held against. */
  before({ id }: LiveCheck, group: string, startMs: number): readonly Encoded[] {
    const rule = this.#rules.get(id);
    return rule === undefined ? [] : pastOf(sinceThere(rule, group, startMs), rule.spec, startMs).map(({ trace }) => trace);
  }

  /** What the window came to; it replaces what an earlier revision of it came to. `trace`: null where there is nothing to remember of it. */
  note({ id }: LiveCheck, group: string, startMs: number, trace: Encoded | null, learns: boolean): void {
    const groups = this.#rules.get(id)?.groups;
    if (groups === undefined) return;
    const others = (groups.get(group) ?? []).filter((one) => one.startMs !== startMs);
    const all = trace === null ? others : [...others, { startMs, learns, trace }];
    groups.set(
      group,
      all.sort((a, b) => a.startMs - b.startMs),
    );
  }

  /** Groups that had rows before, so that none is something to be told; by rule. */
  missed(startMs: number, present: ReadonlySet<string>): (readonly [LiveCheck, string])[] {
    return [...this.#rules.values()].flatMap(({ check, groups }) => {
      const absent = check.check.memory?.absent;
      if (absent === undefined || check.groupBy.length === 0) return [];
      return [...groups.keys()]
        .filter((group) => !present.has(group) && this.before(check, group, startMs).some((trace) => trace !== absent))
        .sort()
        .map((group) => [check, group] as const);
    });
  }

  /** `oldestMs`: no window that began before that is judged any more. */
  encode(oldestMs: number): WindowMemory[] {
    return [...this.#rules.values()].flatMap(({ check, spec, groups }) => {
      const left = [...groups]
        .map(([group, all]) => ({ group, all: pruned(all, spec, oldestMs) }))
        .filter(
          ({ all }) => all.length > 0 && (check.groupBy.length === 0 || all.some(({ trace }) => trace !== check.check.memory?.absent)),
        );
      // Groups come and go: those that were there last are as many as a window may have.
      const newest = left.sort((a, b) => lastOf(b.all) - lastOf(a.all) || (a.group < b.group ? -1 : 1)).slice(0, check.maxGroups + 1);
      return newest.map(({ group, all }) => ({ rule: check.id, group, state: encode(all, formOf(check)) }));
    });
  }
}

const lastOf = (all: readonly Remembered[]): number => all.at(-1)?.startMs ?? 0;

/** What a trace is made of: of another column or condition it is no trace of this rule. */
function formOf({ check, column, where, missing }: LiveCheck): string {
  return JSON.stringify([check.memory?.id ?? '', column, where, ...(missing.length === 0 ? [] : [missing])]);
}

/** The traces that later windows would be held against, with the form that they have and the column that they are of. */
export function tracesOf(state: string): { readonly id: string; readonly column: string | null; readonly traces: readonly Encoded[] } {
  const { form } = fieldsOf(JSON.parse(state) as Encoded); // Written by `encode`.
  if (typeof form !== 'string') throw new Error('what a rule remembers has a form');
  const [id, column] = JSON.parse(form) as readonly [string, string | null, string | null]; // By `formOf`.
  const traces = decode(state, form).filter(({ learns }) => learns);
  return { id, column, traces: traces.map(({ trace }) => trace) };
}

function encode(all: readonly Remembered[], form: string): string {
  return JSON.stringify({ form, windows: all.map(({ startMs, learns, trace }) => [startMs, learns ? 1 : 0, trace]) });
}

function decode(state: string, form: string): Remembered[] {
  const { form: known, windows } = fieldsOf(JSON.parse(state) as Encoded); // Written by `encode`.
  if (known !== form) return [];
  return listOf(windows).map((window) => {
    const [startMs, learns, trace = null] = listOf(window);
    return { startMs: wholeOf(startMs), learns: learns === 1, trace };
  });
}
