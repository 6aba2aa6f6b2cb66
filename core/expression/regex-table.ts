/**
 * Patterns as tables of states (a deterministic automaton, by the subset construction), for texts of ASCII: one look-up a character,
 * whatever the pattern, and the bytes of a text serve as well as the text. Other texts are for the engines.
 */
import type { Positions } from './regex-positions.ts';
import type { Pattern } from './regex-syntax.ts';

export const Found = { No: 0, Yes: 1, NotAscii: 2 } as const;
export type Found = (typeof Found)[keyof typeof Found];

const STATES_MAX = 250;
const ASCII_BITS = 7;
const ASCII = 1 << ASCII_BITS;
/** No text that begins so matches. */
const DEAD = 0;
const START = 1;
/** States are told by where their rows begin, so that the next one is one addition and one look-up away. */
const START_ROW = START * ASCII;

export class RegexTable {
  /** By row of a state and character, the row of the next state. */
  readonly #next: Uint16Array;
  /** 1 where a text that ends here has a match. */
  readonly #accepts: Uint8Array;
  readonly #toEnd: boolean;

  private constructor(next: Uint16Array, accepts: Uint8Array, toEnd: boolean) {
    this.#next = next;
    this.#accepts = accepts;
    this.#toEnd = toEnd;
  }

  /** Null where it would have too many states. */
  static of({ fromStart, toEnd }: Pattern, { sets, follow, first, last, nullable }: Positions): RegexTable | null {
    const members = sets.map((set) =>
      Uint8Array.from({ length: ASCII }, (_, code) => (set.some(([from, to]) => code >= from && code <= to) ? 1 : 0)),
    );
    // Characters that no set tells apart are looked at once.
    const alike = Map.groupBy(
      Array.from({ length: ASCII }, (_, code) => code),
      (code) => members.map((member) => member[code]).join(''),
    );
    const ends = new Set(last);
    // A search that is not bound to the start may begin anew at every character.
    const anew = fromStart ? [] : first;
    const states = new Map<string, number>([['', DEAD]]);
    const rows: number[][] = [Array.from({ length: ASCII }, () => DEAD)];
    const accepts = [0];
    const waiting: { readonly state: number; readonly positions: readonly number[] | null }[] = [];
    const stateOf = (positions: readonly number[] | null): number => {
      const name = positions === null ? 'start' : positions.join();
      const known = states.get(name);
      if (known !== undefined) return known;
      const state = rows.length;
      states.set(name, state);
      rows.push([]);
      accepts.push((positions === null ? nullable : positions.some((position) => ends.has(position)) || (nullable && !fromStart)) ? 1 : 0);
      waiting.push({ state, positions });
      return state;
    };
    stateOf(null);
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      if (rows.length > STATES_MAX) return null;
      const { state, positions } = one;
      const candidates = new Set(positions === null ? first : [...positions.flatMap((position) => [...(follow[position] ?? [])]), ...anew]);
      const row = rows[state] ?? [];
      for (const codes of alike.values()) {
        const [first = 0] = codes;
        const next = stateOf([...candidates].filter((position) => members[position]?.[first] === 1).sort((a, b) => a - b));
        // A search goes on where nothing is under way.
        for (const code of codes) row[code] = next === DEAD && !fromStart ? START : next;
      }
    }
    return rows.length > STATES_MAX
      ? null
      : new RegexTable(
          Uint16Array.from(rows.flat(), (state) => state * ASCII),
          Uint8Array.from(accepts),
          toEnd,
        );
  }

  inText(text: string): Found {
    const next = this.#next;
    const accepts = this.#accepts;
    const early = !this.#toEnd;
    let row = START_ROW;
    for (let at = 0; at < text.length; at++) {
      if (early && accepts[row >> ASCII_BITS] === 1) return Found.Yes;
      const code = text.charCodeAt(at);
      if (code >= ASCII) return Found.NotAscii;
      row = next[row + code] ?? DEAD;
      if (row === DEAD) return Found.No;
    }
    return accepts[row >> ASCII_BITS] === 1 ? Found.Yes : Found.No;
  }

  /** The same of a text as its bytes in UTF-8, from `at` to `end`. */
  inBytes(bytes: Uint8Array, at: number, end: number): Found {
    const next = this.#next;
    const accepts = this.#accepts;
    const early = !this.#toEnd;
    let row = START_ROW;
    for (; at < end; at++) {
      if (early && accepts[row >> ASCII_BITS] === 1) return Found.Yes;
      const code = bytes[at] ?? ASCII;
      if (code >= ASCII) return Found.NotAscii;
      row = next[row + code] ?? DEAD;
      if (row === DEAD) return Found.No;
    }
    return accepts[row >> ASCII_BITS] === 1 ? Found.Yes : Found.No;
  }
}
