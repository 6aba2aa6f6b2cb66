/** tidegate slo: service levels, measured at the target itself; works while the service runs. */
import type { DatasetName } from '../../core/event.ts';
import type { SloView } from '../http/rule-shapes.ts';
import { listSlo } from '../slo.ts';
import { formatDuration } from '../units.ts';
import type { Command } from './command.ts';
import { withDesks } from './desks.ts';
import { show, table, timeText } from './output.ts';

export const slo: Command = {
  name: 'slo',
  summary: 'Shows service levels, what is left of their error budgets, and their incidents. Exit code 1 where one is in trouble now.',
  positionals: ['CONFIG'],
  flags: { dataset: { type: 'string', value: 'NAME', help: 'Of this dataset alone (source.schema.table).' } },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const dataset = args.text('dataset') as DatasetName | null; // Compared with names, and nothing else.
      const found = await listSlo(desks, dataset, Date.now());
      const { objectives, incidents } = found;
      show(io, args.is('json'), found, () => {
        if (objectives.length === 0 && incidents.length === 0) return 'No rule file has a service level: add slo: { objective: 99.9 }.\n';
        const shown = table(
          ['DATASET', 'SERVICE LEVEL', 'PROMISED', 'GOOD', 'BAD', 'BUDGET LEFT', 'BURN RATES', ''],
          objectives.map((one) => [
            one.dataset,
            one.id,
            one.promise,
            String(one.good),
            String(one.bad),
            one.budgetLeft === null ? '-' : `${(one.budgetLeft * 100).toFixed(1)} %`,
            burnText(one.burns),
            one.troubles.join('; '),
          ]),
        );
        if (incidents.length === 0) return shown;
        return `${shown}\n${table(
          ['INCIDENT', 'DATASET', 'SERVICE LEVEL', 'SEVERITY', 'OPENED', 'LASTED', ''],
          incidents.map(({ id, dataset: of, slo: level, severity, openedMs, resolvedMs, message }) => [
            id,
            of,
            level,
            severity,
            timeText(openedMs),
            resolvedMs === null ? 'open' : formatDuration(resolvedMs - openedMs),
            message,
          ]),
        )}`;
      });
      return objectives.some(({ troubles }) => troubles.length > 0) ? 1 : 0;
    }),
};

/** `0.2 (1h), 0.1 (6h)` */
function burnText(burns: SloView['burns']): string {
  const shown = burns.flatMap(({ long, window }) => (long === null ? [] : [`${Number(long.toPrecision(3))} (${window})`]));
  return shown.length === 0 ? '-' : shown.join(', ');
}
