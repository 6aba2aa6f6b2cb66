/** What stands beside a check means the same for every one of the catalogue: rows that `where` leaves out never count, and `mostly: 1` is none. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { RuleResult } from '../../quality/file-run.ts';
import { NAME_EXAMPLES } from '../../quality/gx/examples.ts';
import { CATALOGUE, WORDS } from '../../quality/gx/registry.ts';
import { Random } from '../support/random.ts';
import { judge } from './judge-cli.ts';
import { HEAD } from './support.ts';

const SEED = 20_261_128;
const scratch = mkdtempSync(join(tmpdir(), 'tidegate-modifiers-'));
afterAll(() => rmSync(scratch, { recursive: true }));

type Fields = Readonly<Record<string, unknown>>;

interface Example {
  readonly name: string;
  /** As an item of `checks`. */
  readonly item: Fields;
  readonly rows: readonly (readonly Fields[])[];
  /** Whether the rows that it judges are chosen, and how many of them may fail is a matter of `mostly`. */
  readonly takesRows: boolean;
  readonly takesMostly: boolean;
}

const examples: readonly Example[] = [
  ...Object.entries(NAME_EXAMPLES).map(([name, { kwargs, passes, fails }]) => exampleOf(name, { expect: name, kwargs }, [passes, fails])),
  ...[...WORDS.values()]
    .filter(({ word }) => word.example.after === undefined && word.example.scoredBy === undefined)
    .map(({ name, word }) => exampleOf(name, itemOf(word.on, word.example.rule), [word.example.passes, word.example.fails])),
];

function exampleOf(name: string, item: Fields, rows: Example['rows']): Example {
  const { takes = [], takesRows = false } = CATALOGUE.get(name) ?? {};
  return { name, item, rows, takesRows, takesMostly: takes.includes('mostly') };
}

function itemOf(on: 'column' | 'row', rule: string): Fields {
  const written = parse(rule) as Fields | readonly Fields[];
  if (on === 'row') return (written as readonly Fields[])[0] ?? {};
  const [[column, items] = ['', []]] = Object.entries(written as Readonly<Record<string, readonly (string | Fields)[]>>);
  const [item = {}] = items;
  return { column, ...(typeof item === 'string' ? { [item]: true } : item) };
}

let files = 0;
const write = (text: string, extension: string): string => {
  const path = join(scratch, `${++files}.${extension}`);
  writeFileSync(path, text);
  return path;
};

/** What the rules say of the rows, without the places of rows in the file. */
async function said(items: readonly Fields[], rows: readonly Fields[]) {
  const checks = items.map((item, at) => ({ id: `rule ${at}`, ...item }));
  const input = write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''), 'ndjson');
  const copy = write('{"id":1}\n{"id":2}\n', 'ndjson');
  const { out } = await judge(
    '--rules',
    write(`${HEAD}checks: ${JSON.stringify(checks)}`, 'yaml'),
    '--input',
    input,
    '--table',
    `copy=${copy}`,
    '--json',
  );
  const { rules } = JSON.parse(out) as {
    readonly rules: readonly (RuleResult & { readonly error: { readonly message: string } | null })[];
  };
  return rules.map(({ success, observed, element_count, missing_count, unexpected_count, partial_unexpected_list, error }) => ({
    success,
    observed,
    element_count,
    missing_count,
    unexpected_count,
    partial_unexpected_list,
    error: error?.message ?? null,
  }));
}

/** Each in its own order. */
function interleaved(random: Random, some: readonly Fields[], others: readonly Fields[]): Fields[] {
  const [a, b] = [[...some], [...others]];
  const all: Fields[] = [];
  while (a.length + b.length > 0) all.push(...(random.below(a.length + b.length) < a.length ? a : b).splice(0, 1));
  return all;
}

test.each(examples.map((example) => [example.name, example] as const))(
  '%s',
  async (_, { item, rows: [passes = [], fails = []], ...takes }) => {
    const random = new Random(SEED);
    for (const rows of [passes, fails]) {
      const kept = rows.map((row) => ({ ...row, keep: true }));
      const noise = Array.from({ length: 5 }, () => ({
        ...[...passes, ...fails][random.below(passes.length + fails.length)],
        keep: false,
      }));
      const shuffled = interleaved(random, kept, noise);
      const [plain] = await said([item], takes.takesRows ? kept : rows);
      expect(plain?.error).toBe(null);
      expect(plain?.success).toBe(rows === passes);
      if (!takes.takesRows) continue;
      expect(await said([{ ...item, where: 'after.keep' }], shuffled)).toEqual([plain]);
      if (takes.takesMostly) expect(await said([{ ...item, mostly: 1 }], kept)).toEqual([plain]);
    }
  },
);

test('a share of rows is let fail by mostly, and no more', async () => {
  for (const { item, rows, takesMostly, name } of examples.filter(({ takesMostly }) => takesMostly)) {
    const [, fails = []] = rows;
    const [all] = await said([item], fails);
    if (all === undefined || all.unexpected_count === 0) continue;
    const share = 1 - all.unexpected_count / (all.element_count - all.missing_count);
    const [enough, tooFew] = [share === 0 ? 1e-9 : share, Math.min(1, share + 1e-6)];
    const [passed, failed] = await said(
      [
        { ...item, mostly: enough },
        { ...item, mostly: tooFew },
      ],
      fails,
    );
    expect([name, takesMostly, passed?.success, failed?.success]).toEqual([name, true, share > 0, false]);
  }
});
