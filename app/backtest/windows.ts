/**
 * Rules over windows, of the rules of now and of the changed ones, over the rows that the target has: which windows would change sides, and what was observed of each.
 * A window needs all of its rows, so a sample of a table says nothing of any.
 */
import type { QuarantineItem } from '../../core/contracts.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import { type ChangeEvent, type Dataset, keyOf, type Row, ValueRow } from '../../core/event.ts';
import { isError } from '../../core/problems.ts';
import type { WindowFinding, WindowVerdict } from '../../core/windows.ts';
import type { Contract } from '../../quality/contract.ts';
import { liveProblems } from '../../quality/live/binding.ts';
import type { LiveCheck } from '../../quality/live/check.ts';
import { WholeWindows } from '../../quality/live/whole.ts';
import { readEvent } from '../../quality/read-event.ts';
import type { DatasetOptions } from '../../sync/postgres/layout.ts';

export interface WindowSide {
  readonly verdict: WindowVerdict;
  /** JSON; null where there is nothing to show. */
  readonly observed: string | null;
  readonly reason: string | null;
}

export interface WindowChange {
  readonly rule: string;
  readonly startMs: number;
  readonly endMs: number | null;
  readonly group: string;
  readonly rows: number;
  /** null: there was no such rule, or it had no such window. */
  readonly before: WindowSide | null;
  readonly after: WindowSide | null;
}

export interface WindowCounts {
  readonly rule: string;
  /** Windows judged by the changed rules; by these and by the rules of now, those that fail. */
  readonly windows: number;
  readonly failed: number;
  readonly failedBefore: number;
  /** Windows that would fail and did not, or the other way round. */
  readonly changed: number;
}

export interface WindowsTested {
  readonly rules: readonly WindowCounts[];
  /** The newest windows that would change sides. */
  readonly examples: readonly WindowChange[];
  readonly notJudged: readonly { readonly rule: string; readonly message: string }[];
}

/** More rows are not kept for it. */
const ROWS_MAX = 1_000_000;

interface Version {
  readonly row: ValueRow;
  /** When it was written, and when it was no more; null where the target does not say, or it still is. */
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

export class BacktestWindows {
  readonly #contracts: readonly [before: Contract | null, after: Contract];
  readonly #layout: DatasetOptions | undefined;
  readonly #nowMs: number;
  readonly #versions: Version[] = [];
  readonly #items: ChangeEvent[] = [];
  readonly #notJudged = new Map<string, string>();
  #dataset: Dataset | null = null;
  #isCut = false;

  constructor(before: Contract | null, after: Contract, layout: DatasetOptions | undefined, nowMs: number) {
    this.#contracts = [before, after];
    this.#layout = layout;
    this.#nowMs = nowMs;
  }

  get #isAsked(): boolean {
    return this.#contracts.some((contract) => contract !== null && contract.live.checks.length > 0);
  }

