/**
 * Whether one version of a schema can be read where another one was written: the levels of schema registries (Confluent's, Apicurio's and Karapace's agree on them), for
 * each format by the problems that a reader of one version has with what a writer of the other may write.
 */

import { escapeKey } from '../rule-text.ts';

export const SCHEMA_FORMATS = ['json', 'avro', 'protobuf'] as const;
export type SchemaFormat = (typeof SCHEMA_FORMATS)[number];

export const COMPATIBILITY_LEVELS = [
  'NONE',
  'BACKWARD',
  'BACKWARD_TRANSITIVE',
  'FORWARD',
  'FORWARD_TRANSITIVE',
  'FULL',
  'FULL_TRANSITIVE',
] as const;
/** BACKWARD: the new version reads what the old one wrote. FORWARD: the old one reads what the new one writes. Without _TRANSITIVE only the newest of the old ones counts. */
export type CompatibilityLevel = (typeof COMPATIBILITY_LEVELS)[number];

export const COMPATIBILITY_POLICIES = ['strict', 'lenient'] as const;
/** Of JSON Schema. strict: what an open content model does not name may be there with any value, so to name it is a restriction. lenient: it is taken as not there. */
export type CompatibilityPolicy = (typeof COMPATIBILITY_POLICIES)[number];

/** Something that a reader cannot read, or reads otherwise, of what a writer may write. */
export interface ReadingProblem {
  /** JSON pointers (`#/…`) into the schemas of both; null where one has no such place. */
  readonly readerAt: string | null;
  readonly writerAt: string | null;
  /** What happened, where the reader is the newer version, and where it is the older one. */
  readonly kinds: readonly [readerIsNew: string, readerIsOld: string];
  /** A sentence without its full stop, of "the reader" and "the writer". */
  readonly reason: string;
  /** What to do in the newer version, where the reader is the newer one, and where it is the older one. */
  readonly fixes: readonly [readerIsNew: string, readerIsOld: string];
}

/** `V` is a version as the format reads it. */
export type FindProblems<V> = (reader: V, writer: V) => readonly ReadingProblem[];

export interface SchemaChange {
  /** A JSON pointer into the new version; into the old one for what is not there any more. */
  readonly path: string;
  readonly kind: string;
  readonly message: string;
  /** False where it does harm at the level that was asked for. */
  readonly compatible: boolean;
  /** The index of the old version. */
  readonly against: number;
}

export interface Compatibility {
  readonly compatible: boolean;
  /** All differences that matter to a reader of either version, the harmful ones first. */
  readonly changes: readonly SchemaChange[];
}

/** Compares a new version with earlier ones, the oldest first. Throws what `find` throws. */
export function compareVersions<V>(find: FindProblems<V>, olds: readonly V[], next: V, level: CompatibilityLevel): Compatibility {
  let changes: SchemaChange[] = [];
  const first = level.endsWith('_TRANSITIVE') ? 0 : olds.length - 1;
  for (const [against, old] of olds.entries()) {
    if (against < first) continue;
    const backward = find(next, old).map((problem) => changeOf(problem, 0, !asksBackward(level), against));
    const forward = find(old, next).map((problem) => changeOf(problem, 1, !asksForward(level), against));
    changes.push(...backward, ...forward);
  }
  // What is used in two places is at one.
  const met = new Set<string>();
  changes = changes.filter((change) => {
    const text = JSON.stringify(change);
    return !met.has(text) && met.add(text);
  });
  const ordered = [...changes.filter(({ compatible }) => !compatible), ...changes.filter(({ compatible }) => compatible)];
  return { compatible: ordered[0]?.compatible ?? true, changes: ordered };
}

const asksBackward = (level: CompatibilityLevel): boolean => level.startsWith('BACKWARD') || level.startsWith('FULL');
const asksForward = (level: CompatibilityLevel): boolean => level.startsWith('FORWARD') || level.startsWith('FULL');

function changeOf(problem: ReadingProblem, side: 0 | 1, compatible: boolean, against: number): SchemaChange {
  const { readerAt, writerAt, kinds, reason, fixes } = problem;
  const path = (side === 0 ? (readerAt ?? writerAt) : (writerAt ?? readerAt)) ?? '#';
  const who =
    side === 0
      ? reason.replaceAll('the reader', 'the new version').replaceAll('the writer', 'the old one')
      : reason.replaceAll('the reader', 'the old version').replaceAll('the writer', 'the new one');
  const fix = compatible ? '' : ` ${fixes[side]}`;
  return { path, kind: kinds[side], message: `${who[0]?.toUpperCase()}${who.slice(1)}.${fix}`, compatible, against };
}

/** One step of a JSON pointer. */
export const pointer = (at: string, ...steps: readonly (string | number)[]): string =>
  [at, ...steps.map((step) => escapeKey(String(step)))].join('/');

/** A schema that cannot be read: not JSON, a reference to nowhere, a keyword of the wrong kind. */
export class InvalidSchema extends Error {
  override readonly name = 'InvalidSchema';
}
