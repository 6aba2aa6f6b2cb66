/** A store of windows in memory, as the target keeps them, and a lane that feeds it. */
import { Batch, type Scores, ScoreStatus } from '../../../core/batch.ts';
import type { Clock } from '../../../core/clock.ts';
import { type ChangeEvent, type Dataset, type LaneId, type Position, ValueRow, type Version } from '../../../core/event.ts';
import {
  ANY_DATASET,
  SNAPSHOT_WINDOW,
  type WindowFilter,
  type WindowFinding,
  type WindowMark,
  type WindowMemory,
  type WindowPart,
  type WindowResult,
  type WindowSetRef,
  type WindowSetState,
  type WindowStore,
  type WindowWrites,
} from '../../../core/windows.ts';
import type { Contract } from '../../../quality/contract.ts';
import { type Live, WindowCloser } from '../../../quality/live/closer.ts';
import { windowStage } from '../../../quality/live/stage.ts';
import { columns, orders } from '../support.ts';

const isIn = ({ dataset, beside }: WindowSetRef, name: Contract['dataset']): boolean => name === dataset || name === beside;

interface Kept extends WindowPart {
  readonly id: number;
  readonly lane: LaneId;
}

export class MemoryStore implements WindowStore {
  parts: Kept[] = [];
  readonly marks = new Map<string, WindowMark & { readonly lane: LaneId }>();
  readonly sets = new Map<string, { closedMs: number | null; readonly judged: Map<LaneId, number> }>();
  readonly all: WindowResult[] = [];
  /** By dataset and set. */
  readonly memories = new Map<string, readonly WindowMemory[]>();
  #ids = 0;

  /** In the transaction of a batch. */
  write(lane: LaneId, { parts, marks }: WindowWrites): void {
    for (const mark of marks) this.marks.set(`${lane} ${mark.dataset}`, { ...mark, lane });
    const same = (a: WindowPart, b: WindowPart) =>
      a.dataset === b.dataset && a.set === b.set && a.startMs === b.startMs && a.group === b.group && a.late === b.late;
    for (const part of parts) if (part.whole) this.parts = this.parts.filter((kept) => kept.lane !== lane || !same(kept, part));
    for (const part of parts) this.parts.push({ ...part, lane, id: ++this.#ids });
  }

  async partsOf(lane: LaneId) {
    return this.parts.filter((part) => part.lane === lane && part.startMs !== SNAPSHOT_WINDOW);
  }

  async lastSeen() {
    const seen = [...this.marks.values()].filter(({ dataset }) => dataset === ANY_DATASET).map(({ seenMs }) => seenMs);
    return seen.length === 0 ? null : Math.max(...seen);
  }

  async marksOf(lane: LaneId) {
    return [...this.marks.values()].filter((mark) => mark.lane === lane);
  }

  #of({ dataset, set }: WindowSetRef) {
    const key = `${dataset} ${set}`;
    const known = this.sets.get(key) ?? { closedMs: null, judged: new Map<LaneId, number>() };
    this.sets.set(key, known);
    return known;
  }

  #state(ref: WindowSetRef): WindowSetState {
    const { closedMs, judged } = this.#of(ref);
    const own = this.parts.filter((part) => isIn(ref, part.dataset) && part.set === ref.set);
    const fresh = own
      .filter(
        ({ startMs, id, lane, late }) =>
          startMs >= 0 && (closedMs === null ? !late : startMs + ref.sizeMs <= closedMs && id > (judged.get(lane) ?? 0)),
      )
      .map(({ startMs }) => startMs);
    return {
      closedMs,
      lanes: [...this.marks.values()].filter(({ dataset }) => isIn(ref, dataset)),
      firstMs: fresh.length === 0 ? null : Math.min(...fresh),
      hasSnapshot: own.some(({ startMs }) => startMs === SNAPSHOT_WINDOW),
    };
  }

