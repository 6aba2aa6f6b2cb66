/** Cuts the small languages of suites (parameters, row conditions) into words. */

const TOKEN =
  /\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_]\w*)|("(?:[^"\\]|\\[^])*"|'(?:[^'\\]|\\[^])*')|(`[^`]*`)|(==|!=|<=|>=|[<>=+\-*/(),.&|~[\]]))/y;

/** The tokens as they are written; null where something is none. */
export function tokensOf(text: string): readonly string[] | null {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  let at = 0;
  while (text.slice(at).trim() !== '') {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) return null;
    tokens.push(match[0].trim());
    at = TOKEN.lastIndex;
  }
  return tokens;
}
