/**
 * What a reader's JSON Schema makes of values that a writer's allows: problems wherever a value may be that is valid there and not here. Where that cannot be told by the
 * keywords it is taken for a problem, never for none, with one exception: alternatives of a `oneOf` are taken as exclusive under the policy `lenient`.
 *
 * Content models (https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/serdes-json.html#json-schema-compatibility-rules): what an open
 * one does not name may be there with any value, so under `strict` to name it is a restriction; a property that is required and has a default is not missed.
 */
import { compareArrays } from './json-arrays.ts';
import { type Add, compareLimits } from './json-limits.ts';
import { compareObjects } from './json-objects.ts';
import {
  areSame,
  isSame,
  type Json,
  type JsonSchema,
  meansAll,
  merged,
  type Place,
  SchemaDocument,
  Shape,
  TYPES,
  typeOf,
} from './json-shape.ts';
import type { CompatibilityPolicy, ReadingProblem } from './levels.ts';

/** Throws InvalidSchema. */
export function jsonSchemaProblems(reader: string, writer: string, policy: CompatibilityPolicy): readonly ReadingProblem[] {
  const comparison = new Comparison(policy);
  const [r, w] = [new SchemaDocument(reader), new SchemaDocument(writer)];
  return comparison.root(r.place(), w.place());
}

export type Problem = Omit<ReadingProblem, 'readerAt' | 'writerAt'> & {
  readonly readerAt?: string | null;
  readonly writerAt?: string | null;
};

/** How deep alternatives of alternatives are looked into. */
const DEPTH_MAX = 40;

export class Comparison {
  readonly policy: CompatibilityPolicy;
  /** Pairs that are under way: where one meets itself, it is as it turns out to be. */
  readonly #underWay = new Map<JsonSchema, Set<JsonSchema>>();
  #depth = 0;

  constructor(policy: CompatibilityPolicy) {
    this.policy = policy;
  }

  /**
   * The schema `true` of a whole message stands for an open object under `strict`, as Karapace reads it: a reader that had a type, and has none any more, is told of it.
   */
  root(reader: Place, writer: Place): readonly ReadingProblem[] {
    if (this.policy === 'strict' && reader.schema === true && typeof writer.schema === 'object' && !meansAll(writer.schema)) {
      const types = new Shape(writer).types();
      if (types === null || !types.every((type) => type === 'object')) {
        return [
          {
            readerAt: '#',
            writerAt: '#',
            kinds: ['type_unsaid', 'type_said'],
            reason: 'the reader is the schema true, which names no type, and the writer has one',
            fixes: ['Say the type, or use {} (or --policy lenient) where any value is meant.', 'Keep true, or use --policy lenient.'],
          },
        ];
      }
    }
    return this.compare(reader, writer);
  }

  compare(reader: Place, writer: Place): readonly ReadingProblem[] {
    const r = reader.document.resolve(reader);
    const w = writer.document.resolve(writer);
    if (meansAll(r.schema) || areSame(r, w)) return [];
    const met = this.#underWay.get(r.schema) ?? new Set();
    this.#underWay.set(r.schema, met);
    if (met.has(w.schema)) return [];
    if (this.#depth > DEPTH_MAX)
      return [problem(r, w, 'too_deep', 'too_deep', 'the reader and the writer are nested too deeply to be compared')];
    met.add(w.schema);
    this.#depth++;
    try {
      return this.#conjunctions(r, w);
    } finally {
      this.#depth--;
      met.delete(w.schema);
    }
  }

  /** Everything that the reader demands at once has to be met. */
  #conjunctions(r: Place, w: Place): readonly ReadingProblem[] {
    const written = this.#writerOf(w);
    return conjuncts(r).flatMap((demand) => this.#alternatives(demand, written));
  }

  /** What the writer says at once, in one schema where that can be. */
  #writerOf(w: Place): readonly Place[] {
    const parts = conjuncts(w).map((part) => part.document.resolve(part));
    if (parts.length === 1) return parts;
    const all: Place[] = [];
    let one: Place | null = parts[0] ?? null;
    for (const part of parts.slice(1)) {
      const nested = conjuncts(part);
      one = one === null || nested.length > 1 ? null : merged(one, part);
    }
    if (one !== null) all.push(one);
    return all.length > 0 ? all : parts;
  }

