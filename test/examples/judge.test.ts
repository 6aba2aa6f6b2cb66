/** The file that the README has a newcomer judge. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cli } from '../app/cli.ts';

const ROOT = join(import.meta.dirname, '../..');

test("the README's command finds the mistakes of examples/judge, and exits as the README says", async () => {
  const words = /npm run -s tidegate -- (judge .*)/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1]?.split(' ') ?? [];
  const { code, json } = await cli(...words.map((word) => (word.startsWith('examples/') ? join(ROOT, word) : word)), '--json');
  const { rules } = json as { rules: readonly { rule: string; success: boolean; unexpected_index_list: readonly number[] }[] };
  expect([code, rules.filter(({ success }) => !success).map((one) => [one.rule, one.unexpected_index_list])]).toEqual([
    1,
    [
      ['status.in_set', [2]],
      ['lines-add-up', [4]],
      ['id.unique', [3, 4]],
    ],
  ]);
});
