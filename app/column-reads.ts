/**
 * Whether rows may come with some of their columns alone, when only those can hold something else than the target has: not where somebody has to see the
 * whole row, who would judge, count or mark it by what did not come.
 */
import type { NumberedColumn } from '../core/shape.ts';
import type { Contract } from '../quality/contract.ts';
import type { DatasetOptions } from '../sync/postgres/layout.ts';

export interface RowReaders {
  /** Left out where rows pass unjudged. */
  readonly contract: Contract | undefined;
  readonly isScored: boolean;
  /** Whether the target keeps versions of rows, which stand for whole ones. */
  readonly hasVersions: boolean;
  /** How the table looks at the target; left out where it looks as at the source. */
  readonly layout: Pick<DatasetOptions, 'write'> | undefined;
  /** Names of the dataset's columns, and of those that identify its rows. */
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

export function mayComeAlone(alone: readonly NumberedColumn[], readers: RowReaders): boolean {
  const { contract, isScored, hasVersions, layout, columns, key } = readers;
  // A verdict is that of the whole row.
  if (isScored || hasVersions || (layout?.write.verdict ?? null) !== null) return false;
  if (contract === undefined) return true;
  const { checks, live } = contract;
  if (live.checks.length > 0 || live.clock.length > 0 || live.publish !== null) return false;
  if (checks.some(({ expectation }) => expectation.asksTarget !== null)) return false;
  const brought = new Set([...alone.map(({ name }) => name), ...key]);
  return checks.every((check) => {
    const read = columns.filter((column) => readsColumn(check, column));
    return read.every((column) => brought.has(column)) || !read.some((column) => alone.some(({ name }) => name === column));
  });
}

type Reader = Pick<Contract['checks'][number], 'column' | 'parameters' | 'where'>;

/** By the words of a check, and so rather once too often. */
export function readsColumn({ column, parameters, where }: Reader, name: string): boolean {
  if (column === name) return true;
  const text = `${JSON.stringify(parameters)} ${where ?? ''}`;
  // A quote in a name stands behind one backslash or several, for an expression may lie in JSON.
  return PLAIN.test(name) ? (text.match(WORDS)?.includes(name) ?? false) : bare(text).includes(bare(name));
}

const bare = (text: string): string => text.replaceAll('\\', '');

/** Names in an expression or in parameters, whatever stands around them. */
const WORDS = /[\p{L}\p{N}_$]+/gu;
const PLAIN = /^[\p{L}\p{N}_$]+$/u;
