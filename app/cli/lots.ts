/** tidegate windows lots and resume: rows that wait for a window, or with their dataset, at the target itself; works while the service runs. */
import type { LotView } from '../http/shapes.ts';
import { heldText, letGoOn, listHeld, listLots } from '../lots.ts';
import { windowText } from '../windows.ts';
import { type Arguments, UsageError, wholeNumberOf } from './arguments.ts';
import type { Command } from './command.ts';
import { withDesks } from './desks.ts';
import { show, table, timeText } from './output.ts';

const LIMIT = 100;

const lots: Command = {
  name: 'windows lots',
  summary:
    'Lists the lots of rows that are staged, published and diverted (publish: after_window), and the datasets that are held. Exit code 1 where one is held.',
  positionals: ['CONFIG'],
  flags: { limit: { type: 'string', value: 'N', help: `How many at most; ${LIMIT} if left out.` } },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const limit = wholeNumberOf(args, 'limit', { most: 1000, example: LIMIT }) ?? LIMIT;
      const found = await listLots(desks, limit);
      const held = await listHeld(desks);
      show(io, args.is('json'), { lots: found, held }, () => {
        const lines = held.map((one) => `${heldText(one)}\n`).join('');
        return `${lines}${found.length === 0 ? 'No lots.\n' : tableOf(found)}`;
      });
      return held.length > 0 ? 1 : 0;
    }),
};

const resume: Command = {
  name: 'windows resume',
  summary: 'Lets a dataset go on that is held since a window of it failed (on_fail: hold): what came meanwhile is released in order.',
  positionals: ['CONFIG', 'DATASET'],
  flags: {},
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const dataset = datasetOf(args);
      const pipelines = await letGoOn(desks, dataset);
      if (pipelines.length === 0) throw new UsageError(`${dataset} is not held`, 'See `tidegate windows lots` for those that are.');
      show(io, args.is('json'), { dataset, resumed: true }, () => `${dataset} goes on.\n`);
      return 0;
    }),
};

export const lotCommands: readonly Command[] = [lots, resume];

const datasetOf = (args: Arguments): string => args.positionals[1] ?? '';

function tableOf(found: readonly LotView[]): string {
  return table(
    ['WINDOW', 'STATUS', 'DATASET', 'ROWS', 'SETTLED', 'RULES OR REASON'],
    found.map(({ startMs, endMs, status, dataset, rows, settledAtMs, rules, waitsFor }) => [
      startMs === null ? 'while it is held' : windowText({ startMs, endMs }),
      status,
      dataset,
      String(rows),
      settledAtMs === null ? '-' : timeText(settledAtMs),
      waitsFor ?? rules.join(', '),
    ]),
  );
}
