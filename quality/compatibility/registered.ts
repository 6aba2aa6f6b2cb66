/** The newest version of a registry's subject, held against the ones before it. */
import { avroProblems } from './avro.ts';
import { jsonSchemaProblems } from './json-schema.ts';
import {
  type Compatibility,
  compareVersions,
  type CompatibilityLevel,
  type CompatibilityPolicy,
  InvalidSchema,
  type ReadingProblem,
} from './levels.ts';

export interface RegisteredVersion {
  readonly version: number;
  /** As registries have it: AVRO, JSON, PROTOBUF. */
  readonly type: string;
  readonly schema: string;
  /** Those that it refers to, the ones that they refer to first. */
  readonly references: readonly string[];
}

/** `versions`: the oldest first. Throws InvalidSchema for what cannot be compared. */
export function compareRegistered(
  versions: readonly RegisteredVersion[],
  level: CompatibilityLevel,
  policy: CompatibilityPolicy,
): Compatibility {
  const next = versions.at(-1);
  if (next === undefined) return { compatible: true, changes: [] };
  const problems = (reader: RegisteredVersion, writer: RegisteredVersion): readonly ReadingProblem[] => {
    if (reader.type !== writer.type) {
      const reason = `the reader is ${reader.type}, and the writer ${writer.type}`;
      const fix = 'Register the other format under a subject of its own.';
      return [{ readerAt: '#', writerAt: '#', kinds: ['format_changed', 'format_changed'], reason, fixes: [fix, fix] }];
    }
    if (reader.type === 'AVRO') return avroProblems(reader.schema, writer.schema, [reader.references, writer.references]);
    if (reader.type !== 'JSON') throw new InvalidSchema(`schemas of the kind ${reader.type} are not compared`);
    if (reader.references.length + writer.references.length > 0) throw new InvalidSchema('it refers to other subjects');
    return jsonSchemaProblems(reader.schema, writer.schema, policy);
  };
  return compareVersions(problems, versions.slice(0, -1), next, level);
}
