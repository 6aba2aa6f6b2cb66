/** Texts that are too long to be shown whole. */

/** The text, or its beginning and an ellipsis where it is longer than `most`: never half a character, which JSON can hold and no database takes. */
export function cutText(text: string, most: number): string {
  if (text.length <= most) return text;
  const last = text.codePointAt(most - 1) ?? 0;
  return `${text.slice(0, last > 0xffff ? most - 1 : most)}…`;
}
