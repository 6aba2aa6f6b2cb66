/** tidegate quarantine: looking at, releasing and discarding held events, on the target itself; works while the service runs. */
import { systemClock } from '../../core/clock.ts';
import type { ItemStatus } from '../../core/contracts.ts';
import type { DatasetName } from '../../core/event.ts';
import { nearest } from '../config-read.ts';
import type { Desk } from '../desk.ts';
import type { ItemChoice, ItemFilter } from '../http/operations.ts';
import { ITEM_STATUSES, type ItemView, type ReleaseOutcome } from '../http/shapes.ts';
import { CHOICE_MAX, discardItems, getItem, listItems, releaseItems } from '../quarantines.ts';
import { parseDuration } from '../units.ts';
import { type Arguments, type FlagSpec, UsageError } from './arguments.ts';
import type { Command } from './command.ts';
import { callerOf, withDesks } from './desks.ts';
import { show, table, timeText } from './output.ts';
import { importCommand } from './quarantine-import.ts';

const filterFlags: Readonly<Record<string, FlagSpec>> = {
  pipeline: { type: 'string', value: 'NAME', help: 'Only those of this pipeline.' },
  dataset: { type: 'string', value: 'NAME', help: 'Only this dataset (source.schema.table).' },
  rule: { type: 'string', value: 'ID', help: 'Only what this rule held.' },
  key: { type: 'string', value: 'KEY', help: 'Only this key.' },
  since: { type: 'string', value: 'TIME', help: 'Held since: 2026-11-24T12:00:00Z, or an age such as 2h.' },
  until: { type: 'string', value: 'TIME', help: 'Held before.' },
  window: { type: 'string', value: 'TIME', help: 'Only the lot of the window that begins then: 2026-11-24T12:00:00Z.' },
  status: { type: 'string', multiple: true, value: 'STATUS', help: `Only these: ${ITEM_STATUSES.join(', ')}. May be repeated.` },
};
const who: Readonly<Record<string, FlagSpec>> = {
  all: { type: 'boolean', help: 'Every open item, where neither ids nor a filter are given.' },
  by: { type: 'string', value: 'NAME', help: 'Who does it; written beside the items. Your user name if left out.' },
};

const list: Command = {
  name: 'quarantine list',
  summary: 'Lists quarantined events, newest first.',
  positionals: ['CONFIG'],
  flags: {
    ...filterFlags,
    limit: { type: 'string', value: 'N', help: 'At most so many; 50 if left out.' },
    after: { type: 'string', value: 'NEXT', help: 'Goes on after the page that named this.' },
  },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const limit = Number(args.text('limit') ?? 50);
      if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
        throw new UsageError('--limit is no number from 1 to 1000', 'Write --limit 50.');
      const page = await listItems(desks, await filterOf(args, desks), limit, args.text('after'));
      show(io, args.is('json'), page, () => {
        if (page.items.length === 0) return 'Nothing.\n';
        const rows = page.items.map((item) => [
          timeText(item.heldAtMs),
          statusText(item),
          item.dataset,
          item.op,
          item.key,
          reasonsOf(item),
          item.id,
        ]);
        const more = page.next === null ? '' : `More: --after ${page.next}\n`;
        return `${table(['HELD', 'STATUS', 'DATASET', 'OP', 'KEY', 'RULES', 'ID'], rows)}${more}`;
      });
      return 0;
    }),
};

/** A row that waits for the one that it names is released by itself. */
const statusText = ({ status, waitsUntilMs }: Pick<ItemView, 'status' | 'waitsUntilMs'>): string =>
  waitsUntilMs === null ? status : `${status} (waits until ${timeText(waitsUntilMs)})`;

const showItem: Command = {
  name: 'quarantine show',
  summary: 'Shows one quarantined event with its row and why it is held.',
  positionals: ['CONFIG', 'ID'],
  flags: {},
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const item = await getItem(desks, args.positionals[1] ?? '');
      if (item === null)
        throw new UsageError(`there is no quarantined event ${args.positionals[1] ?? ''}`, 'See `tidegate quarantine list` for the ids.');
      show(io, args.is('json'), item, () => {
        const head = [
          `${item.dataset}  ${item.op}  key ${item.key}`,
          `status ${statusText(item)}, held ${timeText(item.heldAtMs)}, committed ${timeText(item.committedAtMs)} at ${item.version}`,
          ...(item.settledAtMs === null
            ? []
            : [`settled ${timeText(item.settledAtMs)} by ${item.by ?? '-'}${item.why === null ? '' : `: ${item.why}`}`]),
          '',
          ...item.findings.map(({ rule, severity, message }) => `${severity}  ${rule}: ${message}`),
          '',
        ];
        // A row that is new, or was read as it is, has no state before.
        const isNew = item.op === 'insert' || item.op === 'read';
        const cells = item.columns.map(({ name, type, key, before, after, note }) => [
          key ? `${name} (key)` : name,
          type,
          ...(isNew ? [] : [before ?? 'null']),
          note ?? after ?? 'null',
        ]);
        return `${head.join('\n')}\n${table(['COLUMN', 'TYPE', ...(isNew ? [] : ['BEFORE']), 'AFTER'], cells)}`;
      });
      return 0;
    }),
};

