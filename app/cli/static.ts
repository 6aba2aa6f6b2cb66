/** Commands that need no config: schemas and the version. */
import { mappingSchema } from '../../inference/mapping-schema.ts';
import { contractSchema } from '../../quality/contract.ts';
import { publishedConfigSchema } from '../config-schema.ts';
import { VERSION } from '../version.ts';
import type { Command } from './command.ts';
import { show } from './output.ts';

const configSchemaCommand: Command = {
  name: 'schema config',
  summary: 'Prints the JSON Schema of tidegate.yaml, for editors.',
  positionals: [],
  flags: {},
  run: async (_args, io) => {
    io.stdout(`${JSON.stringify(publishedConfigSchema(), null, 2)}\n`);
    return 0;
  },
};

const rulesSchemaCommand: Command = {
  name: 'schema rules',
  summary: 'Prints the JSON Schema of rule files, for editors.',
  positionals: [],
  flags: {},
  run: async (_args, io) => {
    io.stdout(`${JSON.stringify(contractSchema, null, 2)}\n`);
    return 0;
  },
};

const mappingSchemaCommand: Command = {
  name: 'schema mapping',
  summary: 'Prints the JSON Schema of feature mappings, for editors.',
  positionals: [],
  flags: {},
  run: async (_args, io) => {
    io.stdout(`${JSON.stringify(mappingSchema, null, 2)}\n`);
    return 0;
  },
};

const version: Command = {
  name: 'version',
  summary: 'Prints the version.',
  positionals: [],
  flags: {},
  run: async (args, io) => {
    show(io, args.is('json'), { version: VERSION, node: process.version }, () => `tidegate ${VERSION}\n`);
    return 0;
  },
};

export const staticCommands: readonly Command[] = [configSchemaCommand, rulesSchemaCommand, mappingSchemaCommand, version];
