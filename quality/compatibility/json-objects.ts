/** Objects of two JSON Schemas: their properties, by their content models, and what has to be there. */
import { compareLimits } from './json-limits.ts';
import type { Comparison } from './json-schema.ts';
import { anything, merged, type Place, type Shape } from './json-shape.ts';
import { InvalidSchema, pointer, type ReadingProblem } from './levels.ts';

export function compareObjects(comparison: Comparison, r: Shape, w: Shape): readonly ReadingProblem[] {
  const found: ReadingProblem[] = [];
  const add = (keyword: string, kinds: readonly [string, string], reason: string, fixes: readonly [string, string]): void => {
    found.push({ readerAt: r.keywordAt(keyword), writerAt: keyword in w.schema ? w.keywordAt(keyword) : w.at, kinds, reason, fixes });
  };
  compareLimits(r, w, [['minProperties', -1], ['maxProperties', 1]], add); // prettier-ignore
  const [reads, writes] = [new ContentModel(r), new ContentModel(w)];
  found.push(
    ...compareNamed(comparison, reads, writes),
    ...compareWritten(comparison, reads, writes),
    ...comparePatterns(comparison, reads, writes),
  );
  found.push(
    ...compareFurther(comparison, reads, writes),
    ...compareRequired(r, w, reads, writes),
    ...compareNames(comparison, r, w, writes),
  );
  found.push(...compareDependent(comparison, r, w, writes));
  if (r.schema['unevaluatedProperties'] === false && w.schema['unevaluatedProperties'] !== false && !writes.isClosed) {
    add(
      'unevaluatedProperties',
      ['unevaluated_properties_forbidden', 'unevaluated_properties_allowed'],
      'the reader takes no further properties (unevaluatedProperties), and the writer may write some',
      ['Let further properties be.', 'Forbid further properties, as before.'],
    );
  }
  return found;
}

class ContentModel {
  readonly shape: Shape;
  readonly properties: ReadonlyMap<string, Place>;
  readonly patterns: ReadonlyMap<string, Place>;
  /** What further properties have to be; null where they may be anything. */
  readonly further: Place | null;
  readonly #tests = new Map<string, RegExp>();

  constructor(shape: Shape) {
    this.shape = shape;
    this.properties = shape.named('properties');
    this.patterns = shape.named('patternProperties');
    const further = shape.one('additionalProperties');
    this.further = further?.schema === true ? null : further;
  }

  /** Further properties cannot be. */
  get isClosed(): boolean {
    return this.further?.schema === false;
  }

  /** Those of its patterns that fit a name. */
  fitting(name: string): readonly Place[] {
    return [...this.patterns].filter(([pattern]) => this.#testOf(pattern).test(name)).map(([, place]) => place);
  }

  fits(pattern: string, name: string): boolean {
    return this.#testOf(pattern).test(name);
  }

  #testOf(pattern: string): RegExp {
    const known = this.#tests.get(pattern);
    if (known !== undefined) return known;
    try {
      const made = new RegExp(pattern, 'u');
      this.#tests.set(pattern, made);
      return made;
    } catch {
      throw new InvalidSchema(`${this.shape.keywordAt('patternProperties')}: ${pattern} is no pattern`);
    }
  }
}

/** The properties that the reader names. */
function compareNamed(comparison: Comparison, r: ContentModel, w: ContentModel): readonly ReadingProblem[] {
  return [...r.properties].flatMap(([name, demand]) => {
    const written = w.properties.get(name);
    if (written !== undefined) return comparison.compare(demand, written);
    const byPattern = w.fitting(name);
    if (byPattern.length > 0) return least(byPattern.map((place) => comparison.compare(demand, place)));
    if (w.isClosed) return [];
    if (w.further !== null) return comparison.compare(demand, w.further);
    if (comparison.policy === 'lenient') return [];
    return [
      {
        readerAt: demand.at,
        writerAt: null,
        kinds: ['property_added_to_open_content_model', 'property_removed_from_open_content_model'],
        reason: `the reader says what the property ${name} has to be, and the writer, whose content model is open, may write anything under that name`,
        fixes: [
          'Close the content model ("additionalProperties": false) in a version before, or use the policy lenient where nothing was written under that name.',
          'Keep the property, or use the policy lenient where nothing else is written under that name.',
        ],
      } as const,
    ];
  });
}

/** The properties that the writer names and the reader does not. */
function compareWritten(comparison: Comparison, r: ContentModel, w: ContentModel): readonly ReadingProblem[] {
  return [...w.properties].flatMap(([name, written]) => {
    const demands = r.fitting(name);
    const found = demands.flatMap((demand) => comparison.compare(demand, written));
    if (r.properties.has(name) || demands.length > 0) return found;
    if (r.isClosed && written.schema !== false) {
      return [
        {
          readerAt: null,
          writerAt: written.at,
          kinds: ['property_removed_from_closed_content_model', 'property_added_to_closed_content_model'],
          reason: `the reader, whose content model is closed, does not take the property ${name}, which the writer may write`,
          fixes: ['Keep the property, or open the content model.', 'Add it once all readers take it, or have an open content model.'],
        } as const,
      ];
    }
    return r.further === null ? [] : comparison.compare(r.further, written);
  });
}

