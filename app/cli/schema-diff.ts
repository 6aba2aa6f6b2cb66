/** tidegate schema diff: whether a proposed version of a schema goes with the earlier ones, at the levels that registries have. */
import { readFileSync } from 'node:fs';
import {
  type Compatibility,
  COMPATIBILITY_LEVELS,
  COMPATIBILITY_POLICIES,
  type CompatibilityLevel,
  type CompatibilityPolicy,
  InvalidSchema,
  SCHEMA_FORMATS,
  type SchemaFormat,
} from '../../quality/compatibility/levels.ts';
import { compareSchemaFiles } from '../../quality/compatibility/files.ts';
import { type Arguments, UsageError } from './arguments.ts';
import type { Command } from './command.ts';
import { show } from './output.ts';

export const schemaDiff: Command = {
  name: 'schema diff',
  summary:
    'Compares a proposed version of a JSON Schema, Avro or Protobuf schema with earlier ones, and says what readers of either cannot read of the other. Exit code 1 where it is not compatible, 2 where a file is unreadable or no schema.',
  positionals: [],
  flags: {
    from: {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'An earlier version; given several times: all of them, the oldest first.',
    },
    to: { type: 'string', value: 'FILE', help: 'The proposed version.' },
    format: {
      type: 'string',
      value: 'FORMAT',
      help: 'json (JSON Schema), avro or protobuf (a .proto file; imports are looked up beside it).',
    },
    level: {
      type: 'string',
      value: 'LEVEL',
      help: 'BACKWARD (the new version reads what the old one wrote; if left out), FORWARD (the old one reads what the new one writes), FULL (both), each also with _TRANSITIVE (all earlier versions, not only the last), or NONE.',
    },
    policy: {
      type: 'string',
      value: 'POLICY',
      help: 'Of JSON Schema. strict (if left out): to name a property that an open content model left unnamed is incompatible, since old data may hold anything there. lenient: it is not.',
    },
  },
  run: async (args, io) => {
    const format = oneOf<SchemaFormat>(args, 'format', SCHEMA_FORMATS, null);
    const level = oneOf<CompatibilityLevel>(args, 'level', COMPATIBILITY_LEVELS, 'BACKWARD');
    const policy = oneOf<CompatibilityPolicy>(args, 'policy', COMPATIBILITY_POLICIES, 'strict');
    const [olds, to] = [args.list('from'), args.text('to')];
    if (olds.length === 0) throw new UsageError('--from is missing', 'Write --from with the file of the earlier version.');
    if (to === null) throw new UsageError('--to is missing', 'Write --to with the file of the proposed version.');
    let found: Compatibility;
    try {
      found = compareSchemaFiles({ format, level, policy, olds, next: to, read: (path) => readFileSync(path, 'utf8') });
    } catch (error) {
      if (!(error instanceof InvalidSchema) && (error as NodeJS.ErrnoException).code === undefined) throw error;
      throw new UsageError(error instanceof Error ? error.message : String(error), 'Name files that hold schemas of the format.');
    }
    show(io, args.is('json'), { compatible: found.compatible, format, level, policy, changes: found.changes }, () =>
      text(found, level, olds),
    );
    return found.compatible ? 0 : 1;
  },
};

function oneOf<T extends string>(args: Arguments, flag: string, known: readonly T[], otherwise: T | null): T {
  const given = args.text(flag) ?? otherwise;
  const found = known.find((one) => one === given);
  if (found !== undefined) return found;
  const message = given === null ? `--${flag} is missing` : `there is no ${flag} ${given}`;
  throw new UsageError(message, `Write --${flag} ${known.join(', ')}.`);
}

function text({ compatible, changes }: Compatibility, level: CompatibilityLevel, olds: readonly string[]): string {
  const lines = changes.map((change) => {
    const against = olds.length === 1 ? '' : ` (against ${olds[change.against] ?? ''})`;
    return `${change.compatible ? '·' : '✗'} ${change.path} ${change.kind}${against}\n    ${change.message}`;
  });
  return `${[...lines, compatible ? `compatible (${level})` : `not compatible (${level})`].join('\n')}\n`;
}