  async peek(refs: readonly WindowSetRef[]) {
    return refs.map((ref) => this.#state(ref));
  }

  async close(ref: WindowSetRef, decide: Parameters<WindowStore['close']>[1], judge: Parameters<WindowStore['close']>[2]) {
    const state = this.#state(ref);
    const closing = decide(state);
    if (closing === null) return [];
    const { judged } = this.#of(ref);
    const due = this.parts.filter(
      ({ dataset, set, startMs }) =>
        isIn(ref, dataset) &&
        set === ref.set &&
        (startMs === SNAPSHOT_WINDOW ? closing.snapshot : startMs + ref.sizeMs <= closing.closedMs),
    );
    const windows = new Map<string, Kept[]>();
    for (const part of due) windows.set(`${part.startMs} ${part.group}`, [...(windows.get(`${part.startMs} ${part.group}`) ?? []), part]);
    const fresh = [...windows.values()].filter((parts) =>
      parts.some(({ id, lane, startMs }) => startMs < 0 || startMs + ref.sizeMs > (state.closedMs ?? -1) || id > (judged.get(lane) ?? 0)),
    );
    const { findings, memories } = judge(
      fresh
        .map((parts) => ({ startMs: parts[0]?.startMs ?? 0, group: parts[0]?.group ?? '', parts }))
        .sort((a, b) => a.startMs - b.startMs || (a.group < b.group ? -1 : 1)),
      state,
      closing,
      this.memories.get(`${ref.dataset} ${ref.set}`) ?? [],
    );
    this.memories.set(`${ref.dataset} ${ref.set}`, memories);
    const results = findings.flatMap((finding) => this.#keep(finding));
    for (const { id, lane } of this.parts) judged.set(lane, Math.max(judged.get(lane) ?? 0, id));
    this.parts = this.parts.filter(
      (part) => !due.includes(part) || !(part.startMs === SNAPSHOT_WINDOW || part.startMs + ref.sizeMs <= closing.finalMs),
    );
    this.#of(ref).closedMs = closing.closedMs < 0 ? null : closing.closedMs;
    return results;
  }

  #keep({ takesBack = false, ...finding }: WindowFinding): WindowResult[] {
    const { rule, startMs, group } = finding;
    const last = this.all.findLast((one) => one.rule === rule && one.startMs === startMs && one.group === group);
    const said = ({ verdict, observed, reason, rows, missing }: WindowFinding) =>
      JSON.stringify([verdict, observed, reason, rows, missing]);
    if (takesBack ? last === undefined || last.verdict === 'pass' : last !== undefined && said(last) === said(finding)) return [];
    const result = { ...finding, id: String(this.all.length + 1), revision: (last?.revision ?? 0) + 1, atMs: 0 };
    this.all.push(result);
    return [result];
  }

  async memoriesOf(dataset: Contract['dataset'], rule: string) {
    const own = [...this.memories].filter(([key]) => key.startsWith(`${dataset} `)).flatMap(([, kept]) => kept);
    return own.filter((memory) => memory.rule === rule);
  }

  async results({ dataset, rule, limit }: WindowFilter) {
    const fits = (one: WindowResult) => (dataset === undefined || one.dataset === dataset) && (rule === undefined || one.rule === rule);
    return this.all.filter(fits).reverse().slice(0, limit);
  }

  /** As if nobody else had asked for others in a while. */
  async ask(refs: readonly WindowSetRef[]) {
    const isKept = (dataset: string, set: string) => refs.some((ref) => ref.dataset === dataset && ref.set === set);
    this.parts = this.parts.filter(({ dataset, set }) => isKept(dataset, set));
    for (const key of this.memories.keys()) {
      const [dataset = '', ...set] = key.split(' ');
      if (!isKept(dataset, set.join(' '))) this.memories.delete(key);
    }
  }

  async newestRows(datasets: readonly Contract['dataset'][]) {
    return datasets.map((name) => {
      const times = [...this.marks.values()].filter(({ dataset, rowMs }) => dataset === name && rowMs >= 0).map(({ rowMs }) => rowMs);
      return times.length === 0 ? null : Math.max(...times);
    });
  }

  async leftOut() {
    return [...this.marks.values()].map(({ dataset, untimed, tooLate }) => ({ dataset, untimed, tooLate }));
  }

  async keep(findings: readonly WindowFinding[]) {
    return findings.flatMap((finding) => this.#keep(finding));
  }

  async untold() {
    return [];
  }
  async told() {}

  /** The last verdict of each window, in words. */
  said(): string[] {
    const last = new Map<string, WindowResult>();
    for (const result of this.all) last.set(JSON.stringify([result.startMs, result.group, result.rule]), result);
    return [...last.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { verdict, observed, rows }]) => `${key} ${verdict} ${observed} ${rows}`);
  }
}

export const NOON = Date.UTC(2026, 10, 26, 12);
export const MINUTE = 60_000;

export interface Change {
  readonly op: 'insert' | 'update' | 'delete' | 'read';
  readonly key: string;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly atMs: number;
  /** What the model said of it; left out: it was not asked. */
  readonly score?: Score;
  /** Left out: the orders. */
  readonly of?: Dataset;
}

export type Score = number | 'feature missing' | 'unavailable';
export const MODEL = 'order-risk';

const rowOf = (cells: Change['after']) =>
  cells === null ? null : new ValueRow(...columns.map(({ name }) => (cells[name] ?? null) as never));

export const eventOf = ({ op, key, before, after, atMs, of = orders }: Change): ChangeEvent =>
  ({
    op,
    before: rowOf(before),
    after: rowOf(after),
    dataset: of,
    key,
    movedFrom: null,
    version: '0a' as Version,
    ordinal: 0,
    committedAtMs: atMs,
  }) as ChangeEvent; // As a source makes them: the test says which rows an operation has.

