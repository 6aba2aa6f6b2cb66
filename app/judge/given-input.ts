/** What the command line of `tidegate judge` says of its input. */
import { parsePythonJson } from '../../quality/gx/python-json.ts';
import { type Arguments, UsageError } from '../cli/arguments.ts';
import type { Io } from '../cli/output.ts';
import { readTypes } from './cells.ts';
import { type JudgeInput, readText } from './input.ts';

export function inputOf(path: string, args: Arguments, io: Io): JudgeInput {
  const jsonOf = (file: string): unknown => {
    const value = parsePythonJson(readText(file));
    if (value === undefined) throw new UsageError(`${file} is no JSON`, 'Correct the file.');
    return value;
  };
  const [types, params] = [args.text('types'), args.text('params')];
  const parameters = params === null ? {} : jsonOf(params);
  if (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters))
    throw new UsageError(`${params} is no object of values`, 'Write {"name": value}.');
  return {
    path,
    types: types === null ? new Map() : readTypes(jsonOf(types), types),
    tables: new Map(args.list('table').map(tableOf)),
    parameters: parameters as Readonly<Record<string, unknown>>,
    stdin: process.stdin,
    signal: io.stop,
    nowMs: Date.now(),
  };
}

function tableOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at <= 0 || at === text.length - 1)
    throw new UsageError(`--table ${text} is no NAME=FILE`, 'Write --table customers=customers.ndjson.');
  return [text.slice(0, at), text.slice(at + 1)];
}
