/**
 * What several rules hold of one batch, as if its transactions came in batches of their own: what one rule holds is not there for the others from there on. Each
 * rule knows that of what it holds itself. So one of them is followed for as long as no other one holds anything, and the batch comes again without that.
 */
import { Verdict } from '../../../core/batch.ts';
import type { ChangeEvent, DatasetName } from '../../../core/event.ts';
import { keysOf } from '../held-keys.ts';
import { type Fate, type Found, type Judged, waitOf } from './rules.ts';

type Changes = readonly Judged[];
type Ask = (changes: Changes) => Promise<readonly Found[]>;

/** `holding`: the events of each rule. Nothing is found where none of them holds anything more. */
export async function heldInOrder(holding: readonly Changes[], ask: Ask, waits: (event: ChangeEvent) => boolean): Promise<Found[]> {
  const found: Found[] = [];
  for (const rules of bySharedDatasets(holding)) found.push(...(await heldOf(rules, ask, waits)));
  return found;
}

async function heldOf(rules: readonly Changes[], ask: Ask, waits: (event: ChangeEvent) => boolean): Promise<readonly Found[]> {
  const answers: { readonly changes: Changes; readonly found: readonly Found[] }[] = [];
  for (const changes of rules) answers.push({ changes, found: await ask(changes) });
  const at = answers.reduce((first, { found }, one) => (isEarlier(found[0], answers[first]?.found[0]) ? one : first), 0);
  let held = answers[at]?.found ?? [];
  // Of rules that fail one row, the first holds it.
  for (const { found } of answers.slice(0, at)) held = until(held, found[0]);
  if (held.at(-1)?.event.version === held[0]?.event.version) return held;
  // With these held, others may hold what passed, and pass what they held: a value is not given up, or not taken.
  for (const [one, { changes }] of answers.entries()) if (one !== at) held = until(held, (await ask(without(changes, held, waits)))[0]);
  return held;
}

/** In an earlier transaction. */
function isEarlier(one: Found | undefined, other: Found | undefined): boolean {
  if (one === undefined || other === undefined) return one !== undefined;
  return one.index < other.index && one.event.version !== other.event.version;
}

/** What comes before the transaction of `other`, and all of its own first one, in which the order of the rules decides. */
function until(held: readonly Found[], other: Found | undefined): readonly Found[] {
  return other === undefined ? held : held.filter((one) => one.event.version === held[0]?.event.version || isEarlier(one, other));
}

/** The events of a rule as it is asked of them once others are held. */
function without(changes: Changes, held: readonly Found[], waits: (event: ChangeEvent) => boolean): Changes {
  const fateBy = ({ rule }: Found): Fate => (rule.verdict === Verdict.Drop && waitOf(rule) === 0 ? 'dropped' : 'held');
  const fates = new Map(held.map((one) => [one.index, fateBy(one)]));
  const blocked = new Set<string>();
  return changes.flatMap((change) => {
    const { event, index, fate: known, rule } = change;
    const keys = keysOf(event).map((key) => JSON.stringify([event.dataset.name, key]));
    const isBehind = known === 'written' && keys.some((key) => blocked.has(key)) && waits(event);
    const fate = fates.get(index) ?? (isBehind ? 'held' : known);
    if (fate === known) return [change];
    if (fate === 'held') for (const key of keys) blocked.add(key);
    const { kind } = rule.question;
    return kind === 'before' || kind === 'sequence' ? [{ ...change, isJudged: false, fate }] : [];
  });
}

/** Rules that see rows of one dataset, together; those of others are nothing to them. */
function bySharedDatasets(holding: readonly Changes[]): readonly (readonly Changes[])[] {
  let groups: { readonly names: ReadonlySet<DatasetName>; readonly rules: readonly Changes[] }[] = [];
  for (const changes of holding) {
    const names = new Set(changes.map(({ event }) => event.dataset.name));
    const joined = groups.filter((group) => !group.names.isDisjointFrom(names));
    groups = groups.filter((group) => !joined.includes(group));
    groups.push({
      names: new Set([...joined.flatMap((group) => [...group.names]), ...names]),
      rules: [...joined.flatMap(({ rules }) => rules), changes],
    });
  }
  return groups.map(({ rules }) => rules);
}