  /** What is held was in its windows when it came. */
  item({ event }: QuarantineItem): void {
    if (this.#isAsked && event.op !== 'truncate' && event.op !== 'read') this.#items.push(event);
  }

  /** Rows were left out. */
  cut(): void {
    this.#isCut = true;
  }

  row(row: Row, dataset: Dataset): void {
    if (!this.#isAsked || this.#isCut) return;
    if (this.#versions.length >= ROWS_MAX) {
      this.#versions.length = 0;
      this.#isCut = true;
      return;
    }
    this.#dataset ??= dataset;
    const timeOf = (name: string | null | undefined): number | null => {
      const value = row.value(dataset.columns.findIndex((column) => column.name === name));
      const micros = typeof value === 'string' ? microsOf(value) : null;
      return micros === null ? null : Number(micros / 1000n);
    };
    const { history, write } = this.#layout ?? {};
    const fromMs = timeOf(this.#keepsVersions ? history?.from : write?.committedAt);
    const toMs = this.#keepsVersions ? timeOf(history?.to) : null;
    this.#versions.push({ row: new ValueRow(...dataset.columns.map((_, column) => row.value(column))), fromMs, toMs });
  }

  tested(examplesMax: number): WindowsTested {
    const [before, after] = this.#contracts;
    if (!this.#isAsked) return { rules: [], examples: [], notJudged: [] };
    const [then, now] = [this.#findings(before), this.#findings(after)];
    const ids = [...new Set([...(before?.live.checks ?? []), ...after.live.checks].map(({ id }) => id))];
    const changes = changesOf(then, now);
    const of = (findings: readonly WindowFinding[], rule: string) => findings.filter((one) => one.rule === rule);
    const fails = ({ verdict }: WindowFinding): boolean => verdict === 'fail';
    return {
      rules: ids.flatMap((rule) => {
        const [old, own] = [of([...then.values()], rule), of([...now.values()], rule)];
        if (old.length === 0 && own.length === 0) return [];
        const changed = changes.filter((one) => one.rule === rule).length;
        return [{ rule, windows: own.length, failed: own.filter(fails).length, failedBefore: old.filter(fails).length, changed }];
      }),
      examples: ids.flatMap((rule) => changes.filter((one) => one.rule === rule).slice(0, examplesMax)),
      notJudged: [...this.#notJudged].map(([rule, message]) => ({ rule, message })),
    };
  }

  get #keepsVersions(): boolean {
    const { history } = this.#layout ?? {};
    return (history?.from ?? null) !== null && (history?.to ?? null) !== null;
  }

  #findings(contract: Contract | null): ReadonlyMap<string, WindowFinding> {
    const dataset = this.#dataset;
    if (contract === null || dataset === null) return new Map();
    const checks = contract.live.checks.filter((check) => {
      const why = this.#whyNot(contract, check, dataset);
      if (why !== null) this.#notJudged.set(check.id, why);
      return why === null;
    });
    if (checks.length === 0) return new Map();
    const windows = new WholeWindows({ ...contract, mode: 'enforce', live: { ...contract.live, checks } }, this.#nowMs);
    for (const event of this.#events(dataset)) windows.add(event);
    return new Map(windows.findings().map((one) => [JSON.stringify([one.rule, one.startMs, one.endMs, one.group]), one]));
  }

  /** Why nothing can be said of its windows; null where it can. */
  #whyNot(contract: Contract, check: LiveCheck, dataset: Dataset): string | null {
    if (this.#isCut)
      return 'the target has more rows than were read, and a window needs all of its own: write --all (up to a million rows)';
    if (check.beside !== null) return `it is held against ${check.beside.other}, which is not read`;
    if (check.check.reads?.kind === 'score') return 'the target does not keep what models were asked';
    const { eventTime } = contract.live;
    const problem = liveProblems({ ...contract, live: { ...contract.live, checks: [check] } }, dataset, 'full').find(isError);
    if (problem !== undefined) return problem.message;
    if (this.#keepsVersions) return null;
    if (check.spec.of === 'changes') return 'it counts every version of a row, and the target keeps the last alone';
    if (eventTime.kind === 'commit' && (this.#layout?.write.committedAt ?? null) === null)
      return 'its windows go by the commit, and the target does not tell when a row was written (write.committedAt of its layout, or history)';
    return null;
  }

  /** In the order of commits, as far as the target tells them. */
  #events(dataset: Dataset): readonly ChangeEvent[] {
    const events =
      this.#keepsVersions && dataset.key.length > 0 ? this.#changes(dataset) : this.#versions.map((one) => this.#insert(one, dataset));
    return [...events, ...this.#items].sort((a, b) => a.committedAtMs - b.committedAtMs);
  }

  #insert({ row, fromMs }: Version, dataset: Dataset): ChangeEvent {
    const key = dataset.key.length === 0 ? '' : keyOf(dataset, row);
    return { ...readEvent(row, dataset, fromMs ?? this.#nowMs), op: 'insert', before: null, after: row, key };
  }

  /** The versions of each row as the changes that made them. */
  #changes(dataset: Dataset): ChangeEvent[] {
    const events: ChangeEvent[] = [];
    for (const versions of Map.groupBy(this.#versions, ({ row }) => keyOf(dataset, row)).values()) {
      const inOrder = versions.toSorted((a, b) => (a.fromMs ?? 0) - (b.fromMs ?? 0) || (a.toMs ?? Infinity) - (b.toMs ?? Infinity));
      let before: Row | null = null;
      for (const [at, version] of inOrder.entries()) {
        const event = this.#insert(version, dataset);
        events.push(before === null ? event : { ...event, op: 'update', before, after: version.row });
        const { toMs } = version;
        const isFollowed = inOrder[at + 1]?.fromMs === toMs;
        if (toMs !== null && !isFollowed) events.push({ ...event, op: 'delete', before: version.row, after: null, committedAtMs: toMs });
        before = toMs === null || isFollowed ? version.row : null;
      }
    }
    return events;
  }
}

function changesOf(then: ReadonlyMap<string, WindowFinding>, now: ReadonlyMap<string, WindowFinding>): readonly WindowChange[] {
  const changes: WindowChange[] = [];
  for (const id of new Set([...now.keys(), ...then.keys()])) {
    const [old, own] = [then.get(id), now.get(id)];
    const either = own ?? old;
    if (either === undefined || (old?.verdict === 'fail') === (own?.verdict === 'fail')) continue;
    const { rule, startMs, endMs, group, rows } = either;
    changes.push({ rule, startMs, endMs, group, rows, before: sideOf(old), after: sideOf(own) });
  }
  return changes.sort((a, b) => b.startMs - a.startMs || (a.group < b.group ? -1 : 1));
}

const sideOf = (finding: WindowFinding | undefined): WindowSide | null =>
  finding === undefined ? null : { verdict: finding.verdict, observed: finding.observed, reason: finding.reason };
