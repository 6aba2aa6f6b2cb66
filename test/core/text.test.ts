/** Texts that are cut: what is left is text. */
import { expect, test } from 'vitest';
import { cutText } from '../../core/text.ts';

test('a text that is cut is at most so long, begins as it did, and has no half of a character', () => {
  const text = 'a🐘b\u{10ffff}🐘ü'.repeat(3);
  for (let most = 1; most <= text.length + 1; most++) {
    const cut = cutText(text, most);
    if (most >= text.length) {
      expect(cut).toBe(text);
      continue;
    }
    const kept = cut.slice(0, -1);
    expect([cut.at(-1), cut.isWellFormed(), text.startsWith(kept)], `${most}`).toEqual(['…', true, true]);
    expect(most - kept.length, `${most}`).toBe(text.slice(0, most).isWellFormed() ? 0 : 1);
  }
});
