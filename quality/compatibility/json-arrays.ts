/** Arrays of two JSON Schemas: their lengths, the first items by their places, and all further ones. */
import { compareLimits } from './json-limits.ts';
import type { Comparison } from './json-schema.ts';
import { anything, type Place, type Shape } from './json-shape.ts';
import type { ReadingProblem } from './levels.ts';

export function compareArrays(comparison: Comparison, r: Shape, w: Shape): readonly ReadingProblem[] {
  const found: ReadingProblem[] = [];
  const add = (keyword: string, kinds: readonly [string, string], reason: string, fixes: readonly [string, string]): void => {
    found.push({ readerAt: r.keywordAt(keyword), writerAt: keyword in w.schema ? w.keywordAt(keyword) : w.at, kinds, reason, fixes });
  };
  compareLimits(r, w, [['minItems', -1], ['maxItems', 1], ['minContains', -1], ['maxContains', 1]], add); // prettier-ignore
  if (r.schema['uniqueItems'] === true && w.schema['uniqueItems'] !== true) {
    add(
      'uniqueItems',
      ['unique_items_added', 'unique_items_removed'],
      'the reader takes no item twice, and the writer may write one twice',
      ['Leave uniqueItems out.', 'Keep uniqueItems.'],
    );
  }
  found.push(...compareItems(comparison, r, w));
  const [contains, written] = [r.one('contains'), w.one('contains')];
  if (contains !== null) {
    if (written !== null) found.push(...comparison.compare(contains, written));
    else
      add(
        'contains',
        ['contains_added', 'contains_removed'],
        'the reader wants an item of a kind (contains) that the writer need not write',
        ['Leave contains out.', 'Keep contains.'],
      );
  }
  const unevaluated = r.one('unevaluatedItems');
  if (unevaluated !== null && unevaluated.schema !== true && w.one('unevaluatedItems')?.schema !== unevaluated.schema) {
    add(
      'unevaluatedItems',
      ['unevaluated_items_restricted', 'unevaluated_items_freed'],
      'the reader restricts items (unevaluatedItems) that the writer does not',
      ['Leave unevaluatedItems out.', 'Keep unevaluatedItems.'],
    );
  }
  return found;
}

function compareItems(comparison: Comparison, r: Shape, w: Shape): readonly ReadingProblem[] {
  const found: ReadingProblem[] = [];
  const [reads, writes] = [r.prefix(), w.prefix()];
  const [rest, written] = [r.rest(), w.rest()];
  const most = w.number('maxItems') ?? Infinity;
  const places = Math.max(reads.length, writes.length);
  for (let index = 0; index < places && index < most; index++) {
    const one = writes[index] ?? written;
    if (one?.schema === false) break; // It has no item here, nor behind.
    const demand = reads[index] ?? rest;
    if (demand === null) continue;
    if (demand.schema === false) found.push(removed(r, w, index, writes[index] ?? null));
    else if (one === null) found.push(...added(comparison, r, w, index, demand));
    else found.push(...comparison.compare(demand, one));
  }
  if (rest === null || written?.schema === false || places >= most) return found;
  if (rest.schema === false) {
    found.push({
      readerAt: rest.at,
      writerAt: written?.at ?? w.at,
      kinds: ['further_items_forbidden', 'further_items_allowed'],
      reason: `the reader takes no item behind the first ${reads.length}, and the writer may write some`,
      fixes: ['Let further items be.', 'Forbid further items, as before.'],
    });
  } else found.push(...comparison.compare(rest, written ?? anything(w, 'items')));
  return found;
}

function added(comparison: Comparison, r: Shape, w: Shape, index: number, demand: Place): readonly ReadingProblem[] {
  if (comparison.compare(demand, anything(w, 'items')).length === 0) return [];
  if (comparison.policy === 'lenient' && r.prefix().length > index) return [];
  return [
    {
      readerAt: demand.at,
      writerAt: w.at,
      kinds: ['item_restricted_in_open_content_model', 'item_freed_in_open_content_model'],
      reason: `the reader says what the item ${index} has to be, and the writer, whose content model is open, may write anything there`,
      fixes: ['Let it be anything, or close the content model in a version before.', 'Keep saying what it is.'],
    },
  ];
}

const removed = (r: Shape, w: Shape, index: number, item: Place | null): ReadingProblem => ({
  readerAt: r.at,
  writerAt: item?.at ?? w.at,
  kinds: ['item_removed_from_closed_content_model', 'item_added_to_closed_content_model'],
  reason: `the reader, whose content model is closed, takes no item ${index}, and the writer may write one`,
  fixes: ['Let further items be.', 'Add it once all readers take further items.'],
});
