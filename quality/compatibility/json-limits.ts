/** Limits that are numbers, of texts, arrays and objects alike. */
import type { Shape } from './json-shape.ts';

export type Add = (keyword: string, kinds: readonly [string, string], reason: string, fixes: readonly [string, string]) => void;

/** A number that the reader has as a limit and the writer has not, or wider. */
export function compareLimits(r: Shape, w: Shape, names: readonly (readonly [keyword: string, side: -1 | 1])[], add: Add): void {
  for (const [keyword, side] of names) {
    const [limit, written] = [r.number(keyword), w.number(keyword)];
    if (limit === null || (written !== null && side * (limit - written) >= 0)) continue;
    if (side === -1 && limit <= 0) continue; // Everything has at least nothing.
    const snake = keyword.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const [tighter, looser] = side === -1 ? ['increased', 'decreased'] : ['decreased', 'increased'];
    add(
      keyword,
      written === null ? [`${snake}_added`, `${snake}_removed`] : [`${snake}_${tighter}`, `${snake}_${looser}`],
      `the reader has ${keyword} ${limit}, and the writer has ${written ?? 'none'}`,
      [
        written === null ? `Leave ${keyword} out.` : `Keep ${keyword} at ${written}, or loosen it.`,
        `Keep ${keyword} at ${limit}, or tighten it.`,
      ],
    );
  }
}
