/** Which tables a lane follows: those of the config, and those that its patterns have found, where nobody has left them out. */
import type { Clock } from '../../core/clock.ts';
import type { Dataset, DatasetName } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { type Datasets, qualifiedName, readTable } from './catalog.ts';
import { findTables, type LeftTable, tableMatcher } from './found-tables.ts';
import { type LanePlace, progressOf, tableCount } from './lane-position.ts';
import type { PostgresSourceOptions } from './source.ts';

/** A table that patterns fit, and that the lane does not have. */
export interface NewTable {
  readonly dataset: DatasetName;
  /** As it is now; null where nobody is going to look at it. */
  readonly shape: Dataset | null;
}

export interface NewTablesQuestion {
  readonly tables: readonly NewTable[];
  /** Of the config: nobody has to decide on them any more. */
  readonly named: readonly DatasetName[];
  /** The lane has no table yet, or does not remember those that it has: what is found is no news, and only what was decided before counts. */
  readonly isBeginning: boolean;
  /** There are no others: what waits and is not among them is gone. */
  readonly isAll: boolean;
}

/** Whoever decides on new tables. Answers why some of them are not followed (yet): in words, or null where it is said elsewhere. */
export type DecideNewTables = (question: NewTablesQuestion) => Promise<ReadonlyMap<DatasetName, string | null>>;

interface Sorted {
  readonly followed: readonly string[];
  readonly left: ReadonlyMap<string, string | null>;
}

/** How often tables are looked for while there is none. */
const LOOK_MS = 1000;

export class FollowedTables {
  readonly #options: PostgresSourceOptions;
  readonly #datasets: Datasets;
  readonly #clock: Clock;
  readonly #named: readonly string[];
  readonly #fits: (table: string) => boolean;
  /** What patterns have found since the service began, whether or not it is still there. */
  readonly #found = new Set<string>();
  /** As they were when somebody was asked about them. */
  readonly #shapes = new Map<string, Dataset>();
  /** Of the run. */
  #from: LanePlace | null = null;
  #catalog: PgConnection | null = null;

  constructor(options: PostgresSourceOptions, datasets: Datasets, clock: Clock) {
    this.#options = options;
    this.#datasets = datasets;
    this.#clock = clock;
    this.#named = [...new Set(options.tables.map(qualifiedName))];
    this.#fits = tableMatcher(options.patterns ?? { patterns: [], except: [] });
  }

  get all(): readonly string[] {
    return [...this.#named, ...[...this.#found].sort()];
  }

  isFound(table: string): boolean {
    return this.#found.has(table);
  }

  /**
   * When a run begins. What the lane has it keeps, also where the table is gone: the log may still have its rows. Where there is no table at all, one is waited
   * for: a lane that begins with none would not know which of those that come it has copied.
   */
  async begin(
    catalog: PgConnection,
    from: LanePlace | null,
    signal: AbortSignal,
    waiting: (work: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    [this.#from, this.#catalog] = [from, catalog];
    if (!this.#hasPatterns) return;
    const before = new Set(this.#found);
    for (const table of before) if (!this.#isKnown(table)) this.#found.delete(table);
    for (;;) {
      const { followed } = await this.#sort(await this.#find(), { isAll: true, isBeginning: from === null || !this.#remembers });
      for (const table of followed) this.#found.add(table);
      if (this.all.length > 0 || signal.aborted) break;
      await waiting(() => this.#clock.sleep(LOOK_MS, signal));
    }
    const added = [...this.#found].filter((table) => !before.has(table)).sort();
    if (added.length > 0) this.#options.onFound?.(added.map((table) => this.#datasets.nameOf(table)));
  }

  end(): void {
    this.#catalog = null;
  }

  /** Asked of a table that the log brings, by its name alone: whether it may be one that is to be followed at once. */
  mayBeWanted(table: string): boolean {
    const { newTables } = this.#options.patterns ?? {};
    return (newTables === 'accept' || newTables === 'quarantine') && this.#fits(table);
  }

  /** Whether it is, as the table is now. */
  async isWanted(table: string): Promise<boolean> {
    const found = await this.#find(table);
    return found.includes(table) && (await this.#sort(found, { isAll: false, isBeginning: !this.#remembers })).followed.includes(table);
  }

  /** What is to become of all the tables that patterns find now. While nobody reads, nothing is known of that. */
  async look(found: readonly string[]): Promise<{ readonly isDue: boolean; readonly left: readonly LeftTable[] }> {
    const known = new Set(this.all);
    const { followed, left } = await this.#sort(found, { isAll: true, isBeginning: !this.#remembers });
    return {
      isDue: followed.some((table) => !known.has(table)),
      left: [...left].flatMap(([table, why]) => (why === null ? [] : [{ table, why }])),
    };
  }

  /** Which of the tables are followed from now on, and why the others are not. */
  async #sort(tables: readonly string[], how: Pick<NewTablesQuestion, 'isAll' | 'isBeginning'>): Promise<Sorted> {
    const { decideNewTables, patterns } = this.#options;
    const { isBeginning } = how;
    const open = tables.filter((table) => !this.#found.has(table) && !this.#isKnown(table));
    // One that is gone may come again as another.
    if (how.isAll) for (const table of this.#shapes.keys()) if (!tables.includes(table)) this.#shapes.delete(table);
    const left = new Map<string, string | null>();
    if (decideNewTables === undefined) {
      if (patterns?.newTables === 'ignore' && !isBeginning) for (const table of open) left.set(table, IGNORED);
    } else {
      const asked = await Promise.all(open.map((table) => this.#describe(table, isBeginning)));
      const named = this.#named.map((table) => this.#datasets.nameOf(table));
      const answer = await decideNewTables({ tables: asked, named, ...how });
      for (const table of open) {
        const why = answer.get(this.#datasets.nameOf(table));
        if (why !== undefined) left.set(table, why);
      }
    }
    return { followed: tables.filter((table) => !left.has(table)), left };
  }

  async #describe(table: string, isBeginning: boolean): Promise<NewTable> {
    const dataset = this.#datasets.nameOf(table);
    const { newTables } = this.#options.patterns ?? {};
    if (isBeginning || this.#catalog === null || newTables === 'accept' || newTables === 'ignore') return { dataset, shape: null };
    const known = this.#shapes.get(table);
    if (known !== undefined) return { dataset, shape: known };
    const present = await readTable(this.#catalog, table, this.#options.publication, 'not asked');
    if (present === null) return { dataset, shape: null };
    const { dataset: shape } = await this.#datasets.relationOf(this.#catalog, table, present.message, present);
    this.#shapes.set(table, shape);
    return { dataset, shape };
  }

  /** Whether the lane has it. */
  #isKnown(table: string): boolean {
    if (this.#named.includes(table)) return true;
    return this.#from !== null && (progressOf(this.#from.snapshot, table) ?? null) !== null;
  }

  /** Whether places of the lane say which tables it has. */
  get #remembers(): boolean {
    const mark = this.#from?.snapshot ?? null;
    return this.#options.snapshot.mode === 'initial' && (this.#from === null || (mark !== null && tableCount(mark) > 0));
  }

  get #hasPatterns(): boolean {
    return (this.#options.patterns ?? null) !== null;
  }

  async #find(only = ''): Promise<readonly string[]> {
    const { patterns = null, publication } = this.#options;
    if (patterns === null || this.#catalog === null) return [];
    const known = (table: string): boolean => this.#found.has(table) || this.#isKnown(table);
    return (await findTables(this.#catalog, { publication, patterns, named: this.#named, known, only })).tables;
  }
}

const IGNORED = 'it is new, and newTables says ignore';