  /** The least of the problems that it has with any of what holds at once. */
  #alternatives(r: Place, written: readonly Place[]): readonly ReadingProblem[] {
    return leastOf(written.map((w) => () => this.#against(r, w)));
  }

  #against(r: Place, w: Place): readonly ReadingProblem[] {
    const direct = this.#keywords(r, w);
    if (direct.length === 0) return direct;
    // Of a few values each can be looked at.
    const values = new Shape(w).values();
    if (values !== null && values.every((value) => accepts(r, value) === true)) return [];
    const split = this.#split(r, w);
    return split ?? direct;
  }

  /** The writer taken apart: each alternative of it has to be read. Null where it has none. */
  #split(r: Place, w: Place): readonly ReadingProblem[] | null {
    const shape = new Shape(w);
    for (const keyword of ['oneOf', 'anyOf'] as const) {
      const branches = shape.list(keyword);
      if (branches.length === 0) continue;
      const base = without(w, keyword);
      const parts = branches.map((branch) => merged(base, branch.document.resolve(branch)));
      if (parts.some((part) => part === null)) continue;
      return (parts as Place[]).flatMap((part, index) =>
        this.#fromBranch(r, part, keyword === 'oneOf' ? branches.filter((_, other) => other !== index) : []),
      );
    }
    const types = shape.types();
    const isSplit = typeof r.schema === 'object' && ('anyOf' in r.schema || 'oneOf' in r.schema);
    if (isSplit && types !== null && types.length > 1) {
      const base = without(w, 'type');
      return types.flatMap((type) => this.compare(r, { ...base, schema: { ...(base.schema as object), type } }));
    }
    return null;
  }

  /** Values of one alternative of a `oneOf` are of none of the others: an alternative of the reader that lies within one of these does not take them. */
  #fromBranch(r: Place, part: Place, others: readonly Place[]): readonly ReadingProblem[] {
    if (others.length === 0 || typeof r.schema !== 'object' || !('oneOf' in r.schema)) return this.compare(r, part);
    return leastOf([
      () => [...this.compare(without(r, 'oneOf'), part), ...this.#oneOf(new Shape(r), new Shape(part), others)],
      () => this.compare(r, part),
    ]);
  }

  #keywords(reader: Place, writer: Place): readonly ReadingProblem[] {
    const [r, w] = [new Shape(reader), new Shape(writer)];
    if (r.literal === false)
      return w.literal === false
        ? []
        : [at(r, w, 'nothing_allowed', 'nothing_allowed', 'the reader takes no value at all, and the writer writes some')];
    const found: ReadingProblem[] = [];
    const add = (keyword: string, kinds: readonly [string, string], reason: string, fixes: readonly [string, string]): void => {
      found.push({ readerAt: r.keywordAt(keyword), writerAt: keyword in w.schema ? w.keywordAt(keyword) : w.at, kinds, reason, fixes });
    };
    compareTypes(r, w, add);
    if (w.mayBe('string')) compareTexts(r, w, add);
    if (w.mayBe('number')) compareNumbers(r, w, add);
    if (w.mayBe('array')) found.push(...compareArrays(this, r, w));
    if (w.mayBe('object')) found.push(...compareObjects(this, r, w));
    found.push(...this.#not(r, w), ...this.#anyOf(r, w), ...this.#oneOf(r, w), ...this.#conditional(r, w));
    return found;
  }

  #not(r: Shape, w: Shape): readonly ReadingProblem[] {
    const [no, written] = [r.one('not'), w.one('not')];
    if (no === null) return [];
    if (written !== null && this.compare(written, no).length === 0) return [];
    const forbidden = new Shape(no.document.resolve(no)).types();
    if (forbidden !== null && forbidden.every((type) => !w.mayBe(type))) return [];
    return [
      {
        readerAt: r.keywordAt('not'),
        writerAt: written === null ? w.at : w.keywordAt('not'),
        kinds: ['not_widened', 'not_narrowed'],
        reason: 'the reader forbids (not) more than the writer does',
        fixes: ['Forbid no more than before.', 'Forbid at least as much as before.'],
      },
    ];
  }

  #anyOf(r: Shape, w: Shape): readonly ReadingProblem[] {
    const branches = r.list('anyOf');
    if (branches.length === 0) return [];
    const each = branches.map((branch) => this.compare(branch, w.place));
    if (each.some((found) => found.length === 0)) return [];
    return each.length === 1 ? (each[0] as readonly ReadingProblem[]) : [this.#noBranch(r, w, 'anyOf')];
  }

  #oneOf(r: Shape, w: Shape, excluded: readonly Place[] = []): readonly ReadingProblem[] {
    const branches = r.list('oneOf');
    if (branches.length === 0) return [];
    const each = branches.map((branch) => this.compare(branch, w.place));
    const taken = each.findIndex((found) => found.length === 0);
    if (taken === -1) return each.length === 1 ? (each[0] as readonly ReadingProblem[]) : [this.#noBranch(r, w, 'oneOf')];
    const both = branches.findIndex(
      (branch, index) =>
        index !== taken &&
        !areDisjoint(branch.document.resolve(branch), w.place) &&
        !excluded.some((other) => this.compare(other, branch).length === 0),
    );
    if (both === -1 || this.policy === 'lenient') return [];
    return [
      {
        readerAt: r.keywordAt('oneOf'),
        writerAt: w.at,
        kinds: ['one_of_overlaps', 'one_of_overlaps'],
        reason: `the reader may find a value of the writer's valid under two alternatives of its oneOf (${taken} and ${both}), which makes it invalid`,
        fixes: ['Use anyOf, or tell the alternatives apart by a type or a const.', 'Keep the alternatives apart by a type or a const.'],
      },
    ];
  }

  #noBranch(r: Shape, w: Shape, keyword: 'anyOf' | 'oneOf'): ReadingProblem {
    const types = w.types();
    return {
      readerAt: r.keywordAt(keyword),
      writerAt: keyword in w.schema ? w.keywordAt(keyword) : w.at,
      kinds: ['no_alternative_fits', 'alternative_added'],
      reason: `the reader has no alternative in ${keyword} for ${types === null ? 'what' : `the ${types.join(' or ')} that`} the writer writes at ${w.at}`,
      fixes: ['Add an alternative for it.', 'Add it once all readers know it.'],
    };
  }

  #conditional(r: Shape, w: Shape): readonly ReadingProblem[] {
    const [condition, written] = [r.one('if'), w.one('if')];
    if (condition === null) return [];
    const isSameCondition = written !== null && areSame(condition, written);
    const found: ReadingProblem[] = [];
    for (const keyword of ['then', 'else'] as const) {
      const demand = r.one(keyword);
      if (demand === null) continue;
      const also = isSameCondition ? w.one(keyword) : null;
      const base = without(w.place, 'if', 'then', 'else');
      const both = also === null ? base : (merged(base, also.document.resolve(also)) ?? also);
      found.push(...this.compare(demand, both));
    }
    return found;
  }
}

