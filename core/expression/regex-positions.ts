/** The position automaton of a pattern (Glushkov): which occurrence of a set of characters may follow which. Counted repeats are written out. */
import { type CharacterSet, disjoint, type Node } from './regex-syntax.ts';

const POSITIONS_MAX = 250;

export interface Positions {
  readonly sets: readonly CharacterSet[];
  readonly follow: readonly ReadonlySet<number>[];
  readonly first: readonly number[];
  readonly last: readonly number[];
  /** The empty text matches. */
  readonly nullable: boolean;
  /** No character of any text can be read in two ways. */
  readonly deterministic: boolean;
}

/** Null where there are too many, or where a repeat is none. */
export function positionsOf(root: Node): Positions | null {
  const made = new Builder();
  const facts = made.of(root);
  if (facts === null) return null;
  const { sets, follow } = made;
  const unambiguous = (positions: readonly number[]) =>
    positions.every((a, index) => positions.slice(index + 1).every((b) => a === b || disjoint(sets[a] ?? [], sets[b] ?? [])));
  const deterministic = !made.ambiguous && unambiguous(facts.first) && follow.every((next) => unambiguous([...next]));
  return { sets, follow, ...facts, deterministic };
}

interface Facts {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

class Builder {
  readonly sets: CharacterSet[] = [];
  readonly follow: Set<number>[] = [];
  /** Two ways to read nothing, or one step that two loops offer as in (a+)+: their number doubles with each character. */
  ambiguous = false;

  of(node: Node): Facts | null {
    switch (node.kind) {
      case 'set': {
        if (node.set.length === 0 || this.sets.length >= POSITIONS_MAX) return null;
        const position = this.sets.push(node.set) - 1;
        this.follow.push(new Set());
        return { nullable: false, first: [position], last: [position] };
      }
      case 'sequence':
        return node.parts.reduce<Facts | null>((left, part) => (left === null ? null : this.#then(left, this.of(part))), {
          nullable: true,
          first: [],
          last: [],
        });
      case 'either': {
        const parts = node.parts.map((part) => this.of(part));
        if (!parts.every((part) => part !== null)) return null;
        if (parts.filter((part) => part.nullable).length > 1) this.ambiguous = true;
        return {
          nullable: parts.some((part) => part.nullable),
          first: parts.flatMap((part) => part.first),
          last: parts.flatMap((part) => part.last),
        };
      }
      case 'repeat':
        return this.#repeat(node.body, node.min, node.max);
    }
  }

  #repeat(body: Node, min: number, max: number): Facts | null {
    if (max < min || max === 0 || (max !== Infinity && max > POSITIONS_MAX) || min > POSITIONS_MAX) return null;
    const copies = max === Infinity ? Math.max(1, min) : max;
    let first: readonly number[] = [];
    let previous: readonly number[] = [];
    let nullable = min === 0;
    const last: number[] = [];
    for (let copy = 1; copy <= copies; copy++) {
      const next = this.of(body);
      if (next === null) return null;
      if (next.nullable) {
        this.ambiguous = true;
        nullable = true;
      }
      if (copy === 1) first = next.first;
      this.#connect(previous, next.first);
      if (max === Infinity && copy === copies) this.#connect(next.last, next.first);
      // A copy that can be empty makes those before it the end.
      if (copy >= min || next.nullable) last.push(...next.last);
      previous = next.last;
    }
    return { nullable, first, last };
  }

  #connect(from: readonly number[], to: readonly number[]): void {
    for (const position of from)
      for (const next of to) {
        const follow = this.follow[position];
        if (follow?.has(next) === true) this.ambiguous = true;
        follow?.add(next);
      }
  }

  #then(left: Facts, right: Facts | null): Facts | null {
    if (right === null) return null;
    this.#connect(left.last, right.first);
    return {
      nullable: left.nullable && right.nullable,
      first: left.nullable ? [...left.first, ...right.first] : left.first,
      last: right.nullable ? [...left.last, ...right.last] : right.last,
    };
  }
}
