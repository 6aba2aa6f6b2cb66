/** tidegate models: the registered models, and registering one, through the running service or, where it does not run, in the state. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { MemoryModelStore } from '../../inference/models/store.ts';
import { MODEL_NAME, ModelRegistry } from '../../inference/models/registry.ts';
import { existingServiceState, openServiceState } from '../state/state.ts';
import { UsageError } from './arguments.ts';
import { callService, NotRunning } from './client.ts';
import { type Command, configOf } from './command.ts';
import { type ExitCode, type Io, show, table, timeText } from './output.ts';

const list: Command = {
  name: 'models list',
  summary: 'Lists the registered models with their versions and aliases.',
  positionals: ['CONFIG'],
  flags: {},
  run: async (args, io) => {
    const { config } = configOf(args, io);
    await using state = await existingServiceState(config.state);
    const registry = await ModelRegistry.open(state?.models ?? new MemoryModelStore());
    const versions = registry.models().flatMap((model) => {
      const aliases = registry.aliases(model);
      return registry.versions(model).map(({ version, sha256, registeredAtMs }) => ({
        model,
        version,
        sha256,
        registeredAtMs,
        aliases: aliases.filter((alias) => alias.version === version).map(({ alias }) => alias),
      }));
    });
    show(io, args.is('json'), { versions }, () =>
      versions.length === 0
        ? 'None yet.\n'
        : table(
            ['MODEL', 'VERSION', 'ALIASES', 'REGISTERED', 'SHA256'],
            versions.map(({ model, version, aliases, registeredAtMs, sha256 }) => [
              model,
              String(version),
              aliases.join(', ') || '-',
              timeText(registeredAtMs),
              sha256.slice(0, 12),
            ]),
          ),
    );
    return 0;
  },
};

interface Registered {
  readonly kind: 'registered';
  readonly model: string;
  readonly version: number;
  readonly created: boolean;
}
interface Rejected {
  readonly kind: 'rejected';
  readonly findings: readonly { readonly rule: string; readonly severity: string; readonly path: string; readonly detail: string }[];
}

const register: Command = {
  name: 'models register',
  summary: 'Registers a model version. It is admitted in a process of its own first; exit code 1 and the findings where it is rejected.',
  positionals: ['CONFIG', 'NAME', 'FILE'],
  flags: {
    mapping: { type: 'string', value: 'FILE', help: 'The feature mapping as JSON. Required.' },
    'no-promote': { type: 'boolean', help: 'Leave @production where it is.' },
  },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const [, name = '', file = ''] = args.positionals;
    if (!new RegExp(MODEL_NAME).test(name)) {
      throw new UsageError(`"${name}" is no name of a model`, 'Use lower-case letters, digits, - and _, a letter first, at most 63.');
    }
    const mappingFile = args.text('mapping');
    if (mappingFile === null) throw new UsageError('--mapping is missing', 'Write --mapping mapping.json.');
    const bytes = readOrRefuse(file);
    const mappingText = readOrRefuse(mappingFile).toString('utf8');
    const promote = !args.is('no-promote');
    try {
      const form = new FormData();
      form.set('mapping', mappingText);
      form.set('model', new Blob([bytes]), basename(file));
      const path = `/api/models/${encodeURIComponent(name)}/versions?promote=${promote}`;
      const { status, body } = await callService(loaded, path, { method: 'POST', body: form }, io.stop);
      const answer = body as {
        created?: boolean;
        version?: { version: number };
        findings?: Rejected['findings'];
        detail?: string;
        fix?: string;
      };
      if (answer.version !== undefined)
        return told(io, args.is('json'), {
          kind: 'registered',
          model: name,
          version: answer.version.version,
          created: answer.created === true,
        });
      if (status === 422) return told(io, args.is('json'), { kind: 'rejected', findings: answer.findings ?? [] });
      throw new UsageError(answer.detail ?? `the service answered ${status}`, answer.fix ?? 'See its log.');
    } catch (error) {
      if (!(error instanceof NotRunning)) throw error;
    }
    await using state = await openServiceState(loaded.config.state);
    const registry = await ModelRegistry.open(state.models, { modelBytesMax: loaded.config.http.modelBytes });
    const outcome = await registry.register(name, bytes, parseOrRefuse(mappingText, mappingFile), { promote });
    return told(
      io,
      args.is('json'),
      outcome.kind === 'rejected'
        ? outcome
        : { kind: 'registered', model: name, version: outcome.version.version, created: outcome.created },
    );
  },
};

export const modelCommands: readonly Command[] = [list, register];

function told(io: Io, json: boolean, outcome: Registered | Rejected): ExitCode {
  show(io, json, outcome, () =>
    outcome.kind === 'registered'
      ? `${outcome.model}@${outcome.version} is ${outcome.created ? 'registered' : 'registered already'}.\n`
      : `Rejected:\n${outcome.findings.map(({ rule, path, detail }) => `  ${rule} ${path}: ${detail}\n`).join('')}`,
  );
  return outcome.kind === 'registered' ? 0 : 1;
}

function readOrRefuse(file: string): Buffer<ArrayBuffer> {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`, 'Check the path.');
  }
}

function parseOrRefuse(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new UsageError(`${file} is no JSON`, 'Correct the file.');
  }
}
