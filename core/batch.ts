/** A run of events from one lane, with the judgement of each, on its way to the target. */
import { PipelineError } from './errors.ts';
import type { ChangeEvent, Checkpoint, Dataset, DatasetName, EncodedType, LaneId, Position, Version } from './event.ts';
import type { Lot } from './lots.ts';
import type { WindowWrites } from './windows.ts';

/**
 * Small integers, so that a batch's verdicts fit one Uint8Array and a passing event allocates nothing.
 * In the order of what wins: where one rule says drop and another quarantine, nothing is thrown away.
 * A tagged or warned event goes on to the target; a dropped or quarantined one does not, and a staged one, with which nothing is wrong, not yet. No rule
 * says `Staged`: see `stage`.
 */
export const Verdict = { Pass: 0, Tag: 1, Warn: 2, Drop: 3, Quarantine: 4, Staged: 5 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export type StageName = 'cdc' | 'quality' | 'inference' | 'sync';
export type Severity = 'info' | 'warning' | 'critical';

/** Why an event did not simply pass. `index` is the event's place in its batch. */
export interface Finding {
  readonly index: number;
  readonly stage: StageName;
  /** The rule's id in the contract, `<model>.route[n]`, `schema.<kind>`, `hold.key`, `source.row_bytes` or `target.<SQLSTATE>`. */
  readonly rule: string;
  /** The column it is about, or null where it is about the row. */
  readonly column: string | null;
  readonly verdict: Exclude<Verdict, typeof Verdict.Pass | typeof Verdict.Staged>;
  /** How loud to be about it; never what happens to the row. */
  readonly severity: Severity;
  /** In words, without any value of the row unless the contract allows it. */
  readonly message: string;
  /** Someone asked to be told of this one (a route with `do: alert`). */
  readonly notify: boolean;
  /** What is missing may still come: for so long the row waits in quarantine before it is judged for good. 0: it has waited. */
  readonly waitMs?: number;
}

/** The finding by which `hold: key` holds an event that waits for an earlier held event of its key. */
export const HOLD_KEY_RULE = 'hold.key';

/** The finding by which the source holds a row too large to be read whole. What was not read is not in the quarantine either. */
export const ROW_BYTES_RULE = 'source.row_bytes';

/** The finding by which the target holds every event of a dataset whose table changed in a way that waits for a person. */
export const SCHEMA_HELD_RULE = 'schema.held';
/** Whether an event is held because its table changed (`schema.held`, or `schema.` and what changed): that tells of the table, and nothing of its rows. */
export const isOfSchema = ({ rule }: Pick<Finding, 'rule'>): boolean => rule.startsWith('schema.');

/** FeatureMissing: the mapping rejected the row before the model saw it. Unavailable: any other reason that there is no score. */
export const ScoreStatus = { NotAsked: 0, Scored: 1, Unavailable: 2, FeatureMissing: 3 } as const;

/** Target columns that keep a score: null where the contract leaves one out. */
export interface ScoreColumns {
  readonly score: string | null;
  readonly model: string | null;
  readonly at: string | null;
}

/** One model's output for the events of one dataset in a batch: `values[i]` scores `events[i]`, NaN unless `status[i]` is Scored. */
export interface Scores {
  readonly dataset: DatasetName;
  readonly model: string;
  readonly version: string;
  readonly values: Float32Array;
  readonly status: Uint8Array;
  /** Unix time in ms at which the batch was scored. */
  readonly atMs: number;
  readonly write: ScoreColumns;
}

/**
 * Rows of one table as they were read, none of which is an object until somebody asks for it: events `read`, of one version, each key once, with all of
 * their cells. What nobody asks for costs its bytes alone.
 */
export interface EventRun {
  readonly dataset: Dataset;
  readonly length: number;
  readonly version: Version;
  readonly committedAtMs: number;
  /** One reading of the table from its beginning: runs of the same have no key in common. */
  readonly pass: object;
  /** Their bytes, for a target that knows what a source made of them. Once the batch is acknowledged they are used again. */
  readonly rows: object;
  /** The event at `index`, as an object that is used again for the next look. */
  look(index: number): ChangeEvent;
  /** The same as an object of its own, which may be kept. Each call makes one. */
  event(index: number): ChangeEvent;
  events(): readonly ChangeEvent[];
}

/** `stream`: from the log. `snapshot`: rows read from the table. `replay`: released quarantine items, with old versions. */
export type Origin = 'stream' | 'snapshot' | 'replay';

/** A record of a topic as it came: what was made of it can be read wrongly, and this cannot. */
export interface OriginalRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Readonly<Record<string, Uint8Array | string | readonly (Uint8Array | string)[] | undefined>>;
}

/** A table as it is found, whether or not there are rows in it. */
export interface FoundTable {
  readonly dataset: Dataset;
  /** As `EncodedRow` has them. */
  readonly types: readonly EncodedType[];
}

/** `events[from, to)` of a batch. */
export interface Span {
  readonly dataset: Dataset;
  readonly from: number;
  readonly to: number;
}

/**
 * Events stay in place from source to target: a stage marks an event, it never removes one. So an index
 * means the same event to every stage, and nothing can be lost by a filter.
 *
 * Once every event is applied or held in quarantine, and only then, the lane may resume at `checkpoint`.
 * A batch that ends inside a source transaction has a position inside it: the events before it are never applied again.
 * A batch may have no events: it then only moves the checkpoint. No two batches of a lane have the same checkpoint.
 */
