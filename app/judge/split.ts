/**
 * Large files in several parts at once. A part begins behind the first line break after its share of the file, as if that were the end of a record; whether
 * it is, the part before it tells, for it ends with its last record. Where it is not (the line break is within quotes), or a part meets anything that it does
 * not expect, nothing of it counts and the file is judged from its beginning to its end. So what is said never depends on the parts. The parts of a Parquet
 * file are of row groups, and workers judge all of them: a reader of such a file needs bounds.
 */
import { open, stat } from 'node:fs/promises';
import type { Contract } from '../../quality/contract.ts';
import { ColumnSeen } from '../../quality/file-columns.ts';
import type { RunRules } from '../../quality/file-run.ts';
import { type FilePart, OtherKind, WHOLE_FILE } from './csv-records.ts';
import type { JudgeInput } from './input.ts';
import { isParquet } from './file-kind.ts';
import { judgePart, nothingJudged, type PartJudged, type PartTask } from './part.ts';
import type { PartAnswer, SentRules } from './part-worker.ts';
import { partCount, type PartWorkers } from './part-workers.ts';

const LINE_BYTES_MAX = 1 << 20;

/** The parts of the file. Only checks of single rows can be put together; `Infinity` bytes are one part as well. */
export async function partsOf({ path }: JudgeInput, { fileChecks }: Contract, partBytes?: number): Promise<readonly FilePart[]> {
  if (fileChecks.length > 0 || partBytes === Infinity) return [WHOLE_FILE];
  const count = await partCount(path, partBytes);
  if (isParquet({ path })) return Array.from({ length: count }, (_, from) => ({ from, until: from + 1, shares: count }));
  if (count < 2) return [WHOLE_FILE];
  const { size } = await stat(path);
  const starts = [0];
  for (let at = 1; at < count; at++) {
    const start = await lineBehind(path, Math.floor((size * at) / count));
    if (start !== null && start > (starts.at(-1) ?? 0) && start < size) starts.push(start);
  }
  return starts.map((from, at) => ({ from, until: starts[at + 1] ?? Infinity }));
}

async function lineBehind(path: string, place: number): Promise<number | null> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(LINE_BYTES_MAX), 0, LINE_BYTES_MAX, place);
  const at = buffer.subarray(0, bytesRead).indexOf(10);
  return at < 0 ? null : place + at + 1;
}

/** All parts put together, or the only one; null where the file has to be judged in one, or is not of that shape. */
export async function judgeParts(
  contract: Contract,
  input: JudgeInput,
  parts: readonly FilePart[],
  task: PartTask,
  workers: PartWorkers,
): Promise<PartJudged | null> {
  const [first = WHOLE_FILE, ...others] = parts;
  const isShared = first.shares !== undefined;
  const asked = isShared ? parts : others;
  // No function goes to another thread, and none is asked for types where there are only checks of single rows.
  const { typeOf: _, ...plain } = task;
  const rules = sentRules(contract);
  const answers = workers.ask(
    asked.map((part) => ({ ...plain, rules, path: input.path, part })),
    input.signal,
  );
  try {
    const own = isShared ? nothingJudged(contract, task) : await judgePart(contract, { ...input, part: first }, task);
    return together(own, await answers, asked);
  } catch (error) {
    // They are at work on what nobody asks for any more.
    await workers.end();
    if (error instanceof OtherKind) return null;
    throw error;
  }
}

function sentRules({ dataset, schema, schemaFiles, checks }: RunRules): SentRules {
  return { dataset, schema, schemaFiles, checks: checks.map((check) => ({ ...check, expectation: check.expectation.name })) };
}

function together(first: PartJudged, others: readonly PartAnswer[], parts: readonly FilePart[]): PartJudged | null {
  const { run } = first;
  let { rows, end } = first;
  const names = new Set(first.names);
  const kinds = first.seen.map((seen) => seen.kinds);
  for (const [at, answer] of others.entries()) {
    if (answer === null || end !== parts[at]?.from) return null;
    run.add(answer.parts, rows);
    rows += answer.rows;
    end = answer.end;
    for (const name of answer.names) names.add(name);
    for (const [column, own] of answer.kinds.entries()) kinds[column] = (kinds[column] ?? 0) | own;
  }
  return { run, rows, names: [...names], seen: kinds.map((own) => new ColumnSeen(own)), end };
}
