/** A file judged by a rule file. Rules are compiled for the types of columns, which only all rows tell: they are found out first, or guessed and watched. */
import { isDeepStrictEqual } from 'node:util';
import { type Contract, parseContract } from '../../quality/contract.ts';
import type { RuleResult } from '../../quality/file-run.ts';
import { ConfigProblems } from '../config-problems.ts';
import { UsageError } from '../cli/arguments.ts';
import { type ExitCode, type Io, problemsText, table } from '../cli/output.ts';
import { type CsvShape, guessShape, typesOfShape } from './csv.ts';
import { type FilePart, WHOLE_FILE } from './csv-records.ts';
import { type Declared, declaredTypes, type FileShape, seenShape, shapeOf, wholeShape } from './file-shape.ts';
import { asFile, countTables, type JudgeInput, readText } from './input.ts';
import { resultJson } from './json.ts';
import type { PartJudged } from './part.ts';
import { isCsv } from './file-kind.ts';
import { PART_BYTES_MIN, type PartWorkers } from './part-workers.ts';
import { typesOfFile } from './read-file.ts';
import { judgeParts, partsOf } from './split.ts';

export async function judgeRules(path: string, input: JudgeInput, workers: PartWorkers, json: boolean, io: Io): Promise<ExitCode> {
  const text = readText(path);
  const parsed = parseContract(text, path, 'file');
  if ('problems' in parsed) throw new ConfigProblems(parsed.problems);
  if (parsed.contract.warnings.length > 0) io.stderr(problemsText(parsed.contract.warnings));
  await using given = await asFile(input);
  const { rows, rules } = await judgeFile(parsed.contract, given.file, workers);
  const success = rules.every((rule) => rule.success !== false);
  io.stdout(json ? `${resultJson({ success, rows, window: null, rules })}\n` : forPeople(rules));
  if (rules.some(({ error }) => error !== null)) return 2;
  return success ? 0 : 1;
}

export interface Judged {
  readonly rows: number;
  readonly rules: readonly RuleResult[];
}

/** `partBytes`: files of less than twice that are judged in one part. */
export async function judgeFile(contract: Contract, input: JudgeInput, workers: PartWorkers, partBytes = PART_BYTES_MIN): Promise<Judged> {
  const expected = new Map(contract.schema?.columns.map(({ name, type }) => [name, type]));
  const declared = declaredTypes(input.types, expected, (await workers.typesOf(input)) ?? (await typesOfFile(input)));
  const others = await countTables(input);
  const parts = await partsOf(input, contract, partBytes);
  const { parameters, nowMs } = input;
  const judge: JudgeBy = (shape, watches, own = parts) =>
    judgeParts(contract, input, own, { shape, parameters, nowMs, watches, typeOf: declared.typeOf }, workers);
  const guessed = declared.own === null ? await judgeByGuess(declared, input, parts, Math.min(GUESS_BYTES, partBytes / 16), judge) : null;
  const { run, rows, names } = guessed ?? (await judgeByAll(declared, input, judge));
  return { rows, rules: run.end({ columns: names, rows, rowsOf: (name) => others.get(name) ?? null }) };
}

/** By a shape of the file; null where it is another one, or has to be judged in one part. */
type JudgeBy = (shape: FileShape, watches: boolean, parts?: readonly FilePart[]) => Promise<PartJudged | null>;

const GUESS_ROWS = 1000;
const GUESS_BYTES = 1 << 17;

/** The first rows mostly have the columns and types of all rows. They are watched, and where a later row is different all of it is done again. */
async function judgeByGuess(
  declared: Declared,
  input: JudgeInput,
  parts: readonly FilePart[],
  guessBytes: number,
  judge: JudgeBy,
): Promise<PartJudged | null> {
  if (isCsv(input)) {
    const csv = await guessedCsv(input, parts, guessBytes);
    return csv === null ? null : judge(shapeOf(declared, csv.header, typesOfShape(csv), csv), false);
  }
  const guess = await seenShape(declared, { ...input, rowsEnough: GUESS_ROWS });
  const judged = await judge(guess, true);
  if (judged === null) return null;
  const types = new Map(guess.columns.map(({ name }, at) => [name, judged.seen[at]?.type ?? null]));
  return isDeepStrictEqual(shapeOf(declared, judged.names, types), guess) ? judged : null;
}

/** Of some rows of each part; null where they cannot be read, or are no rows: all of them are read then, and the first that cannot is told. */
async function guessedCsv(input: JudgeInput, parts: readonly FilePart[], bytes: number): Promise<CsvShape | null> {
  try {
    return await guessShape(
      input,
      parts.slice(1).map(({ from }) => from),
      bytes,
    );
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

async function judgeByAll(declared: Declared, input: JudgeInput, judge: JudgeBy): Promise<PartJudged> {
  const shape = await wholeShape(declared, input);
  const judged = (await judge(shape, false)) ?? (await judge(shape, false, [WHOLE_FILE]));
  if (judged === null) throw new Error('a file is not what reading all of it told');
  return judged;
}

function forPeople(rules: readonly RuleResult[]): string {
  const lines = rules.map(({ rule, level, success, error, observed, element_count: elements, unexpected_count: unexpected }) => [
    error !== null ? 'unusable' : success === null ? 'undecided' : success ? 'passed' : 'FAILED',
    rule,
    level,
    error !== null
      ? error.message
      : level === 'row'
        ? `${unexpected} of ${elements} unexpected`
        : resultJson(observed).replaceAll(/\s+/g, ' '),
  ]);
  const failed = rules.filter(({ success }) => success === false).length;
  return `${table(['RESULT', 'RULE', 'LEVEL', 'OBSERVED'], lines)}${rules.length - failed} passed or undecided, ${failed} did not.\n`;
}