function compareTypes(r: Shape, w: Shape, add: Add): void {
  const [reads, writes] = [r.types(), w.types()];
  if (reads !== null && 'type' in r.schema) {
    const extra = (writes ?? TYPES).filter((type) => !reads.includes(type) && !(type === 'integer' && reads.includes('number')));
    if (extra.length > 0) {
      add(
        'type',
        ['type_narrowed', 'type_widened'],
        `the reader takes ${reads.join(' or ')}, and the writer may write ${writes === null ? 'any type' : extra.join(' or ')}`,
        [
          `Take ${writes === null ? 'any type' : extra.join(' and ')} too, or add a property of another name.`,
          `Keep to ${reads.join(' or ')}, or add a property of another name.`,
        ],
      );
    }
  }
  const [known, values] = [r.values(), w.values()];
  if (known === null) return;
  const keyword = 'const' in r.schema ? 'const' : 'enum';
  if (values === null) {
    add(keyword, ['values_restricted', 'values_freed'], 'the reader takes some values only, and the writer may write others', [
      'Take any value, as before.',
      'Keep to the values.',
    ]);
    return;
  }
  const unknown = values.filter((value) => !known.some((one) => isSame(one, value)));
  if (unknown.length > 0) {
    add(
      keyword,
      ['values_removed', 'values_added'],
      `the reader does not take ${unknown.map((value) => JSON.stringify(value)).join(', ')}, which the writer may write`,
      ['Keep the values.', 'Add values once all readers take them.'],
    );
  }
}