const STATUS = { 'feature missing': ScoreStatus.FeatureMissing, unavailable: ScoreStatus.Unavailable } as const;

function scoresOf(changes: readonly Change[]): Scores[] {
  if (changes.every(({ score }) => score === undefined)) return [];
  const status = changes.map(({ score }) =>
    score === undefined ? ScoreStatus.NotAsked : typeof score === 'number' ? ScoreStatus.Scored : STATUS[score],
  );
  const values = Float32Array.from(changes, ({ score }) => (typeof score === 'number' ? score : NaN));
  const write = { score: null, model: null, at: null };
  return [{ dataset: orders.name, model: MODEL, version: '1', values, status: Uint8Array.from(status), atMs: 0, write }];
}

export const NO_LOTS = {
  staging: () => Promise.resolve({ held: new Set<Contract['dataset']>(), staged: new Map<Contract['dataset'], number>() }),
};

/** A lane that runs from its checkpoint, commits what `keeps` says, and starts again like a process that was killed. */
export class TestLane {
  readonly id: LaneId;
  readonly #store: MemoryStore;
  readonly #contracts: () => ReadonlyMap<Contract['dataset'], Contract>;
  readonly #clock: Clock;
  #stage: ReturnType<typeof windowStage>;
  #position: Position | null = null;
  #batches = 0;

  constructor(store: MemoryStore, contracts: Contract | readonly Contract[] | (() => Contract), clock: Clock, id = 'lane') {
    this.id = id as LaneId;
    this.#store = store;
    this.#clock = clock;
    this.#contracts = () => byDataset(typeof contracts === 'function' ? contracts() : contracts);
    this.#stage = this.#start();
  }

  #start() {
    return windowStage({ contracts: this.#contracts, store: this.#store, lots: NO_LOTS, clock: this.#clock });
  }

  /** One batch; where it is not committed, the process dies before it is. */
  async batch(changes: readonly Change[], commits = true): Promise<void> {
    const position = String(++this.#batches).padStart(8, '0') as Position;
    const batch = new Batch(changes.map(eventOf), { lane: this.id, position });
    batch.after = this.#position;
    batch.scores.push(...scoresOf(changes));
    await this.#stage.run(batch, new AbortController().signal);
    if (!commits) return this.kill();
    if (batch.windows !== null) this.#store.write(this.id, batch.windows);
    this.#position = position;
  }

  kill(): void {
    this.#stage = this.#start();
  }
}

export const clockAt = (nowMs: () => number): Clock => ({
  now: nowMs,
  monotonic: nowMs,
  random: () => 0.5,
  sleep: () => Promise.resolve(),
});

const byDataset = (contracts: Contract | readonly Contract[]) =>
  new Map([contracts].flat().map((contract: Contract) => [contract.dataset, contract]));

export function closes(store: MemoryStore, contracts: Contract | readonly Contract[], live: Partial<Live> = {}) {
  return new WindowCloser(() => byDataset(contracts)).close(store, {
    nowMs: NOON,
    isCaughtUp: false,
    isCopied: () => true,
    ...live,
  });
}

/** How a stream comes: in batches of these sizes, over so many lanes by its keys, with processes that die in some batches, and windows closed after each batch or in the end. */
export interface Course {
  readonly cuts?: readonly number[];
  readonly kills?: readonly number[];
  readonly closesOften?: boolean;
  readonly lanes?: number;
}

/** The stream as it comes to the target. `last` makes what comes to each lane an hour behind it, and closes all of its windows. */
export async function play(
  contract: Contract,
  clock: Clock,
  changes: readonly Change[],
  last: (atMs: number, lane: string) => Change,
  { cuts: sizes = [1], kills: dies = [], closesOften = true, lanes: count = 1 }: Course = {},
): Promise<MemoryStore> {
  const store = new MemoryStore();
  const lanes = Array.from({ length: count }, (_, at) => new TestLane(store, contract, clock, `lane ${at}`));
  for (let at = 0, batch = 0; at < changes.length; batch++) {
    const events = changes.slice(at, at + (sizes[batch % sizes.length] ?? 1));
    for (const [i, lane] of lanes.entries()) {
      const own = events.filter(({ key }) => Number(key) % count === i);
      if (dies.includes(batch % 7)) await lane.batch(own, false);
      await lane.batch(own);
    }
    at += events.length;
    if (closesOften) await closes(store, contract);
  }
  const endMs = Math.max(...changes.map(({ atMs }) => atMs)) + 60 * MINUTE;
  for (const lane of lanes) await lane.batch([last(endMs, lane.id)]);
  await closes(store, contract);
  return store;
}
