/** Checks that need other rows, which the target is asked for when rows are written: what they cannot do, and which of them are left out where it is not asked. */
import { durationMicros } from '../core/expression/timestamp.ts';
import type { Problem } from '../core/problems.ts';
import type { CheckItem } from './contract-schema.ts';
import type { Check, Contract, Use } from './contract.ts';
import { sequenceGap } from './expectations/sequence-gap.ts';
import { isObject, type RuleText } from './rule-text.ts';

const isAsked = ({ expectation }: Check): boolean => expectation.asksTarget !== null;

/** The ids of those that are. */
export const askedRules = ({ checks }: Pick<Contract, 'checks'>): readonly string[] => checks.filter(isAsked).map(({ id }) => id);

/** Those that judge a released event as well: of what the stream said before it, nothing is asked any more. */
export const askedOfReleased = ({ checks }: Pick<Contract, 'checks'>): readonly string[] =>
  askedRules({ checks: checks.filter(({ expectation }) => !expectation.needsBefore) });

/** Refuses what such a check cannot do. `item`: as the file has it. */
export function refuseUnasked(
  rules: RuleText,
  { expectation, where, mostly, keys, onFail, ops, parameters }: Check,
  item: CheckItem,
  use: Use,
): void {
  const { name } = expectation;
  if (where !== null && expectation.asksTarget === 'all rows')
    rules.refuse([...keys, 'where'], `${name} is about all rows of the table, and no where tells which of them count`, 'Remove where.');
  if (mostly < 1)
    rules.refuse([...keys, 'mostly'], `${name} judges each row beside those at the target, and no share of them`, 'Remove mostly.');
  if (use === 'file') rules.refuse(keys, `${name} is judged on a live stream alone`, 'Remove the check here.');
  if (expectation.onFail?.includes(onFail) === false)
    rules.refuse([...keys, 'on_fail'], `${name} cannot ${onFail} rows: ${WHY_NOT}`, `Write on_fail: ${expectation.onFail.join(' or ')}.`);
  if (onFail === 'halt' && waits(parameters))
    rules.refuse(
      [...keys, name, 'wait'],
      'a lane that halts at a row cannot wait for another one',
      'Write wait: 0s, or on_fail: quarantine.',
    );
  if (expectation.ops === null && item.ops !== undefined && ops.includes('delete'))
    rules.refuse([...keys, 'ops'], `${name} is about rows that come, and a delete brings none`, 'Name insert, update and read.');
}

/** Refuses what chooses rows, or counts them, beside a check that is about the table they came out of. */
export function refuseRows(rules: RuleText, { expectation: { name }, keys }: Check, item: CheckItem): void {
  for (const modifier of ['where', 'mostly', 'nulls', 'no_before'])
    if (item[modifier] !== undefined)
      rules.refuse([...keys, modifier], `${name} is about the columns of the table, and says the same of every row`, `Remove ${modifier}.`);
}

/** Partitions of a topic are read side by side: a number that stands before another may come behind it, and the row after no gap at all would be marked. */
export function gapsOverPartitions({ checks, place }: Contract, source: string): Problem[] {
  return checks
    .filter(({ expectation, parameters }) => expectation.name === sequenceGap.name && !isOfOnePartition(parameters))
    .map(({ id, keys }) => ({
      severity: 'error',
      path: place(keys),
      message: `${id}: ${source} reads topics, and of numbers that come by several partitions nobody knows the order`,
      fix: 'Write one_partition: true under sequence_gap where the rows of each group come by one partition; or count numbers in windows.',
    }));
}

const isOfOnePartition = (parameters: unknown): boolean => isObject(parameters) && parameters['one_partition'] === true;

/** Whether the parameters say that a row waits. */
function waits(parameters: unknown): boolean {
  if (!isObject(parameters) || typeof parameters['wait'] !== 'string') return false;
  return (durationMicros(parameters['wait']) ?? 0n) > 0n;
}

const WHY_NOT = 'those behind a missing number are as they should be, and without them every later one would fail as well';
