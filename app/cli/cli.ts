/** Finds the command, runs it, and says what went wrong: code, message, fix. */
import { ConfigProblems } from '../config-problems.ts';
import { VERSION } from '../version.ts';
import { helpOf, readArguments, UsageError } from './arguments.ts';
import type { Command } from './command.ts';
import { errorText, type ExitCode, type Io, problemsText } from './output.ts';
import { nearest } from '../config-read.ts';

/** First words of command lines, and where their commands are. To load all of them takes longer than most of them run. */
const LOADERS: readonly (readonly [string, () => Promise<readonly Command[]>])[] = [
  ['run', async () => [(await import('./run.ts')).run]],
  ['check', async () => [(await import('./check.ts')).check]],
  ['init', async () => [(await import('./init.ts')).init]],
  ['status lanes', async () => import('./look.ts').then(({ status, lanes }) => [status, lanes])],
  ['halt resume', async () => import('./halt.ts').then(({ halt, resume }) => [halt, resume])],
  ['reload', async () => [(await import('./reload.ts')).reload]],
  ['rules', async () => [(await import('./rules.ts')).rules]],
  ['verify', async () => [(await import('./verify.ts')).verify]],
  ['recover', async () => [(await import('./recover.ts')).recover]],
  ['snapshot resnapshot', async () => import('./snapshot.ts').then(({ snapshot, resnapshot }) => [snapshot, resnapshot])],
  ['judge', async () => [(await import('./judge.ts')).judge]],
  ['profile', async () => [(await import('./profile.ts')).profile]],
  ['reference', async () => [(await import('./reference.ts')).reference]],
  ['backtest', async () => [(await import('./backtest.ts')).backtest]],
  ['quarantine', async () => (await import('./quarantine.ts')).quarantineCommands],
  ['schema', async () => (await import('./schema.ts')).schemaCommands],
  ['schema', async () => [(await import('./schema-diff.ts')).schemaDiff]],
  ['windows', async () => (await import('./windows.ts')).windowCommands],
  ['windows', async () => (await import('./lots.ts')).lotCommands],
  ['slo', async () => [(await import('./slo.ts')).slo]],
  ['models', async () => (await import('./models.ts')).modelCommands],
  ['teardown', async () => [(await import('./teardown.ts')).teardown]],
  ['schema version', async () => (await import('./static.ts')).staticCommands],
];

/** Those of a first word, or all of them, in the order in which help lists them. */
export async function loadCommands(first?: string): Promise<readonly Command[]> {
  const wanted = LOADERS.filter(([words]) => first === undefined || words.split(' ').includes(first));
  return (await Promise.all(wanted.map(([, load]) => load()))).flat();
}

/** What other programs call it. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['pause', 'halt'],
  ['stop', 'halt'],
  ['start', 'run'],
  ['serve', 'run'],
  ['validate', 'check'],
  ['release', 'quarantine release'],
  ['discard', 'quarantine discard'],
]);

const STOPPED = { code: 'STOPPED', message: 'a signal stopped it before it was done', fix: null } as const;

export async function runCli(args: readonly string[], io: Io): Promise<ExitCode> {
  const json = args.includes('--json');
  try {
    const found = await commandOf(args);
    if (found === null) {
      io.stdout(overview(await loadCommands()));
      return args.length === 0 ? 2 : 0;
    }
    const parsed = readArguments(found.command, found.rest);
    if (parsed.is('help')) {
      io.stdout(helpOf(found.command));
      return 0;
    }
    return await found.command.run(parsed, io);
  } catch (error) {
    if (error instanceof ConfigProblems) {
      if (json) io.stdout(`${JSON.stringify({ ok: false, problems: error.problems }, null, 2)}\n`);
      else io.stderr(problemsText(error.problems));
      return 2;
    }
    const wasStopped = io.stop.aborted && error instanceof Error && error.name === 'AbortError';
    const { code, message, fix } = wasStopped ? STOPPED : errorText(error);
    if (json) io.stdout(`${JSON.stringify({ ok: false, error: { code, message, fix } }, null, 2)}\n`);
    else io.stderr(`✗ ${code}: ${message}\n${fix === null ? '' : `    ${fix}\n`}`);
    if (io.env['TIDEGATE_DEBUG'] !== undefined && error instanceof Error) io.stderr(`${error.stack ?? ''}\n`);
    return wasStopped ? 130 : error instanceof UsageError ? 2 : 1;
  }
}

/** The command that the first words name; null where help is asked for. */
async function commandOf(args: readonly string[]): Promise<{ readonly command: Command; readonly rest: readonly string[] } | null> {
  const [first, second] = args;
  if (first === 'help' && second !== undefined) return commandOf([...args.slice(1), '--help']);
  if (first === undefined || first === 'help' || first === '--help' || first === '-h' || first === '--version') {
    const version = first === '--version' ? (await loadCommands('version')).find(({ name }) => name === 'version') : undefined;
    if (version !== undefined) return { command: version, rest: [] };
    return null;
  }
  const known = await loadCommands(first);
  for (const command of known) {
    const words = command.name.split(' ');
    if (words[0] === first && (words.length === 1 || words[1] === second)) return { command, rest: args.slice(words.length) };
  }
  const family = known.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name);
  if (family.length > 0) {
    if (second === undefined || second.startsWith('-'))
      throw new UsageError(`tidegate ${first} needs one more word`, `Write ${family.join(', ')}.`);
    const near = nearest(`${first} ${second}`, family);
    throw new UsageError(
      `there is no tidegate ${first} ${second}`,
      near === null ? `There are ${family.join(', ')}.` : `Did you mean tidegate ${near}?`,
    );
  }
  const near =
    SYNONYMS.get(first) ??
    nearest(
      first,
      LOADERS.flatMap(([words]) => words.split(' ')),
    );
  throw new UsageError(`there is no command ${first}`, near === null ? 'See tidegate help.' : `Did you mean tidegate ${near}?`);
}

function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name, positionals }) => `${name} ${positionals.join(' ')}`.length)) + 2;
  const lines = commands.map(
    ({ name, positionals, summary }) =>
      `  ${`${name} ${positionals.join(' ')}`.padEnd(width)}${(summary.split(/[.:] (?![^(]*\))/)[0] ?? '').replace(/\.?$/, '.')}`,
  );
  return `tidegate ${VERSION}: a gate between a source database and the stores that follow it.\n\n${lines.join('\n')}\n\nEvery command takes --json and --help. Exit codes: 0 done, 1 failed, 2 wrong input and nothing done, 130 stopped by a signal.\n`;
}
