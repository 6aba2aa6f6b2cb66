/** tidegate schema: changes of tables, looked at and decided on the target itself; works while the service runs. */
import type { Decided } from '../../sync/postgres/schema-desk.ts';
import type { SchemaChangeView } from '../http/shapes.ts';
import { approveChange, getChange, listChanges, rejectChange } from '../schema-changes.ts';
import { type Arguments, type FlagSpec, UsageError } from './arguments.ts';
import type { Command } from './command.ts';
import { callerOf, withDesks } from './desks.ts';
import { type ExitCode, type Io, show, table, timeText } from './output.ts';

const by: FlagSpec = { type: 'string', value: 'NAME', help: 'Who does it; written beside the change. Your user name if left out.' };

const list: Command = {
  name: 'schema list',
  summary: 'Lists changes of the source’s tables, and new tables, newest first. Exit code 1 where one waits for you or parks its dataset.',
  positionals: ['CONFIG'],
  flags: { all: { type: 'boolean', help: 'Those that are settled as well.' } },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const changes = await listChanges(desks, !args.is('all'));
      show(io, args.is('json'), { changes }, () =>
        changes.length === 0
          ? 'Nothing.\n'
          : table(
              ['SINCE', 'STATUS', 'DATASET', 'HELD', 'CHANGE', 'ID'],
              changes.map(({ atMs, status, dataset, held, message, id }) => [timeText(atMs), status, dataset, String(held), message, id]),
            ),
      );
      return changes.some(({ status, kinds }) => status === 'held' || (status === 'rejected' && !isUnread(kinds))) ? 1 : 0;
    }),
};

const showChange: Command = {
  name: 'schema show',
  summary: 'Shows one change: what is different, the SQL it comes to at the target, and the rules and models that read its columns.',
  positionals: ['CONFIG', 'ID'],
  flags: {},
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const change = await getChange(desks, idOf(args));
      if (change === null) throw unknown(args);
      show(io, args.is('json'), change, () => {
        const lines = [
          `${change.dataset}  ${decisionOf(change)}`,
          `met at ${timeText(change.atMs)}`,
          ...(change.problem === null ? [] : [`the target did not take it: ${change.problem}`]),
          ...(change.status === 'held' || change.status === 'rejected' ? [`${change.held} events are held for it`] : []),
          ...(change.reread === null ? [] : [`the source’s rows are read anew for it: ${rereads[change.reread] ?? change.reread}`]),
          '',
          ...change.kinds.map(({ kind, policy, message }) => `${message} (${kind}: ${policy})`),
          '',
          ...(change.statements.length === 0 ? ['Nothing is left to run at the target.'] : change.statements.map((sql) => `${sql};`)),
          '',
          `rules: ${change.rules.length === 0 ? 'none' : change.rules.join(', ')}`,
          `models: ${change.models.length === 0 ? 'none' : change.models.join(', ')}`,
        ];
        return `${lines.join('\n')}\n`;
      });
      return 0;
    }),
};

/** Of a table that nothing is held of: once it is rejected, nothing waits. */
const isUnread = (kinds: SchemaChangeView['kinds']): boolean => kinds[0]?.kind === 'table' && kinds[0].policy === 'hold';

const rereads: Readonly<Record<string, string>> = { after: 'once it is approved', wanted: 'soon', begun: 'now', done: 'done' };

const approve: Command = {
  name: 'schema approve',
  summary:
    'Makes a change at the target, with those of its dataset before it, and lets the dataset go on: what was held is released in order. A new table is copied and followed.',
  positionals: ['CONFIG', 'ID'],
  flags: { by },
  run: (args, io) => withDesks(args, io, async (desks) => answer(args, io, await approveChange(desks, idOf(args), callerOf(args)))),
};

const reject: Command = {
  name: 'schema reject',
  summary:
    'Says no to a change: the target stays as it is, the dataset parked, and what is held for it held. A new table stays left out. It can be approved later.',
  positionals: ['CONFIG', 'ID'],
  flags: { by, why: { type: 'string', value: 'TEXT', help: 'Why; kept beside the change. Required.' } },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const why = args.text('why');
      if (why === null) throw new UsageError('--why is missing', 'Say why: --why "not agreed upon".');
      return answer(args, io, await rejectChange(desks, idOf(args), callerOf(args), why));
    }),
};

export const schemaCommands: readonly Command[] = [list, showChange, approve, reject];

function answer(args: Arguments, io: Io, decided: Decided): ExitCode {
  if (decided.kind === 'unknown') throw unknown(args);
  const { kind } = decided;
  if (kind === 'refused') {
    show(io, args.is('json'), { ok: false, error: { code: 'TARGET_SCHEMA', message: decided.message, fix: decided.fix } }, () => '');
    if (!args.is('json')) io.stderr(`✗ ${decided.message}\n    ${decided.fix}\n`);
    return 1;
  }
  show(io, args.is('json'), decided, () =>
    kind === 'rejected'
      ? 'Rejected; nothing is done about it until it is approved.\n'
      : `${decided.changes.join(', ')} approved; ${decided.released} events released.\n`,
  );
  return 0;
}

function decisionOf({ status, by: who, why, settledAtMs }: SchemaChangeView): string {
  if (settledAtMs === null || who === null) return status;
  return `${status} by ${who} at ${timeText(settledAtMs)}${why === null ? '' : `: ${why}`}`;
}

const idOf = (args: Arguments): string => args.positionals[1] ?? '';
const unknown = (args: Arguments): UsageError =>
  new UsageError(`there is no schema change ${idOf(args)}`, 'See `tidegate schema list --all` for the ids.');
