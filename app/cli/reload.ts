/** tidegate reload: the running service takes up changed rule files. */
import type { Problem } from '../../core/problems.ts';
import type { LoadedConfig } from '../config.ts';
import type { ReloadView } from '../http/shapes.ts';
import { callService, NotRunning, postOf, unexpected } from './client.ts';
import { type Command, configOf, pipelineOf } from './command.ts';
import { type Io, problemText, show } from './output.ts';

type Reloaded = { readonly pipeline: string } & ReloadView;

export const reload: Command = {
  name: 'reload',
  summary:
    'Has the running service read its rule files again and judge by them from the next batch on, without a restart. A pipeline takes up all of its files or none: what is refused (exit code 2) leaves the rules before in force. The config itself is not read again.',
  positionals: ['CONFIG', '[PIPELINE]'],
  flags: {
    'allow-removed': { type: 'boolean', help: 'A rule file that is gone leaves its dataset unjudged; without this it is refused.' },
  },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const names = args.positionals[1] === undefined ? Object.keys(loaded.config.pipelines) : [pipelineOf(args, loaded)];
    const reloaded: Reloaded[] = [];
    try {
      for (const name of names) reloaded.push({ pipeline: name, ...(await ask(loaded, name, args.is('allow-removed'), io)) });
    } catch (error) {
      if (!(error instanceof NotRunning)) throw error;
      show(
        io,
        args.is('json'),
        { running: false, pipelines: [] },
        () => 'The service does not run: it reads its rule files when it starts.\n',
      );
      return 1;
    }
    show(io, args.is('json'), { running: true, pipelines: reloaded }, () => reloaded.map(inWords).join(''));
    return reloaded.some(({ outcome }) => outcome === 'refused') ? 2 : 0;
  },
};

async function ask(loaded: LoadedConfig, name: string, allowRemoved: boolean, io: Io): Promise<ReloadView> {
  const path = `/api/pipelines/${encodeURIComponent(name)}/rules/reload`;
  const answer = await callService(loaded, path, postOf({ allowRemoved }), io.stop);
  if (answer.status === 200) return answer.body as ReloadView; // Our own service, by its own schema.
  const refused = answer.body as {
    readonly error_code?: string;
    readonly findings?: readonly { rule: string; severity: string; path: string; detail: string }[];
  };
  if (answer.status !== 409 || refused.error_code !== 'RULES_REFUSED') throw unexpected(answer);
  const problems = (refused.findings ?? []).map(
    ({ rule, severity, path, detail }) => ({ severity, path, message: rule, fix: detail }) as Problem,
  );
  return { outcome: 'refused', changes: [], problems };
}

function inWords({ pipeline, outcome, changes, problems }: Reloaded): string {
  const told = problems.map((problem) => problemText(problem)).join('');
  if (outcome === 'refused') return `${told}${pipeline}: refused. The rules before stay in force.\n`;
  if (outcome === 'unchanged') return `${told}${pipeline}: nothing has changed.\n`;
  const lines = changes.map(
    ({ dataset, from, to, draft }) => `  ${dataset}${draft ? ' (draft)' : ''}  ${from ?? 'no rules'} -> ${to ?? 'no rules'}\n`,
  );
  return `${told}${pipeline}: in force from the next batch on.\n${lines.join('')}`;
}
