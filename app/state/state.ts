/** Everything that the service itself remembers, wherever that is: a file of its own, or a database that several instances share. */
import { type Clock, systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ModelStore } from '../../inference/models/store.ts';
import type { AlertOutbox } from '../../ops/alerts/outbox.ts';
import type { Secret } from '../secret.ts';
import { existingState, openState } from './database.ts';
import { type HaltBook, Halts } from './halts.ts';
import { KeptRules, type RulesBook } from './kept-rules.ts';
import { SqliteModelStore } from './model-store.ts';
import { SqliteOutbox } from './outbox.ts';
import { type PauseBook, Pauses } from './pauses.ts';
import { isCut, StateDatabase } from './postgres-database.ts';
import { PostgresModelStore, PostgresOutbox, PostgresTurns } from './postgres-state.ts';
import { type ReaderBook, Readers } from './readers.ts';
import { SharedNotes } from './shared-notes.ts';
import { PostgresSeries, type SeriesBook, SqliteSeries } from './series.ts';
import { SqliteTurns } from './sqlite-turns.ts';
import type { Turns } from './turns.ts';

/** What was told since the last look, here or by other instances. */
export interface News {
  /** Pipelines were halted or paused, or go on; or other rules of theirs are kept. */
  readonly notes: boolean;
  readonly models: boolean;
}

export interface State extends AsyncDisposable {
  readonly halts: HaltBook;
  readonly pauses: PauseBook;
  readonly kept: RulesBook;
  readonly readers: ReaderBook;
  readonly models: ModelStore;
  readonly outbox: AlertOutbox;
  readonly turns: Turns;
  readonly series: SeriesBook;
  /** Has these know what others have told: before a lane is taken over from one of them. */
  refreshNotes(): Promise<void>;
  /** Null where nobody else writes it while the service runs. */
  readonly news: (() => Promise<News>) | null;
  /** Resolves when everything that was told is written. */
  save(): Promise<void>;
}

/** A database that is away for a moment is waited for: for so long, and no longer, since its url may be wrong. */
const AWAY_MS = 30_000;
const ASK_MS = 500;

/** As `open` says. `onAway` is told once where the database has to be waited for; `signal` ends the wait, and then it fails by what it waited for. */
export async function whenThere<T>(open: () => Promise<T>, clock: Clock, signal: AbortSignal, onAway = (): void => {}): Promise<T> {
  const giveUpMs = clock.monotonic() + AWAY_MS;
  for (let isTold = false; ; isTold = true) {
    try {
      return await open();
    } catch (error) {
      const isAway = error instanceof PipelineError && error.code === 'STATE_UNREACHABLE' && isCut(error.cause);
      if (!isAway || signal.aborted || clock.monotonic() > giveUpMs) throw error;
      if (!isTold) onAway();
      await clock.sleep(ASK_MS, signal);
    }
  }
}

export async function openServiceState(place: string | Secret, clock: Clock = systemClock): Promise<State> {
  return typeof place === 'string' ? fileState(openState(place), clock) : sharedState(await StateDatabase.open(place));
}

/** Null where there is none yet: for a command that only looks. */
export async function existingServiceState(place: string | Secret): Promise<State | null> {
  if (typeof place === 'string') {
    const database = existingState(place);
    return database === null ? null : fileState(database, systemClock);
  }
  const database = await StateDatabase.existing(place);
  return database === null ? null : sharedState(database);
}

function fileState(database: ReturnType<typeof openState>, clock: Clock): State {
  return {
    halts: new Halts(database),
    pauses: new Pauses(database),
    kept: new KeptRules(database),
    readers: new Readers(database),
    models: new SqliteModelStore(database),
    outbox: new SqliteOutbox(database),
    turns: new SqliteTurns(database, clock),
    series: new SqliteSeries(database, clock),
    refreshNotes: async () => {}, // Each look is at the file.
    news: null,
    save: async () => {},
    [Symbol.asyncDispose]: async () => database.close(),
  };
}

async function sharedState(database: StateDatabase): Promise<State> {
  const count = async (): Promise<readonly (string | null)[]> =>
    (await database.query('select notes, models from tidegate_state.news')).rows[0] ?? [];
  let seen = await count();
  const notes = await SharedNotes.open(database);
  return {
    halts: notes.halts,
    pauses: notes.pauses,
    kept: notes.rules,
    readers: notes.readers,
    models: new PostgresModelStore(database),
    outbox: new PostgresOutbox(database),
    turns: new PostgresTurns(database),
    series: new PostgresSeries(database),
    refreshNotes: () => notes.refresh(),
    news: async () => {
      const now = await count();
      const news = { notes: now[0] !== seen[0], models: now[1] !== seen[1] };
      if (news.notes) await notes.refresh();
      else await notes.save();
      seen = now;
      return news;
    },
    save: () => notes.save(),
    [Symbol.asyncDispose]: async () => {
      try {
        await notes.save();
      } finally {
        await database.close();
      }
    },
  };
}
