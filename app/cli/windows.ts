/** tidegate windows: what rules over windows said, looked up at the target itself; works while the service runs. */
import type { DatasetName } from '../../core/event.ts';
import type { WindowVerdict } from '../../core/windows.ts';
import type { WindowView } from '../http/shapes.ts';
import { isAnyFailing, listWindows, windowText } from '../windows.ts';
import { type Arguments, UsageError, wholeNumberOf } from './arguments.ts';
import { type Command, pipelineNamed } from './command.ts';
import { withDesks } from './desks.ts';
import { show, table } from './output.ts';

const LIMIT = 100;
const VERDICTS: readonly WindowVerdict[] = ['pass', 'fail', 'indeterminate'];

const list: Command = {
  name: 'windows list',
  summary: 'Lists what rules over windows said, newest first. Exit code 1 where the newest window of a rule failed.',
  positionals: ['CONFIG'],
  flags: {
    pipeline: { type: 'string', value: 'NAME', help: 'Of this pipeline alone.' },
    dataset: { type: 'string', value: 'NAME', help: 'Of this dataset alone (source.schema.table).' },
    rule: { type: 'string', value: 'ID', help: 'Of this rule alone.' },
    verdict: { type: 'string', value: 'WORD', help: 'Of this verdict alone: pass, fail or indeterminate.' },
    newest: { type: 'boolean', help: 'Only the newest window of each rule and group.' },
    limit: { type: 'string', value: 'N', help: `How many at most; ${LIMIT} if left out.` },
  },
  run: (args, io) =>
    withDesks(args, io, async (all, loaded) => {
      const named = args.text('pipeline');
      const only = named === null ? null : pipelineNamed(named, loaded);
      const desks = all.filter(({ pipeline }) => only === null || pipeline === only);
      const of = { ...filterBy(args, 'dataset'), ...filterBy(args, 'rule') };
      const verdict = verdictOf(args);
      const limit = wholeNumberOf(args, 'limit', { most: 1000, example: LIMIT }) ?? LIMIT;
      const windows = await listWindows(desks, { ...of, newest: args.is('newest'), ...(verdict !== null && { verdict }) }, limit);
      show(io, args.is('json'), { windows }, () => (windows.length === 0 ? 'Nothing.\n' : tableOf(windows)));
      return (await isAnyFailing(desks, of)) ? 1 : 0;
    }),
};

export const windowCommands: readonly Command[] = [list];

function tableOf(windows: readonly WindowView[]): string {
  return table(
    ['WINDOW', 'VERDICT', 'DATASET', 'RULE', 'GROUP', 'ROWS', 'OBSERVED', 'REVISION', 'WHY'],
    windows.map((window) => [
      windowText(window),
      window.verdict,
      window.dataset,
      window.rule,
      window.group ?? '-',
      String(window.rows),
      window.observed === null ? '-' : short(JSON.stringify(window.observed)),
      String(window.revision),
      window.reason ?? '',
    ]),
  );
}

const short = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

function filterBy(args: Arguments, flag: 'dataset' | 'rule'): { readonly dataset?: DatasetName; readonly rule?: string } {
  const value = args.text(flag);
  if (value === null) return {};
  return flag === 'dataset' ? { dataset: value as DatasetName } : { rule: value }; // Compared with names, and nothing else.
}

function verdictOf(args: Arguments): WindowVerdict | null {
  const value = args.text('verdict');
  if (value === null) return null;
  const found = VERDICTS.find((verdict) => verdict === value);
  if (found === undefined) throw new UsageError(`${value} is no verdict`, `Write one of ${VERDICTS.join(', ')}.`);
  return found;
}
