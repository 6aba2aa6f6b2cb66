/** tidegate snapshot and resnapshot: the rows that the running service reads beside the log are steered, and read again. */
import { PipelineError } from '../../core/errors.ts';
import type { LoadedConfig } from '../config.ts';
import type { SnapshotView } from '../http/shapes.ts';
import { UsageError } from './arguments.ts';
import { type Answer, callService, NotRunning, postOf, unexpected } from './client.ts';
import { type Command, configOf, pipelineOf } from './command.ts';
import { type Io, show, table, timeText } from './output.ts';

const ACTIONS = ['pause', 'resume', 'status'];

export const snapshot: Command = {
  name: 'snapshot',
  summary:
    'Tells how far the rows are that the running service reads beside the log (status), has it wait with them (pause), or go on (resume). Changes go on meanwhile. A pause lasts until it is resumed, over restarts too.',
  positionals: ['CONFIG', 'pause|resume|status', '[PIPELINE]'],
  flags: {},
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const [, action = ''] = args.positionals;
    if (!ACTIONS.includes(action)) throw new UsageError(`a snapshot has no ${action}`, `Use ${ACTIONS.join(', ')}.`);
    const pipeline = pipelineOf(args, loaded, 2);
    const path = `/api/pipelines/${encodeURIComponent(pipeline)}/snapshot`;
    if (action === 'status') {
      const view = (await asked(loaded, path, null, io)) as SnapshotView; // Our own service, by its own schema.
      show(io, args.is('json'), { pipeline, ...view }, () => viewText(view));
      return 0;
    }
    await asked(loaded, `${path}/${action}`, {}, io);
    const paused = action === 'pause';
    show(io, args.is('json'), { pipeline, paused }, () => `The snapshot of ${pipeline} ${paused ? 'waits' : 'goes on'}.\n`);
    return 0;
  },
};

export const resnapshot: Command = {
  name: 'resnapshot',
  summary:
    'Has the running service read rows of a dataset again, beside the log and in its order: all, those of a condition, or those of some keys. They pass the rules like any other, and it goes on over restarts. Rows that the source no longer has are deleted at the target only where their keys are named.',
  positionals: ['CONFIG', 'PIPELINE', 'DATASET'],
  flags: {
    where: { type: 'string', value: 'SQL', help: 'Only rows that this holds for, in the source’s SQL: "total > 100".' },
    keys: {
      type: 'string',
      multiple: true,
      value: 'KEY',
      help: 'Only the row of this key: 17, or ["DE","17"] where it has several columns. May be repeated.',
    },
  },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const pipeline = pipelineOf(args, loaded);
    const dataset = args.positionals[2] ?? '';
    const where = args.text('where');
    const keys = args.list('keys').map(keyOf);
    if (where !== null && keys.length > 0) throw new UsageError('both --where and --keys are given', 'Give one of the two, or none.');
    const body = { dataset, ...(where === null ? {} : { where }), ...(keys.length === 0 ? {} : { keys }) };
    const { id } = (await asked(loaded, `/api/pipelines/${encodeURIComponent(pipeline)}/rereads`, body, io)) as { id: string };
    show(
      io,
      args.is('json'),
      { pipeline, dataset, id },
      () => `Begun as ${id}: see \`tidegate snapshot ${args.positionals[0]} status\`.\n`,
    );
    return 0;
  },
};

/** A text, or a JSON array of the texts of its columns. */
function keyOf(text: string): readonly string[] {
  if (!text.startsWith('[')) return [text];
  const fix = 'Write --keys 17, or --keys \'["DE","17"]\' where it has several columns.';
  try {
    const cells: unknown = JSON.parse(text);
    if (Array.isArray(cells) && cells.every((cell) => typeof cell === 'string')) return cells;
  } catch {
    // Told below.
  }
  throw new UsageError(`--keys ${text} is no key`, fix);
}

/** What the service says; null for `body` only looks. */
async function asked(loaded: LoadedConfig, path: string, body: unknown, io: Io): Promise<unknown> {
  const answer = await callService(loaded, path, body === null ? {} : postOf(body), io.stop).catch(notRunning);
  const { status } = answer;
  if (status < 300) return answer.body;
  const { error_code: code, detail, fix } = answer.body as { error_code?: string; detail?: string; fix?: string };
  if (status === 400) throw new UsageError(detail ?? 'the service refuses it', fix ?? 'See --help.');
  if (status === 503 && code === 'SOURCE_UNREACHABLE') throw new PipelineError(code, detail ?? 'the service cannot reach its source');
  throw unexpected(answer);
}

function notRunning(error: unknown): Answer {
  if (!(error instanceof NotRunning)) throw error;
  throw new UsageError(`no running service was reached: ${error.message}`, 'Start it with `tidegate run`, by this config.');
}

const WAITS = {
  rate: 'Waits for its rate (snapshot.rate).\n',
  busy: 'Waits for the source, which is busy (snapshot.busySessions).\n',
};

/** The reason is first the person's, who ends it. */
function waitText({ waits, paused }: SnapshotView): string {
  if (paused !== null) return `Paused by ${paused.by} at ${timeText(paused.atMs)}: nothing is read until \`tidegate snapshot … resume\`.\n`;
  return waits === null || waits === 'paused' ? '' : WAITS[waits];
}

const keysText = (count: number): string => (count === 1 ? '1 key' : `${count} keys`);

function viewText(view: SnapshotView): string {
  const { tables, rereads } = view;
  const of = (rows: number, estimated: number | null): string => (estimated === null ? `${rows}` : `${rows} of about ${estimated}`);
  const copied = tables.map(({ dataset, state, rowsDone, rowsEstimated }) => [dataset, state, of(rowsDone, rowsEstimated), '', '']);
  const again = rereads.map((one) => {
    const all = one.columns === null ? 'all rows' : `of all rows ${one.columns.join(', ')}`;
    const what = one.where ?? (one.keys === null ? all : keysText(one.rowsEstimated ?? one.keys.length));
    return [one.dataset, one.state, of(one.rowsDone, one.rowsEstimated), one.id, one.problem ?? what];
  });
  return `${waitText(view)}${table(['DATASET', 'STATE', 'ROWS', 'READ AGAIN', ''], [...copied, ...again])}`;
}
