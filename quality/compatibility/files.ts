/** Versions of a schema, read from files. */
import { avroProblems } from './avro.ts';
import { jsonSchemaProblems } from './json-schema.ts';
import {
  type Compatibility,
  compareVersions,
  type CompatibilityLevel,
  type CompatibilityPolicy,
  InvalidSchema,
  type SchemaFormat,
} from './levels.ts';
import { protobufProblems, readProtobuf } from './protobuf.ts';

export interface SchemaFiles {
  readonly format: SchemaFormat;
  readonly level: CompatibilityLevel;
  readonly policy: CompatibilityPolicy;
  /** Paths of the earlier versions, the oldest first. */
  readonly olds: readonly string[];
  readonly next: string;
  /** The text of a file. */
  readonly read: (path: string) => string;
}

/** Throws InvalidSchema, with the path in front, and what `read` throws. */
export function compareSchemaFiles({ format, level, policy, olds, next, read }: SchemaFiles): Compatibility {
  if (format === 'protobuf') return compareVersions(protobufProblems, olds.map(readProtobuf), readProtobuf(next), level);
  const problems = (reader: string, writer: string) =>
    format === 'avro' ? avroProblems(reader, writer) : jsonSchemaProblems(reader, writer, policy);
  const texts = [...olds, next].map((path) => {
    const text = read(path);
    try {
      problems(text, text);
    } catch (error) {
      throw error instanceof InvalidSchema ? new InvalidSchema(`${path}: ${error.message}`) : error;
    }
    return text;
  });
  return compareVersions(problems, texts.slice(0, -1), texts.at(-1) ?? '', level);
}
