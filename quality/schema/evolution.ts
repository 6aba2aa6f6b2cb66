/** What a contract says of the changes of a table since the target last followed it. */
import type { Dataset } from '../../core/event.ts';
import { type ChangePolicy, type JudgedChange, type Shape, type ShapeChange, shapeChanges } from '../../core/shape.ts';
import type { Contract } from '../contract.ts';
import { type DriftKind, schemaDrift } from './drift.ts';
import { compareNative } from './types.ts';

/**
 * Every change with its kind and policy. Without `before` (the target follows the table for the first time) only what the contract's columns would
 * have wait for a person: all else is the quality stage's to judge, row by row. A dataset without a contract is followed.
 */
export function evolve(contract: Contract | undefined, dataset: Dataset, before: Shape | null): JudgedChange[] {
  const isShadow = contract?.mode === 'shadow';
  if (before === null) {
    if (contract === undefined || contract.schema === null || isShadow) return [];
    return schemaDrift(contract.schema, dataset).flatMap(({ kind, column, policy, message }) =>
      policy === 'hold' ? [{ change: { kind: 'add', column, nullable: true }, kind, policy, message }] : [],
    );
  }
  return shapeChanges(before, dataset).map((change) => {
    const kind = kindOf(change);
    const policy = contract === undefined || isShadow ? 'accept' : policyOf(contract, kind, dataset);
    return { change, kind, policy, message: messageOf(change) };
  });
}

/**
 * Where the columns are written down, the quality stage halts at what differs from them, or holds its rows: what gets here of such kinds has been allowed since,
 * unless the table still differs, and its rows are held.
 */
function policyOf({ evolution, schema }: Contract, kind: DriftKind, dataset: Dataset): ChangePolicy {
  const policy = evolution[kind];
  if (policy === 'warn') return 'accept';
  if (schema === null || kind === 'key') return policy;
  if (policy === 'quarantine') return schemaDrift(schema, dataset).some((drift) => drift.policy === 'quarantine') ? policy : 'accept';
  return policy === 'halt' ? 'accept' : policy;
}

function kindOf(change: ShapeChange): DriftKind {
  switch (change.kind) {
    case 'add':
      return change.nullable ? 'add_optional' : 'add_required';
    case 'type': {
      const relation = compareNative(change.from, change.to);
      return relation === 'same' ? 'retype' : relation;
    }
    case 'drop':
    case 'rename':
    case 'key':
      return change.kind;
  }
}

function messageOf(change: ShapeChange): string {
  switch (change.kind) {
    case 'add':
      return `column ${change.column} is new${change.nullable ? '' : ', and may not be null'}`;
    case 'drop':
      return `column ${change.column} is gone`;
    case 'rename':
      return `column ${change.former} is called ${change.column} now`;
    case 'type':
      return `column ${change.column} is ${change.to}, and was ${change.from}`;
    case 'key':
      return change.keyless
        ? 'nothing tells its rows apart any more: it has no key'
        : `its key is ${change.to.join(', ')}, and was ${change.from.join(', ')}`;
  }
}
