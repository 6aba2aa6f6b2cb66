/** A table of a pipeline as both servers have it: what is compared of it, and how each of them says it. */
import type { SourceRows, SourceTable } from '../../cdc/postgres/source-rows.ts';
import type { TargetRows, TargetTable } from '../../sync/postgres/target-rows.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { cellSql, type ComparedTable, type HashKind, isOrderedAlike, type SideColumn } from '../../wire/postgres/row-sums.ts';

export interface Sides {
  readonly source: ComparedTable;
  readonly target: ComparedTable;
  readonly compared: readonly string[];
  readonly leftOut: readonly string[];
  readonly lacking: readonly string[];
  readonly isRanged: boolean;
}

/** Whose table is whose, and the hash that both have. */
export interface SidesParts {
  readonly source: Pick<SourceRows, 'guarded'>;
  readonly target: Pick<TargetRows, 'sql'>;
  readonly hash: HashKind;
}

/** The table as each of the two servers has it, with texts that are the same where the rows are. */
export function sidesOf(here: SourceTable, there: TargetTable, { source, target: { sql: targetSql }, hash }: SidesParts): Sides {
  const isGuarded = targetSql.majorVersion >= 16;
  const { columns, key } = here.relation.dataset;
  const pairs = columns.map((_, i) => pairOf(here.columns[i], there.columns[i], source.guarded));
  const named = (wanted: (index: number) => boolean): string[] => columns.flatMap(({ name }, i) => (wanted(i) ? [name] : []));
  const kept = pairs.filter((pair) => pair !== null);
  const keyPairs = key.flatMap((i) => pairs[i] ?? []);
  return {
    source: {
      from: here.from,
      version: here.version,
      filter: here.filter,
      hash,
      cells: kept.map(({ sql }) => sql.source.text),
      rowCells: kept.map(({ sql }) => sql.source.inRow),
      key: keyPairs.map(({ source: { name, base }, sql, isForeign }) => ({
        name: `t.${quoteIdent(name)}`,
        type: base,
        text: sql.source.text,
        isForeign: isForeign && source.guarded,
      })),
    },
    target: {
      from: there.from,
      version: there.version,
      filter: there.filter,
      hash,
      cells: kept.map(({ sql }) => sql.target.text),
      rowCells: kept.map(({ sql }) => sql.target.inRow),
      key: keyPairs.map(({ target: { name, base }, sql, isForeign }) => ({
        name: `t.${quoteIdent(name)}`,
        type: base,
        text: sql.target.text,
        isForeign: isForeign && isGuarded,
      })),
    },
    compared: named((i) => pairs[i] !== null),
    leftOut: named((i) => there.columns[i] === 'left-out'),
    lacking: named((i) => there.columns[i] === 'lacking'),
    isRanged: there.ranged && keyPairs.every((pair) => isOrderedAlike(pair.source, pair.target)),
  };
}

function pairOf(source: SideColumn | undefined, target: TargetTable['columns'][number] | undefined, guarded: boolean) {
  return source === undefined || typeof target !== 'object'
    ? null
    : { source, target, sql: cellSql(source, target, guarded), isForeign: source.base !== target.base };
}