const release: Command = {
  name: 'quarantine release',
  summary:
    'Sends quarantined events through the stages again, under today’s rules; with --dry-run only says what that would come to. The running service picks them up.',
  positionals: ['CONFIG', '[ID…]'],
  flags: { ...filterFlags, ...who, 'dry-run': { type: 'boolean', help: 'Only say per event: would pass, still fails, superseded.' } },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const dryRun = args.is('dry-run');
      const view = await releaseItems(desks, await choiceOf(args, desks), callerOf(args), dryRun, io.stop);
      show(io, args.is('json'), view, () => {
        if (!dryRun) return settledText(view.released.length, 'released');
        if (view.results.length === 0) return 'Nothing open fits.\n';
        const outcomes = table(
          ['OUTCOME', 'ID', 'RULES'],
          view.results.map((result) => [words[result.outcome], result.id, result.findings.map(({ rule }) => rule).join(', ')]),
        );
        const left = view.notAsked.map(({ dataset, rule }) => `${rule} of ${dataset}`).join(', ');
        return left === '' ? outcomes : `${outcomes}! Left out, for the target could not be asked about these rows: ${left}\n`;
      });
      return 0;
    }),
};

const words: Readonly<Record<ReleaseOutcome['outcome'], string>> = {
  'would-pass': 'would pass',
  'still-fails': 'still fails',
  superseded: 'superseded',
  settled: 'settled already',
  unknown: 'unknown',
};

const discard: Command = {
  name: 'quarantine discard',
  summary: 'Settles quarantined events as discarded: they will never reach the target.',
  positionals: ['CONFIG', '[ID…]'],
  flags: { ...filterFlags, ...who, why: { type: 'string', value: 'TEXT', help: 'Why; kept beside the events. Required.' } },
  run: (args, io) =>
    withDesks(args, io, async (desks) => {
      const why = args.text('why');
      if (why === null) throw new UsageError('--why is missing', 'Say why: --why "test rows".');
      const discarded = await discardItems(desks, await choiceOf(args, desks), callerOf(args), why);
      show(io, args.is('json'), { discarded }, () => settledText(discarded.length, 'discarded'));
      return 0;
    }),
};

export const quarantineCommands: readonly Command[] = [list, showItem, release, discard, importCommand];

async function choiceOf(args: Arguments, desks: readonly Desk[]): Promise<ItemChoice> {
  const ids = args.positionals.slice(1);
  const filter = await filterOf(args, desks);
  const isFiltered = Object.keys(filter).length > 0;
  if (ids.length > 0 && isFiltered) throw new UsageError('both ids and a filter are given', 'Give one of the two.');
  if (ids.length > 0) return { ids };
  if (!isFiltered && !args.is('all'))
    throw new UsageError('nothing is chosen', 'Name ids, a filter such as --rule or --dataset, or --all.');
  return { filter };
}

async function filterOf(args: Arguments, desks: readonly Desk[]): Promise<ItemFilter> {
  const pipeline = known(
    'pipeline',
    args.text('pipeline'),
    desks.map((desk) => desk.pipeline),
  );
  const dataset = await datasetOf(args, desks);
  const rule = args.text('rule');
  const key = args.text('key');
  const since = timeOf(args, 'since');
  const until = timeOf(args, 'until');
  const window = timeOf(args, 'window');
  const statuses = args.list('status');
  for (const status of statuses) {
    if (!(ITEM_STATUSES as readonly string[]).includes(status))
      throw new UsageError(`there is no status ${status}`, `Use ${ITEM_STATUSES.join(', ')}.`);
  }
  return {
    ...(pipeline === null ? {} : { pipeline }),
    ...(dataset === null ? {} : { dataset }),
    ...(rule === null ? {} : { rule }),
    ...(key === null ? {} : { key }),
    ...(since === null ? {} : { heldFromMs: since }),
    ...(until === null ? {} : { heldToMs: until }),
    ...(window === null ? {} : { lotStartMs: window }),
    ...(statuses.length === 0 ? {} : { status: statuses as readonly ItemStatus[] }),
  };
}

/** A dataset of the config, or one that is no longer there but in the quarantine. */
async function datasetOf(args: Arguments, desks: readonly Desk[]): Promise<DatasetName | null> {
  const text = args.text('dataset');
  const present = desks.flatMap((desk) => desk.datasets);
  if (text === null || present.some((dataset) => dataset === text)) return known('dataset', text, present);
  const counts = await Promise.all(desks.map((desk) => desk.withSink((sink) => sink.quarantine.counts())));
  return known('dataset', text, [...present, ...counts.flat().map(({ dataset }) => dataset)]);
}

/** A misspelled name would quietly find nothing. */
function known<T extends string>(what: string, text: string | null, names: readonly T[]): T | null {
  if (text === null) return null;
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  const near = nearest(text, names);
  throw new UsageError(
    `there is no ${what} ${text}`,
    near === null ? `Name one of ${[...new Set(names)].join(', ')}.` : `Did you mean ${near}?`,
  );
}

function timeOf(args: Arguments, flag: string): number | null {
  const text = args.text(flag);
  if (text === null) return null;
  const age = parseDuration(text);
  const ms = age === null ? Date.parse(text) : systemClock.now() - age;
  if (!Number.isFinite(ms)) throw new UsageError(`--${flag} ${text} is no time`, 'Write 2026-11-24T12:00:00Z, or an age such as 2h.');
  return ms;
}

function settledText(count: number, done: string): string {
  if (count === 0) return `0 ${done}: nothing open fits.\n`;
  const more = count === CHOICE_MAX ? `A filter takes the newest ${CHOICE_MAX} at once: do it again for the rest.\n` : '';
  return `${count} ${done}.\n${more}`;
}

function reasonsOf(item: ItemView): string {
  return item.findings.map(({ rule }) => rule).join(', ');
}
