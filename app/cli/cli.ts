/** Finds the command, runs it, and says what went wrong: code, message, fix. */
import { ConfigProblems } from '../service.ts';
import { VERSION } from '../version.ts';
import { helpOf, readArguments, UsageError } from './arguments.ts';
import { backtest } from './backtest.ts';
import { check } from './check.ts';
import type { Command } from './command.ts';
import { halt, resume } from './halt.ts';
import { init } from './init.ts';
import { judge } from './judge.ts';
import { lanes, status } from './look.ts';
import { modelCommands } from './models.ts';
import { errorText, type ExitCode, type Io, problemsText } from './output.ts';
import { profile } from './profile.ts';
import { quarantineCommands } from './quarantine.ts';
import { reload } from './reload.ts';
import { recover } from './recover.ts';
import { rules } from './rules.ts';
import { run } from './run.ts';
import { schemaCommands } from './schema.ts';
import { slo } from './slo.ts';
import { lotCommands } from './lots.ts';
import { windowCommands } from './windows.ts';
import { resnapshot, snapshot } from './snapshot.ts';
import { staticCommands } from './static.ts';
import { teardown } from './teardown.ts';
import { verify } from './verify.ts';
import { nearest } from '../config-read.ts';

export const COMMANDS: readonly Command[] = [
  run,
  check,
  init,
  status,
  lanes,
  halt,
  resume,
  reload,
  rules,
  verify,
  recover,
  snapshot,
  resnapshot,
  judge,
  profile,
  backtest,
  ...quarantineCommands,
  ...schemaCommands,
  ...windowCommands,
  slo,
  ...lotCommands,
  ...modelCommands,
  teardown,
  ...staticCommands,
];

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

export async function runCli(args: readonly string[], io: Io): Promise<ExitCode> {
  const json = args.includes('--json');
  try {
    const found = commandOf(args);
    if (found === null) {
      io.stdout(overview());
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
    const { code, message, fix } = errorText(error);
    if (json) io.stdout(`${JSON.stringify({ ok: false, error: { code, message, fix } }, null, 2)}\n`);
    else io.stderr(`✗ ${code}: ${message}\n${fix === null ? '' : `    ${fix}\n`}`);
    if (io.env['TIDEGATE_DEBUG'] !== undefined && error instanceof Error) io.stderr(`${error.stack ?? ''}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** The command that the first words name; null where help is asked for. */
function commandOf(args: readonly string[]): { readonly command: Command; readonly rest: readonly string[] } | null {
  const [first, second] = args;
  if (first === 'help' && second !== undefined) return commandOf([...args.slice(1), '--help']);
  if (first === undefined || first === 'help' || first === '--help' || first === '-h' || first === '--version') {
    const version = COMMANDS.find(({ name }) => name === 'version');
    if (first === '--version' && version !== undefined) return { command: version, rest: [] };
    return null;
  }
  for (const command of COMMANDS) {
    const words = command.name.split(' ');
    if (words[0] === first && (words.length === 1 || words[1] === second)) return { command, rest: args.slice(words.length) };
  }
  const family = COMMANDS.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name);
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
      COMMANDS.map(({ name }) => name.split(' ')[0] ?? name),
    );
  throw new UsageError(`there is no command ${first}`, near === null ? 'See tidegate help.' : `Did you mean tidegate ${near}?`);
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name, positionals }) => `${name} ${positionals.join(' ')}`.length)) + 2;
  const lines = COMMANDS.map(
    ({ name, positionals, summary }) =>
      `  ${`${name} ${positionals.join(' ')}`.padEnd(width)}${(summary.split(/[.:] /)[0] ?? '').replace(/\.?$/, '.')}`,
  );
  return `tidegate ${VERSION}: a gate between a source database and the stores that follow it.\n\n${lines.join('\n')}\n\nEvery command takes --json and --help. Exit codes: 0 done, 1 failed, 2 wrong input and nothing done.\n`;
}