/** What may be written under names that patterns fit. */
function comparePatterns(comparison: Comparison, r: ContentModel, w: ContentModel): readonly ReadingProblem[] {
  const found: ReadingProblem[] = [];
  for (const [pattern, demand] of r.patterns) {
    const same = w.patterns.get(pattern);
    if (same !== undefined) found.push(...comparison.compare(demand, same));
    else {
      for (const other of w.patterns.values()) found.push(...comparison.compare(demand, other));
      if (!w.isClosed && comparison.policy === 'strict')
        found.push(...comparison.compare(demand, w.further ?? anything(w.shape, 'additionalProperties')));
    }
  }
  for (const [pattern, written] of w.patterns) {
    if (r.patterns.has(pattern) || written.schema === false) continue;
    if (r.isClosed) {
      found.push({
        readerAt: null,
        writerAt: written.at,
        kinds: ['pattern_removed_from_closed_content_model', 'pattern_added_to_closed_content_model'],
        reason: `the reader, whose content model is closed, does not take properties like ${pattern}, which the writer may write`,
        fixes: ['Keep the pattern, or open the content model.', 'Add it once all readers have an open content model.'],
      });
    } else if (r.further !== null) found.push(...comparison.compare(r.further, written));
  }
  return found;
}

/** What neither names. */
function compareFurther(comparison: Comparison, r: ContentModel, w: ContentModel): readonly ReadingProblem[] {
  if (r.further === null || w.isClosed) return [];
  if (!r.isClosed) return comparison.compare(r.further, w.further ?? anything(w.shape, 'additionalProperties'));
  return [
    {
      readerAt: r.shape.keywordAt('additionalProperties'),
      writerAt: w.further?.at ?? null,
      kinds: ['content_model_closed', 'content_model_opened'],
      reason: 'the reader takes no further properties, and the writer may write some',
      fixes: ['Let further properties be ("additionalProperties": true).', 'Keep the content model closed.'],
    },
  ];
}

function compareRequired(r: Shape, w: Shape, reads: ContentModel, writes: ContentModel): readonly ReadingProblem[] {
  const there = new Set(w.texts('required'));
  return r.texts('required').flatMap((name, index) => {
    const property = reads.properties.get(name)?.schema;
    if (there.has(name) || (typeof property === 'object' && 'default' in property)) return [];
    return [
      {
        readerAt: pointer(r.keywordAt('required'), index),
        writerAt: writes.properties.get(name)?.at ?? null,
        kinds: ['required_property_added', 'required_property_removed'],
        reason: `the reader wants the property ${name}, which the writer need not write`,
        fixes: [`Give ${name} a "default", or do not require it.`, `Keep ${name} required until no reader wants it.`],
      } as const,
    ];
  });
}

function compareNames(comparison: Comparison, r: Shape, w: Shape, writes: ContentModel): readonly ReadingProblem[] {
  const [names, written] = [r.one('propertyNames'), w.one('propertyNames')];
  if (names === null) return [];
  if (written !== null) return comparison.compare(names, written);
  // An object that names its properties is taken to have these.
  const known = [...writes.properties.keys()];
  const place = { schema: { type: 'string', ...(known.length > 0 ? { enum: known } : {}) }, at: w.at, document: w.place.document };
  const demand = names.document.resolve(names);
  const pattern = typeof demand.schema === 'object' ? demand.schema['pattern'] : undefined;
  if (typeof pattern === 'string' && known.length > 0 && known.every((name) => writes.fits(pattern, name))) {
    const { pattern: _, ...rest } = demand.schema as Record<string, never>;
    return comparison.compare({ ...demand, schema: rest }, place);
  }
  return comparison.compare(names, place);
}

function compareDependent(comparison: Comparison, r: Shape, w: Shape, writes: ContentModel): readonly ReadingProblem[] {
  const found: ReadingProblem[] = [];
  const [required, schemas] = [w.dependentRequired(), w.dependentSchemas()];
  const mayHave = (name: string): boolean => writes.properties.has(name) || writes.fitting(name).length > 0 || !writes.isClosed;
  for (const [name, wanted] of r.dependentRequired()) {
    if (!mayHave(name)) continue;
    const there = new Set([...w.texts('required'), ...(required.get(name) ?? [])]);
    const missing = wanted.filter((one) => !there.has(one));
    if (missing.length === 0) continue;
    found.push({
      readerAt: pointer(r.at, 'dependencies' in r.schema ? 'dependencies' : 'dependentRequired', name),
      writerAt: null,
      kinds: ['dependent_required_added', 'dependent_required_removed'],
      reason: `the reader wants ${missing.join(', ')} where ${name} is, which the writer need not write`,
      fixes: ['Do not require it.', 'Keep it required.'],
    });
  }
  for (const [name, demand] of r.dependentSchemas()) {
    if (!mayHave(name)) continue;
    const also = schemas.get(name);
    const both = also === undefined ? w.place : (merged(withoutDependent(w.place), also.document.resolve(also)) ?? also);
    found.push(...comparison.compare(demand, both));
  }
  return found;
}

function withoutDependent(place: Place): Place {
  if (typeof place.schema === 'boolean') return place;
  const { dependencies: _, dependentSchemas: __, ...schema } = place.schema;
  return { ...place, schema };
}

function least(each: readonly (readonly ReadingProblem[])[]): readonly ReadingProblem[] {
  return each.reduce((best, one) => (one.length < best.length ? one : best));
}