function compareTexts(r: Shape, w: Shape, add: Add): void {
  compareLimits(r, w, [['minLength', -1], ['maxLength', 1]], add); // prettier-ignore
  for (const keyword of ['pattern', 'format', 'contentEncoding', 'contentMediaType']) {
    const [asked, written] = [r.schema[keyword], w.schema[keyword]];
    if (asked === undefined || asked === written) continue;
    const snake = keyword.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    add(
      keyword,
      written === undefined ? [`${snake}_added`, `${snake}_removed`] : [`${snake}_changed`, `${snake}_changed`],
      `the reader has ${keyword} ${JSON.stringify(asked)}, and the writer has ${written === undefined ? 'none' : JSON.stringify(written)}`,
      [`Keep ${keyword} as it was, or leave it out.`, `Keep ${keyword} as it was.`],
    );
  }
}

function compareNumbers(r: Shape, w: Shape, add: Add): void {
  for (const side of [-1, 1] as const) {
    const [limit, written] = [r.bound(side), w.bound(side)];
    if (limit === null) continue;
    if (written !== null) {
      const room = side * (limit.value - written.value);
      if (room > 0 || (room === 0 && (!limit.isExclusive || written.isExclusive))) continue;
    }
    const name = side === -1 ? 'minimum' : 'maximum';
    const keyword = typeof r.schema[side === -1 ? 'exclusiveMinimum' : 'exclusiveMaximum'] === 'number' && limit.isExclusive ? (side === -1 ? 'exclusiveMinimum' : 'exclusiveMaximum') : name; // prettier-ignore
    const [tighter, looser] = side === -1 ? ['increased', 'decreased'] : ['decreased', 'increased'];
    const words = (bound: { value: number; isExclusive: boolean } | null): string =>
      bound === null ? 'no' : `${bound.isExclusive ? 'an exclusive' : 'a'} ${name} of ${bound.value}`;
    add(
      keyword,
      written === null ? [`${name}_added`, `${name}_removed`] : [`${name}_${tighter}`, `${name}_${looser}`],
      `the reader has ${words(limit)}, and the writer has ${written === null ? 'none' : words(written)}`,
      [written === null ? `Leave the ${name} out.` : `Keep the ${name}, or loosen it.`, `Keep the ${name}, or tighten it.`],
    );
  }
  const [step, written] = [r.number('multipleOf'), w.number('multipleOf')];
  if (step === null || (written !== null && isMultiple(written, step))) return;
  const types = w.types();
  if (isMultiple(1, step) && types !== null && !types.includes('number')) return;
  add(
    'multipleOf',
    written === null ? ['multiple_of_added', 'multiple_of_removed'] : ['multiple_of_changed', 'multiple_of_changed'],
    `the reader takes multiples of ${step}, and the writer writes ${written === null ? 'others too' : `multiples of ${written}`}`,
    ['Keep multipleOf as it was, or a divisor of it.', 'Keep multipleOf as it was, or a multiple of it.'],
  );
}

const isMultiple = (value: number, of: number): boolean => {
  const times = value / of;
  return Math.abs(times - Math.round(times)) < 1e-9 * Math.max(1, Math.abs(times));
};

/** Whether no value is valid under both, as far as types, values and required properties tell. */
function areDisjoint(one: Place, other: Place): boolean {
  const [a, b] = [new Shape(one), new Shape(other)];
  if (a.literal === false || b.literal === false) return true;
  const [values, others] = [a.values(), b.values()];
  if (values !== null && values.every((value) => accepts(other, value) === false)) return true;
  if (others !== null && others.every((value) => accepts(one, value) === false)) return true;
  const common = TYPES.filter((type) => a.mayBe(type) && b.mayBe(type));
  if (common.length === 0) return true;
  if (common.some((type) => type !== 'object')) return false;
  const [these, those] = [a.named('properties'), b.named('properties')];
  for (const [shape, required, mine, others_] of [
    [a, b, these, those],
    [b, a, those, these],
  ] as const) {
    // prettier-ignore
    for (const name of required.texts('required')) {
      const [my, their] = [mine.get(name), others_.get(name)];
      if (my === undefined && shape.schema['additionalProperties'] === false && shape.named('patternProperties').size === 0) return true;
      if (my !== undefined && their !== undefined && areDisjoint(my.document.resolve(my), their.document.resolve(their))) return true;
    }
  }
  return false;
}

