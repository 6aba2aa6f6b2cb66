/** What has changed between two profiles of one table, and between a table and the rules that it has. */
import { isDeepStrictEqual } from 'node:util';
import { microsOf } from '../../core/expression/timestamp.ts';
import { compareDecimalTexts, isDecimal } from '../../core/expression/decimal.ts';
import type { ColumnFacts } from './column-sight.ts';
import type { Proposal, TableProfile } from './propose.ts';

export interface ProfileChange {
  readonly kind: 'column' | 'type' | 'nulls' | 'values' | 'range' | 'rule';
  /** null: of the whole row. */
  readonly column: string | null;
  /** In words. */
  readonly message: string;
}

/** A share of nulls that has moved by less is the same. */
const NULLS_MOVED = 0.01;

export function profileChanges(before: TableProfile, now: TableProfile): readonly ProfileChange[] {
  const former = new Map(before.columns.map((column) => [column.name, column]));
  const present = new Set(now.columns.map(({ name }) => name));
  const gone = before.columns.filter(({ name }) => !present.has(name));
  return [
    ...gone.map(({ name }): ProfileChange => ({ kind: 'column', column: name, message: 'the column is gone' })),
    ...now.columns.flatMap((column) => columnChanges(former.get(column.name), column)),
    ...ruleChanges(before.rules, now.rules),
  ];
}

function columnChanges(before: ColumnFacts | undefined, now: ColumnFacts): readonly ProfileChange[] {
  const column = now.name;
  if (before === undefined) return [{ kind: 'column', column, message: 'the column is new' }];
  const changes: ProfileChange[] = [];
  const add = (kind: ProfileChange['kind'], message: string) => changes.push({ kind, column, message });
  if (before.type !== now.type) add('type', `its type is ${now.type}, and was ${before.type}`);
  const [was, is] = [nullShare(before), nullShare(now)];
  if (Math.abs(is - was) >= NULLS_MOVED || (was === 0) !== (is === 0)) add('nulls', `${percent(is)} are null, and ${percent(was)} were`);
  if (before.set !== null && now.set !== null) {
    const [old, current] = [before.set.map(({ value }) => value), now.set.map(({ value }) => value)];
    const fresh = current.filter((value) => !old.includes(value));
    const missing = old.filter((value) => !current.includes(value));
    if (fresh.length > 0) add('values', `new values: ${fresh.map((value) => JSON.stringify(value)).join(', ')}`);
    if (missing.length > 0) add('values', `values that do not come any more: ${missing.map((value) => JSON.stringify(value)).join(', ')}`);
  } else if (before.set !== null && now.values > 0) add('values', 'its values are no short list any more');
  if (before.unique === true && now.unique === false) add('values', 'its values are not all different any more');
  if (before.type === now.type) {
    if (compareTexts(now.min, before.min) < 0) add('range', `its least value is ${now.min}, and was ${before.min}`);
    if (compareTexts(now.max, before.max) > 0) add('range', `its greatest value is ${now.max}, and was ${before.max}`);
  }
  return changes;
}

function ruleChanges(before: readonly Proposal[], now: readonly Proposal[]): readonly ProfileChange[] {
  const former = new Map(before.map((rule) => [rule.id, rule]));
  const present = new Set(now.map(({ id }) => id));
  const gone = before
    .filter(({ id }) => !present.has(id))
    .map(({ id, column }): ProfileChange => ({ kind: 'rule', column, message: `${id} is proposed no more` }));
  const others = now.flatMap(({ id, column, parameters }): ProfileChange[] => {
    const old = former.get(id);
    if (old === undefined) return [{ kind: 'rule', column, message: `${id} is proposed now` }];
    return isDeepStrictEqual(sorted(old.parameters), sorted(parameters))
      ? []
      : [{ kind: 'rule', column, message: `${id} would say something else` }];
  });
  return [...gone, ...others];
}

/** Sets are listed by frequency, which changes and says nothing. */
const sorted = (parameters: unknown): unknown => (Array.isArray(parameters) ? [...(parameters as unknown[])].sort(byText) : parameters);
const byText = (a: unknown, b: unknown): number => (String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0);

function nullShare({ nulls, values }: ColumnFacts): number {
  return nulls + values === 0 ? 0 : nulls / (nulls + values);
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.01 ? 2 : 1)} %`;

/** 0 where one of them is not there, or they are in no order. */
function compareTexts(a: string | null, b: string | null): number {
  if (a === null || b === null) return 0;
  if (isDecimal(a) && isDecimal(b)) return compareDecimalTexts(a, b);
  const [left, right] = [microsOf(a), microsOf(b)];
  return left === null || right === null || left === right ? 0 : left < right ? -1 : 1;
}
