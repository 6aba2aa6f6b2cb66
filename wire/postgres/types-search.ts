/** tsvector and tsquery, as `tsvectorout` and `tsqueryout` write them. */

/** A count, then per lexeme its text and a zero, a count of places, and the places: two bits of weight, fourteen of position. */
export function tsvectorText(bytes: Buffer, offset: number): string {
  const lexemes: string[] = [];
  let at = offset + 4;
  for (let count = bytes.readInt32BE(offset); count > 0; count--) {
    const end = bytes.indexOf(0, at);
    const lexeme = quoted(bytes.toString('utf8', at, end));
    const places: string[] = [];
    at = end + 3;
    for (let left = bytes.readUInt16BE(end + 1); left > 0; left--, at += 2) {
      const place = bytes.readUInt16BE(at);
      places.push(`${place & 0x3fff}${WEIGHTS[place >> 14] ?? ''}`);
    }
    lexemes.push(places.length === 0 ? lexeme : `${lexeme}:${places.join(',')}`);
  }
  return lexemes.join(' ');
}

const WEIGHTS = ['', 'C', 'B', 'A'];
const quoted = (lexeme: string): string => `'${lexeme.replaceAll(/['\\]/g, '$&$&')}'`;

const VALUE = 1;
const NOT = 1;
const PHRASE = 4;
/** By operator: how strongly it binds, and how it is written. */
const OPERATORS: Readonly<Record<number, { readonly priority: number; readonly sign: string }>> = {
  [NOT]: { priority: 4, sign: '!' },
  2: { priority: 2, sign: '&' },
  3: { priority: 1, sign: '|' },
  [PHRASE]: { priority: 3, sign: '<->' },
};

/** A count, then operators before their operands, the right operand first. */
export function tsqueryText(bytes: Buffer, offset: number): string {
  let at = offset + 4;
  const item = (outer: number, isRightOfPhrase: boolean): string => {
    if (bytes[at] === VALUE) {
      const [weight, isPrefix] = [bytes[at + 1] ?? 0, bytes[at + 2] === 1];
      const end = bytes.indexOf(0, at + 3);
      const lexeme = quoted(bytes.toString('utf8', at + 3, end));
      at = end + 1;
      const letters = ['A', 'B', 'C', 'D'].filter((_, i) => (weight & (8 >> i)) !== 0).join('');
      return weight === 0 && !isPrefix ? lexeme : `${lexeme}:${isPrefix ? '*' : ''}${letters}`;
    }
    const kind = bytes[at + 1] ?? 0;
    const operator = OPERATORS[kind];
    if (operator === undefined) throw new RangeError('a tsquery with an unknown operator');
    at += 2;
    const { priority } = operator;
    if (kind === NOT) return enclosed(`!${item(priority, false)}`, priority < outer);
    let { sign } = operator;
    if (kind === PHRASE) {
      const distance = bytes.readUInt16BE(at);
      at += 2;
      if (distance !== 1) sign = `<${distance}>`;
    }
    const right = item(priority, kind === PHRASE);
    const left = item(priority, false);
    return enclosed(`${left} ${sign} ${right}`, priority < outer || (kind === PHRASE && isRightOfPhrase));
  };
  return bytes.readInt32BE(offset) === 0 ? '' : item(-1, false);
}

const enclosed = (text: string, isEnclosed: boolean): string => (isEnclosed ? `( ${text} )` : text);