/** Whether a value is valid, by the keywords of its own type that need no other engine; null where that is not enough to tell. */
function accepts(place: Place, value: Json): boolean | null {
  const found = place.document.resolve(place);
  if (typeof found.schema === 'boolean') return found.schema;
  const shape = new Shape(found);
  const said = [
    acceptsItself(shape, value),
    ...shape.list('allOf').map((branch) => accepts(branch, value)),
    oneAccepts(shape.list('anyOf'), value, false),
    oneAccepts(shape.list('oneOf'), value, true),
    ['not', 'if', '$ref'].some((keyword) => keyword in shape.schema) ? null : true,
  ];
  if (said.includes(false)) return false;
  return said.includes(null) ? null : true;
}

function oneAccepts(branches: readonly Place[], value: Json, isOnly: boolean): boolean | null {
  const said = branches.map((branch) => accepts(branch, value));
  const count = said.filter((one) => one === true).length;
  if (branches.length === 0) return true;
  if (isOnly && count > 1) return false;
  if (said.includes(null) && (isOnly || count === 0)) return null;
  return count > 0;
}

function acceptsItself(shape: Shape, value: Json): boolean | null {
  const type = typeOf(value);
  const types = shape.types();
  if (types !== null && !types.includes(type) && !(type === 'integer' && types.includes('number'))) return false;
  if (shape.values()?.some((one) => isSame(one, value)) === false) return false;
  if (typeof value === 'string') {
    const length = Array.from(value).length;
    if (length < (shape.number('minLength') ?? 0) || length > (shape.number('maxLength') ?? Infinity)) return false;
    return ['pattern', 'format', 'contentEncoding', 'contentMediaType'].some((keyword) => keyword in shape.schema) ? null : true;
  }
  if (typeof value === 'number') {
    const [low, high, step] = [shape.bound(-1), shape.bound(1), shape.number('multipleOf')];
    const isLow = low !== null && (value < low.value || (low.isExclusive && value === low.value));
    const isHigh = high !== null && (value > high.value || (high.isExclusive && value === high.value));
    return !isLow && !isHigh && (step === null || isMultiple(value, step));
  }
  return type === 'null' || type === 'boolean' ? true : null;
}

/** A schema, and those of its `allOf`: all of them hold. */
function conjuncts(place: Place): readonly Place[] {
  if (typeof place.schema === 'boolean') return [place];
  const parts = new Shape(place).list('allOf');
  const ref = place.schema['$ref'];
  if (parts.length === 0 && ref === undefined) return [place];
  const base = without(place, 'allOf', '$ref');
  const referred = typeof ref === 'string' ? [{ ...place, schema: { $ref: ref } }] : [];
  return [...(meansAll(base.schema) ? [] : [base]), ...referred, ...parts].flatMap((part) => {
    const found = part.document.resolve(part);
    return found === base ? [base] : conjuncts(found);
  });
}

function without(place: Place, ...keywords: readonly string[]): Place {
  if (typeof place.schema === 'boolean') return place;
  return { ...place, schema: Object.fromEntries(Object.entries(place.schema).filter(([name]) => !keywords.includes(name))) };
}

function leastOf(each: readonly (() => readonly ReadingProblem[])[]): readonly ReadingProblem[] {
  let least: readonly ReadingProblem[] | null = null;
  for (const find of each) {
    const found = find();
    if (found.length === 0) return found;
    if (least === null || found.length < least.length) least = found;
  }
  return least ?? [];
}

const at = (r: Shape, w: Shape, kind: string, other: string, reason: string): ReadingProblem =>
  problem(r.place, w.place, kind, other, reason);

const problem = (r: Place, w: Place, kind: string, other: string, reason: string): ReadingProblem => ({
  readerAt: r.at,
  writerAt: w.at,
  kinds: [kind, other],
  reason,
  fixes: ['Keep it as it was.', 'Keep it as it was.'],
});