export class Batch {
  readonly lane: LaneId;
  /** How many events there are. */
  readonly size: number;
  /** The same events as rows in a run, where they came so. */
  readonly run: EventRun | null;
  readonly checkpoint: Checkpoint;
  readonly origin: Origin;
  /** Where the lane stands once every batch before this one is in; null at its beginning. Set by the runner, in the source's order. */
  after: Position | null = null;
  /** Of a `replay` batch: the findings that each event was held for, so that a stage can tell what a person has already decided. */
  readonly heldFor: readonly (readonly Finding[])[] | null;
  /**
   * Of a `replay` batch: the revision of the rules by which an event passed when it was staged, whose verdict (tags and warnings among `heldFor`) goes on to hold
   * where they are still in force; null where it is to be judged anew. Set by whoever makes the batch.
   */
  passedBy: readonly (string | null)[] | null = null;
  /** Tables that the target should have once the batch is in, though there may be no event of theirs. Only a wish: their first event makes them, too. */
  readonly found: readonly FoundTable[];
  /** The record that an event was made of, where the source reads topics; null elsewhere. */
  readonly recordOf: ((index: number) => OriginalRecord | null) | null;
  readonly verdicts: Uint8Array;
  /** The revision of the rules by which the events of a dataset were judged: all of them by one. */
  readonly revisions = new Map<DatasetName, string>();
  readonly findings: Finding[] = [];
  readonly scores: Scores[] = [];
  /** What the windows keep of it, in the transaction of its checkpoint. */
  windows: WindowWrites | null = null;
  /** Milliseconds spent in each stage, filled by the runner. */
  readonly millisByStage: Record<StageName, number> = { cdc: 0, quality: 0, inference: 0, sync: 0 };
  #events: readonly ChangeEvent[] | null;
  /** Of staged events; null where there is none. */
  #lots: (Lot | undefined)[] | null = null;

  constructor(
    events: readonly ChangeEvent[] | EventRun,
    checkpoint: Checkpoint,
    origin: Origin = 'stream',
    heldFor: readonly (readonly Finding[])[] | null = null,
    found: readonly FoundTable[] = [],
    recordOf: ((index: number) => OriginalRecord | null) | null = null,
  ) {
    this.lane = checkpoint.lane;
    this.size = events.length;
    this.run = 'look' in events ? events : null;
    this.#events = 'look' in events ? null : events;
    this.checkpoint = checkpoint;
    this.origin = origin;
    this.heldFor = heldFor;
    this.found = found;
    this.recordOf = recordOf;
    this.verdicts = new Uint8Array(events.length);
    for (const [index, findings] of (heldFor ?? []).entries()) {
      // Nobody can release what is not there: the row has to come from the source again.
      for (const finding of findings) if (finding.rule === ROW_BYTES_RULE) this.mark({ ...finding, index });
    }
  }

  /** All of them, each an object: of a run they are made by the first who asks, so ask for `event` where a few will do. */
  get events(): readonly ChangeEvent[] {
    return (this.#events ??= this.run?.events() ?? []);
  }

  event(index: number): ChangeEvent | undefined {
    if (this.#events !== null) return this.#events[index];
    return index < this.size ? this.run?.event(index) : undefined;
  }

  /** Of one event, without making it an object. */
  datasetOf(index: number): Dataset | undefined {
    if (this.run === null) return this.#events?.[index]?.dataset;
    return index < this.size ? this.run.dataset : undefined;
  }

  /** Where neighbouring events are of one dataset: told of once a span, not once an event. */
  spans(): readonly Span[] {
    if (this.run !== null) return [{ dataset: this.run.dataset, from: 0, to: this.size }];
    const { events } = this;
    const spans: Span[] = [];
    for (let from = 0; from < events.length;) {
      const dataset = events[from]?.dataset;
      if (dataset === undefined) break;
      let to = from + 1;
      while (events[to]?.dataset === dataset) to++;
      spans.push({ dataset, from, to });
      from = to;
    }
    return spans;
  }

  /** Records a finding. The worst verdict of an event's findings is the event's verdict. */
  mark(finding: Finding): void {
    const current = this.verdicts[finding.index];
    if (current === undefined) {
      throw new PipelineError('BUG', `finding ${finding.rule} marks event ${finding.index} of ${this.size}`);
    }
    this.findings.push(finding);
    const worst = current === Verdict.Staged ? Verdict.Warn : current;
    if (finding.verdict > worst) this.verdicts[finding.index] = finding.verdict;
  }

  /** An event that passes is to wait for the rest of its lot. */
  stage(index: number, lot: Lot): void {
    if (!this.passes(index)) throw new PipelineError('BUG', `event ${index} is staged, and does not pass`);
    this.verdicts[index] = Verdict.Staged;
    (this.#lots ??= Array.from<Lot | undefined>({ length: this.size }))[index] = lot;
  }

  /** null where it is not staged. */
  lotOf(index: number): Lot | null {
    return this.verdicts[index] === Verdict.Staged ? (this.#lots?.[index] ?? null) : null;
  }

  /** Whether any event is kept in the quarantine instead of going on. */
  get holds(): boolean {
    return this.verdicts.includes(Verdict.Quarantine) || this.#lots !== null;
  }

  /** Whether the event at `index` goes on to the target. */
  passes(index: number): boolean {
    return (this.verdicts[index] ?? Verdict.Quarantine) < Verdict.Drop;
  }
}
