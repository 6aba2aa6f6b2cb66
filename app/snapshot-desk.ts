/** What people ask of the rows that a pipeline reads beside the log: how far they are, to wait with them, to read some again. */
import type { Clock } from '../core/clock.ts';
import type { LiveSource, SnapshotProgress } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { LaneId, Position } from '../core/event.ts';
import { RereadRefused, type RereadRequest } from '../cdc/postgres/reread.ts';
import type { PostgresSource } from '../cdc/postgres/source.ts';
import type { SnapshotView } from './http/shapes.ts';
import { whenLate } from './late.ts';
import type { Pause, PauseBook } from './state/pauses.ts';

export interface SnapshotDeskParts {
  /** The pipeline. */
  readonly name: string;
  readonly pauses: PauseBook;
  readonly source: LiveSource;
  /** The same source where it has rows that can be read; null where it is topics. */
  readonly database: PostgresSource | null;
  readonly clock: Clock;
}

/** A lane that has not begun in this time what was asked for is not asked any longer. */
const BEGIN_MS = 30_000;

export class SnapshotDesk {
  readonly #parts: SnapshotDeskParts;
  #isKnown = false;

  constructor(parts: SnapshotDeskParts) {
    this.#parts = parts;
    if (this.#pause() !== null) parts.database?.pauseSnapshot();
  }

  view(): SnapshotView {
    const { database } = this.#parts;
    const waits = database?.snapshotWait() ?? null;
    return { waits, paused: this.#pause(), tables: this.progress(), rereads: database?.rereads() ?? [] };
  }

  /** How far the copies are. Nothing before the target was first asked, as in a service that finds its pipeline halted: they may all be done. */
  progress(): readonly SnapshotProgress[] {
    return this.#isKnown ? this.#parts.source.progress() : [];
  }

  /** Lanes as the target has them, before a run begins: how far the copies are is known from them until the source has taken its lane up. */
  recall(lanes: readonly { readonly lane: LaneId; readonly position: Position | null }[]): void {
    const { source, database } = this.#parts;
    this.#isKnown = true;
    for (const { lane, position } of lanes) if (position !== null && source.lanes.includes(lane)) database?.recall(position);
  }

  /** Remembered before it returns, and until `resume`. */
  pause(by: string): void {
    const { name, pauses, clock } = this.#parts;
    const database = this.#database();
    pauses.set(name, { by, atMs: clock.now() });
    database.pauseSnapshot();
  }

  resume(): void {
    const { name, pauses } = this.#parts;
    const database = this.#database();
    pauses.clear(name);
    database.resumeSnapshot();
  }

  /** What another instance paused or had go on is done here too. */
  follow(): void {
    const { database } = this.#parts;
    if (this.#pause() === null) database?.resumeSnapshot();
    else database?.pauseSnapshot();
  }

  /** Answers its id once the lane's checkpoint has it: from there on it goes on over restarts. */
  async reread(request: RereadRequest): Promise<string> {
    const database = this.#database();
    const late = new AbortController();
    const giveUp = (): void =>
      late.abort(
        new PipelineError('SOURCE_UNREACHABLE', `reading rows of ${request.dataset} again: the lane has not begun it in ${BEGIN_MS} ms`),
      );
    return whenLate(this.#parts.clock, BEGIN_MS, giveUp, () => database.reread(request, late.signal));
  }

  #pause(): Pause | null {
    const { name, pauses, database } = this.#parts;
    return database === null ? null : pauses.get(name);
  }

  #database(): PostgresSource {
    const { source, database } = this.#parts;
    if (database === null)
      throw new RereadRefused(`${source.name} is topics, which have no rows to be read`, 'Have the connector read them: docs/kafka.md.');
    return database;
  }
}
