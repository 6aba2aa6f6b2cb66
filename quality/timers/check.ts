/**
 * Checks that databases are asked by, again and again: what is asked, and what is said of the answer. Each lies in a file of its own beside this one, and registry.ts names them all.
 * Nothing here asks: whoever does hands the answer back, or why there is none, of which nothing is said but that.
 */
import { createHash } from 'node:crypto';
import { TIMER_SETS, type WindowVerdict } from '../../core/windows.ts';
import type { CompatibilityLevel, CompatibilityPolicy } from '../compatibility/levels.ts';
import type { RegisteredVersion } from '../compatibility/registered.ts';
import type { Refuse } from '../clock/check.ts';
import type { SchemaNode } from '../schema-type.ts';

export type Side = 'source' | 'target';

/** A statement that only reads. */
export interface Query {
  readonly kind: 'query';
  readonly side: Side;
  /** As it was written: `{batch}` is the dataset's own table. */
  readonly sql: string;
  readonly returns: 'rows' | 'number' | 'boolean';
  readonly timeoutMs: number;
}

/** What it came to: of `rows` how many there are, else the one cell as text. */
export interface QueryAnswer {
  readonly rows: number;
  /** The first of them as JSON, where values may be shown. */
  readonly examples: readonly string[];
  readonly cell: string | null;
}

/** Whether the table at the target is the one at the source, by `tidegate verify`. */
export interface Proof {
  readonly kind: 'proof';
  /** Rows a second. */
  readonly rate: number;
}

export interface ProofAnswer {
  /** The place in the source's log through which it holds. */
  readonly through: string;
  readonly state: 'verified' | 'copying' | 'left';
  readonly isEqual: boolean;
  readonly laneStands: boolean;
  readonly rows: number;
  /** Rows that differ without an explanation, by reason. */
  readonly differing: Readonly<Record<string, number>>;
  /** The first of them. */
  readonly examples: readonly DifferingRow[];
  readonly undecided: number;
  /** Columns that the target has not got. */
  readonly lacking: readonly string[];
}

/** A row by its key, as the quarantine shows it; of a changed one the columns that differ. */
export interface DifferingRow {
  readonly key: string;
  readonly reason: string;
  readonly columns: readonly string[];
}

/** What two tables of the target come to at one moment. */
export interface Comparison {
  readonly kind: 'comparison';
  readonly side: 'target';
  readonly other: string;
  /** Columns of the one, and of the other. */
  readonly sums: readonly (readonly [own: string, theirs: string])[];
  readonly checksum: readonly string[] | null;
  readonly timeoutMs: number;
}

/** Of the one and of the other, each as text. */
type Pair = readonly [own: string, theirs: string];

export interface ComparisonAnswer {
  readonly rows: Pair;
  readonly sums: readonly Pair[];
  /** The same where none was asked for. */
  readonly checksums: Pair;
  /** Where these differ: rows as JSON that only the one has, and only the other, by what may be shown of them. */
  readonly onlyOwn: readonly string[];
  readonly onlyTheirs: readonly string[];
}

/** The versions of a subject at a schema registry. */
export interface Versions {
  readonly kind: 'versions';
  /** null: the one of the dataset's topic. */
  readonly subject: string | null;
  readonly level: CompatibilityLevel;
  readonly policy: CompatibilityPolicy;
}

export interface VersionsAnswer {
  readonly subject: string;
  /** The oldest first; none where there is no such subject. */
  readonly versions: readonly RegisteredVersion[];
}

export interface TimerSaid {
  readonly verdict: WindowVerdict;
  readonly observed: number | boolean | string | null | Readonly<Record<string, readonly string[]>>;
  readonly reason: string | null;
  /** Of which it is said. */
  readonly rows: number;
}

interface Asking<Question extends { readonly kind: string }, Answer> {
  readonly kind: Question['kind'];
  readonly everyMs: number;
  readonly question: Question;
  readonly say: (answer: Answer) => TimerSaid;
}

export type TimerRule =
  Asking<Query, QueryAnswer> | Asking<Proof, ProofAnswer> | Asking<Comparison, ComparisonAnswer> | Asking<Versions, VersionsAnswer>;

/** What is a statement at one of the databases. */
export type Statement = Query | Comparison;

/** What stands behind `passes` and `fails` on the reference page: the rows of the dataset's table, by which a test asks a database. */
export interface TimerExample {
  /** As an item of checks. */
  readonly rule: string;
  /** The rows of another table. */
  readonly beside?: { readonly dataset: string; readonly rows: readonly Readonly<Record<string, unknown>>[] };
  readonly passes: readonly Readonly<Record<string, unknown>>[];
  readonly fails: readonly Readonly<Record<string, unknown>>[];
  /** They are versions of a schema, and no rows. */
  readonly areVersions?: boolean;
}

export interface TimerExpectation {
  readonly name: string;
  /** The name in Great Expectations, and its kwargs as parameters; null where it has none there. */
  readonly gx: { readonly name: string; readonly takes: readonly string[]; readonly parameters: (kwargs: Parameters) => Parameters } | null;
  /** JSON Schema of its parameters, with a description for editors and for the reference page. */
  readonly schema: SchemaNode;
  readonly example: TimerExample;
  /** Of parameters that fit the schema. */
  readonly bind: (parameters: unknown, refuse: Refuse) => TimerRule | null;
}

/** The set of windows that a rule's times are. One that asks something else, or another time, has others. */
export function timerSet(id: string, { everyMs, question }: TimerRule): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([everyMs, question]))
    .digest('hex');
  return `${TIMER_SETS}${id} ${digest.slice(0, 8)}`;
}

export type Parameters = Readonly<Record<string, unknown>>;
