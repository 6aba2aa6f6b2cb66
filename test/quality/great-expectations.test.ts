/**
 * Great Expectations' own cases through `tidegate judge`. They are not part of this project: TIDEGATE_CONFORMANCE names the folder that holds
 * great-expectations/. Without it this is skipped, and says so.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runCli } from '../../app/cli/cli.ts';
import { type Call, disagreement, readCalls } from './conformance.ts';

const root = process.env['TIDEGATE_CONFORMANCE'];
const folder = root === undefined ? null : join(root, 'great-expectations');
const found = folder !== null && existsSync(folder);
if (!found)
  console.log('The cases of Great Expectations are skipped: TIDEGATE_CONFORMANCE names no folder that holds great-expectations/.');

describe.runIf(found)('the cases of Great Expectations', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'tidegate-judge-'));
  afterAll(() => rmSync(scratch, { recursive: true }));

  test('99 of 100 that are portable or must be refused agree', { timeout: 120_000 }, async () => {
    const { calls, leftOut } = readCalls(folder ?? '');
    const problems: string[] = [];
    const counts = { portable: 0, refused: 0 };
    for (const call of calls) {
      const answers = await judge(call, scratch);
      for (const [at, test] of call.cases.entries()) {
        counts[test.sort]++;
        const answer = answers[at];
        const problem = answer === undefined ? 'there is no answer' : disagreement(test, answer);
        if (problem !== null) problems.push(`${call.name} ${test.title}: ${problem.slice(0, 400)}`);
      }
    }
    const total = counts.portable + counts.refused;
    const rate = (100 * (total - problems.length)) / total;
    const reasons = Map.groupBy(leftOut, ({ reason }) => reason);
    console.log(
      `${total - problems.length} of ${total} cases agree (${rate.toFixed(1)} %): ${counts.portable} portable, ${counts.refused} to be refused.\n` +
        `Left out: ${[...reasons].map(([reason, cases]) => `${cases.length} ${reason}`).join('; ')}.\n${problems.join('\n')}`,
    );
    expect(rate).toBeGreaterThanOrEqual(99);
  });
});

type Answers = readonly Parameters<typeof disagreement>[1][];

async function judge(call: Call, scratch: string): Promise<Answers> {
  const write = (name: string, text: string) => {
    const path = join(scratch, name);
    writeFileSync(path, text);
    return path;
  };
  const suite = { name: call.name, expectations: call.cases.map(({ kwargs }) => ({ type: call.expectation, kwargs })) };
  const text = JSON.stringify(suite, (_key, value: unknown) => (value === Infinity ? '∞' : value === -Infinity ? '-∞' : value));
  const tables = Object.entries(call.tables).map(([name, rows]) => `--table=${name}=${write(`${name}.ndjson`, rows)}`);
  const args = [
    'judge',
    `--suite=${write('suite.json', text.replaceAll('"∞"', 'Infinity').replaceAll('"-∞"', '-Infinity'))}`,
    '--format=gx',
    `--input=${write('rows.ndjson', call.rows)}`,
    `--types=${write('types.json', JSON.stringify(call.types))}`,
    ...tables,
    '--json',
  ];
  let out = '';
  const io = {
    stdout: (text: string) => void (out += text),
    stderr: (text: string) => void (out += text),
    env: {},
    isTerminal: false,
    ask: () => Promise.resolve(null),
    stop: new AbortController().signal,
  };
  await runCli(args, io);
  const document = JSON.parse(out) as { readonly results?: Answers };
  if (document.results === undefined) throw new Error(`${call.name}: ${out}`);
  return document.results;
}
