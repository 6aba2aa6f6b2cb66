import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { errorsPage } from '../../app/errors-page.ts';
import { generatedFiles } from '../../app/generate.ts';
import { ERRORS, PipelineError } from '../../core/errors.ts';

test('docs/errors.md is what `npm run generate` makes of the table', () => {
  expect(readFileSync('docs/errors.md', 'utf8')).toBe(generatedFiles().get('docs/errors.md'));
});

test('the page has every code once, with its fix', () => {
  const lines = errorsPage().split('\n');
  for (const [code, { fix }] of Object.entries(ERRORS))
    expect(lines.filter((line) => line.startsWith(`| \`${code}\` |`))).toEqual([`| \`${code}\` | ${fix.replaceAll('|', '\\|')} |`]);
});

test('an error says what follows it and what to do', () => {
  const error = new PipelineError('LEASE_LOST', 'writing');
  expect({ after: error.after, fix: error.fix }).toEqual(ERRORS.LEASE_LOST);
});
