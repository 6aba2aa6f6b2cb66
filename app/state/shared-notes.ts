/**
 * What several instances note of pipelines for each other: which are halted, which read no rows beside the log, by which rules they run
 * while their files are refused, and by which sessions they read. What is asked here is answered from memory, and what is told is written as soon as the database takes it.
 */
import type { ReaderSession } from '../../cdc/postgres/slot-reader.ts';
import type { Halt, HaltBook } from './halts.ts';
import type { RuleText } from '../rule-files.ts';
import type { RulesBook } from './kept-rules.ts';
import type { Pause, PauseBook } from './pauses.ts';
import type { ReaderBook } from './readers.ts';
import type { StateDatabase } from './postgres-database.ts';

type Kind = 'halt' | 'pause' | 'rules' | 'reader';

export class SharedNotes {
  readonly halts: HaltBook;
  readonly pauses: PauseBook;
  readonly rules: RulesBook;
  readonly readers: ReaderBook;
  readonly #database: StateDatabase;
  /** Notes by kind and pipeline. */
  readonly #known = new Map<string, unknown>();
  /** What is not written yet; null where a note was taken away. */
  readonly #unsaved = new Map<string, unknown>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(database: StateDatabase) {
    this.#database = database;
    const get = (kind: Kind, pipeline: string): unknown => this.#known.get(keyOf(kind, pipeline)) ?? null;
    // Our own notes, of their kinds.
    this.halts = {
      get: (pipeline) => get('halt', pipeline) as Halt | null,
      set: (halt) => this.#tell('halt', halt.pipeline, halt),
      clear: (pipeline) => this.#clear('halt', pipeline),
    };
    this.pauses = {
      get: (pipeline) => get('pause', pipeline) as Pause | null,
      set: (pipeline, pause) => {
        if (get('pause', pipeline) === null) this.#tell('pause', pipeline, pause);
      },
      clear: (pipeline) => void this.#clear('pause', pipeline),
    };
    this.rules = {
      get: (pipeline) => get('rules', pipeline) as readonly RuleText[] | null,
      set: (pipeline, texts) => this.#tell('rules', pipeline, texts),
      clear: (pipeline) => void this.#clear('rules', pipeline),
    };
    this.readers = {
      get: (pipeline) => get('reader', pipeline) as ReaderSession | null,
      set: (pipeline, session) => this.#tell('reader', pipeline, session),
    };
  }

  static async open(database: StateDatabase): Promise<SharedNotes> {
    const notes = new SharedNotes(database);
    await notes.refresh();
    return notes;
  }

  /** Resolves when all that was told is written. */
  save(): Promise<void> {
    const writing = this.#writing.then(() => this.#save());
    this.#writing = writing.catch(() => {});
    return writing;
  }

  /** Looks what others have told meanwhile. */
  async refresh(): Promise<void> {
    await this.save();
    const { rows } = await this.#database.query('select kind, pipeline, record from tidegate_state.note');
    const found = new Map(
      rows.map(([kind, pipeline, record]) => [keyOf(kind ?? '', pipeline ?? ''), JSON.parse(record ?? 'null') as unknown]),
    );
    for (const key of new Set([...found.keys(), ...this.#known.keys()])) {
      if (this.#unsaved.has(key)) continue; // Told here since the question was sent.
      const note = found.get(key);
      if (note === undefined) this.#known.delete(key);
      else this.#known.set(key, note);
    }
  }

  #tell(kind: Kind, pipeline: string, note: unknown): void {
    this.#known.set(keyOf(kind, pipeline), note);
    this.#write(keyOf(kind, pipeline), note);
  }

  #clear(kind: Kind, pipeline: string): boolean {
    const was = this.#known.delete(keyOf(kind, pipeline));
    this.#write(keyOf(kind, pipeline), null);
    return was;
  }

  #write(key: string, note: unknown): void {
    this.#unsaved.set(key, note);
    void this.save().catch(() => {}); // It is tried again with the next look.
  }

  async #save(): Promise<void> {
    for (const [key, note] of this.#unsaved) {
      const place = key.split('\n');
      if (note === null)
        await this.#database.query(
          'with told as (update tidegate_state.news set notes = notes + 1) delete from tidegate_state.note where kind = $1 and pipeline = $2',
          place,
        );
      else
        await this.#database.query(
          `with told as (update tidegate_state.news set notes = notes + 1)
           insert into tidegate_state.note (kind, pipeline, record) values ($1, $2, $3)
           on conflict (kind, pipeline) do update set record = excluded.record`,
          [...place, JSON.stringify(note)],
        );
      if (this.#unsaved.get(key) === note) this.#unsaved.delete(key);
    }
  }
}

const keyOf = (kind: string, pipeline: string): string => `${kind}\n${pipeline}`;
