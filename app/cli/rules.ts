/** tidegate rules: the rules that the running service judges by, and what drafts beside them would do. */
import type { DraftView, RulesView } from '../http/shapes.ts';
import { statusOf } from './client.ts';
import { type Command, configOf } from './command.ts';
import { problemsText, show, table, timeText } from './output.ts';

/** Of each direction. */
const EXAMPLES = 3;

interface Shown {
  readonly pipeline: string;
  readonly rules: RulesView;
}

export const rules: Command = {
  name: 'rules',
  summary:
    'Asks the running service by which revisions of its rule files it judges, why a newer one is not in force, and what drafts (mode: shadow) would do in their place, with examples. Exit code 1 where it does not run, or a revision was refused.',
  positionals: ['CONFIG'],
  flags: {},
  run: async (args, io) => {
    const now = await statusOf(configOf(args, io), io.stop);
    if (now === null) {
      show(io, args.is('json'), { running: false, pipelines: [] }, () => 'The service does not run.\n');
      return 1;
    }
    const shown = now.pipelines.map(({ name, rules: of }): Shown => ({ pipeline: name, rules: of }));
    show(io, args.is('json'), { running: true, pipelines: shown }, () => shown.map(inWords).join('\n'));
    return shown.some(({ rules: { refused } }) => refused !== null) ? 1 : 0;
  },
};

function inWords({ pipeline, rules: { datasets, drafts, refused, changedOnDisk } }: Shown): string {
  const inForce = table(
    ['DATASET', 'REVISION', 'SINCE', 'MODE', 'FILE'],
    datasets.map(({ dataset, revision, sinceMs, mode, file }) => [dataset, revision, timeText(sinceMs), mode, file]),
  );
  const beside =
    drafts.length === 0
      ? ''
      : `\nDrafts beside them:\n${table(
          ['DATASET', 'REVISION', 'SINCE', 'JUDGED', 'WOULD GO THROUGH', 'WOULD BE OUT', 'OUT AS NOW', 'FILE'],
          drafts.map((one) => [
            one.dataset,
            one.revision,
            timeText(one.sinceMs),
            ...[one.events, one.freed, one.taken, one.out].map(String),
            one.file,
          ]),
        )}`;
  const examples = drafts.flatMap(({ examples: some }) =>
    (['out', 'through'] as const)
      .flatMap((side) => some.filter(({ to }) => to === side).slice(0, EXAMPLES))
      .map(
        ({ key, op, to, why }) =>
          `  ${op} of ${key} would ${to === 'out' ? 'be out' : 'go through'}: ${why.map(({ rule, message }) => `${rule} (${message})`).join(', ')}\n`,
      ),
  );
  const leftOut = drafts.map(leftOutText).join('');
  const notes = `${changedOnDisk ? 'Rule files were changed: `tidegate reload` takes them up.\n' : ''}${refused === null ? '' : `A new revision was refused at ${timeText(refused.atMs)}:\n${problemsText(refused.problems)}`}`;
  return `${pipeline}\n${inForce}${beside}${leftOut}${examples.join('')}${notes}`;
}

const leftOutText = ({ notAsked, file }: DraftView): string =>
  notAsked.length === 0
    ? ''
    : `! Left out by ${file}, for the table is large and has no index that finds their rows: ${notAsked.join(', ')}. Make one at the target.\n`;
