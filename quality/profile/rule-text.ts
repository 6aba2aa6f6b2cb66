/** A profile as a rule file: the rules with what speaks for each as a comment above it. */
import { Document, isMap, isSeq, type Node } from 'yaml';
import type { Column } from '../../core/event.ts';
import type { Proposal, TableProfile } from './propose.ts';

export type Guess = 'tag' | 'warn' | 'quarantine';

/** `columns`: those of the table, where it has types of its own; then the file expects them. `onFail`: what happens to rows that break what is a guess. */
export function ruleFileText(
  { dataset, rules }: Pick<TableProfile, 'dataset' | 'rows' | 'columns' | 'rules'>,
  columns: readonly Column[] | null,
  onFail: Guess = 'tag',
  head: readonly string[] = [],
): string {
  const ofColumns = new Map<string, Proposal[]>();
  for (const rule of rules) if (rule.column !== null) ofColumns.set(rule.column, [...(ofColumns.get(rule.column) ?? []), rule]);
  const ofRows = rules.filter(({ column }) => column === null);
  const document = new Document({
    apiVersion: 'quality/v1',
    kind: 'DatasetRules',
    dataset,
    version: 1,
    ...(columns === null || columns.length === 0
      ? {}
      : { schema: { columns: Object.fromEntries(columns.map(({ name, native, nullable }) => [name, { type: native, nullable }])) } }),
    ...(ofColumns.size === 0
      ? {}
      : { columns: Object.fromEntries([...ofColumns].map(([name, of]) => [name, of.map((rule) => itemOf(rule, onFail))])) }),
    ...(ofRows.length === 0 ? {} : { checks: ofRows.map((rule) => itemOf(rule, onFail)) }),
  });
  for (const [name, of] of ofColumns) comment(document.getIn(['columns', name], true), of);
  comment(document.get('checks', true), ofRows);
  document.commentBefore = head.map((line) => ` ${line}`).join('\n');
  return document.toString({ flowCollectionPadding: false, lineWidth: 160 });
}

function itemOf({ id, column, word, parameters, basis, window, isOfClock = false }: Proposal, onFail: Guess): unknown {
  const isBare = parameters === true;
  // Of its own each: one that several share is written as a reference.
  const acts = window !== undefined ? { window: { ...window } } : basis === 'table' || isOfClock ? {} : { on_fail: onFail };
  if (isBare && basis === 'table') return word;
  return { ...(column === null ? { id } : {}), [word]: isBare ? true : parameters, ...acts };
}

function comment(list: unknown, rules: readonly Proposal[]): void {
  if (!isSeq(list)) return;
  for (const [at, item] of list.items.entries()) {
    const node = item as Node; // What a document makes of plain values.
    node.commentBefore = ` ${rules[at]?.evidence ?? ''}`;
    if (isMap(node)) for (const pair of node.items) flow(pair.value);
  }
}

/** Sets and bounds in one line. */
function flow(node: unknown): void {
  if (isMap(node) || isSeq(node)) node.flow = true;
}
