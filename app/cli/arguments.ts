/** Command lines, over node:util's parseArgs: what a command takes, what it says of itself, and clear errors with a fix. */
import { parseArgs } from 'node:util';
import { nearest } from '../config-read.ts';

export interface FlagSpec {
  readonly type: 'string' | 'boolean';
  /** May be given several times. */
  readonly multiple?: boolean;
  /** How help names its value: `ID`, `URL`. */
  readonly value?: string;
  readonly help: string;
}

export interface CommandSpec {
  /** The words that name it: `quarantine list`. */
  readonly name: string;
  readonly summary: string;
  /** What follows the name, as help shows it: `CONFIG`, `CONFIG [ID…]`. A name in brackets may be left out; one with … may be repeated. */
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, FlagSpec>>;
}

export interface Arguments {
  readonly positionals: readonly string[];
  text(flag: string): string | null;
  list(flag: string): readonly string[];
  is(flag: string): boolean;
}

/** A flag's number; null where it is not given. `example`: one that would do. */
export function wholeNumberOf(
  args: Arguments,
  flag: string,
  { least = 1, most = Number.MAX_SAFE_INTEGER, example }: { readonly least?: number; readonly most?: number; readonly example: number },
): number | null {
  const text = args.text(flag);
  if (text === null) return null;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= least && number <= most) return number;
  const to = most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`;
  throw new UsageError(`--${flag} ${text} is no whole number from ${least}${to}`, `Write --${flag} ${example}.`);
}

/** A command line that cannot be understood. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly fix: string;
  constructor(message: string, fix: string) {
    super(message);
    this.fix = fix;
  }
}

/** Flags that every command has. */
export const COMMON_FLAGS: Readonly<Record<string, FlagSpec>> = {
  json: { type: 'boolean', help: 'Print one JSON value on standard output.' },
  help: { type: 'boolean', help: 'Explain this command.' },
};

export function readArguments(command: CommandSpec, args: readonly string[]): Arguments {
  const flags = { ...command.flags, ...COMMON_FLAGS };
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(flags).map(([name, { type, multiple }]) => [
        name,
        { type, multiple: multiple === true, ...(name === 'help' ? { short: 'h' } : {}) },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const flag = flags[token.name];
    if (flag === undefined) {
      const near = nearest(token.name, Object.keys(flags));
      throw new UsageError(
        `tidegate ${command.name} knows no --${token.name}`,
        near === null ? `Try tidegate ${command.name} --help.` : `Did you mean --${near}?`,
      );
    }
    // `--rule --json`: the next flag is no value. One that begins so is written --rule=--json.
    const isFlag = token.inlineValue === false && token.value.startsWith('--');
    if (flag.type === 'string' && (token.value === undefined || token.value === '' || isFlag)) {
      throw new UsageError(`--${token.name} needs a value`, `Write --${token.name} ${flag.value ?? 'VALUE'}.`);
    }
    if (flag.type === 'boolean' && token.value !== undefined)
      throw new UsageError(`--${token.name} takes no value`, `Write --${token.name} alone.`);
  }
  const wanted = command.positionals;
  const least = wanted.filter((name) => !name.startsWith('[')).length;
  if (values['help'] !== true) {
    const missing = wanted[positionals.length];
    if (positionals.length < least) {
      throw new UsageError(`tidegate ${command.name} needs ${missing ?? 'more'}`, `Write tidegate ${command.name} ${wanted.join(' ')}.`);
    }
    if (positionals.length > wanted.length && wanted.at(-1)?.includes('…') !== true) {
      throw new UsageError(
        `tidegate ${command.name} takes ${wanted.length === 0 ? 'nothing' : wanted.join(' ')} and was given more`,
        `Try tidegate ${command.name} --help.`,
      );
    }
  }
  return {
    positionals,
    text: (flag) => {
      const value = values[flag];
      return typeof value === 'string' ? value : null;
    },
    list: (flag) => {
      const value = values[flag];
      return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : typeof value === 'string' ? [value] : [];
    },
    is: (flag) => values[flag] === true,
  };
}

export function helpOf(command: CommandSpec): string {
  const flags = Object.entries({ ...command.flags, ...COMMON_FLAGS }).map(
    ([name, flag]) => [`--${name}${flag.type === 'string' ? ` ${flag.value ?? 'VALUE'}` : ''}`, flag.help] as const,
  );
  const width = Math.max(...flags.map(([name]) => name.length)) + 2;
  return [
    `tidegate ${[command.name, ...command.positionals].join(' ')} [options]`,
    '',
    command.summary,
    '',
    'Options',
    ...flags.map(([name, help]) => `  ${name.padEnd(width)}${help}`),
    '',
  ].join('\n');
}
