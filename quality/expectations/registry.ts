/** Every expectation by its name: to add one, write its file and name it here. */
import type { Expectation } from '../expectation.ts';
import { beforeMatches } from './before-matches.ts';
import { between } from './between.ts';
import { changeBetween } from './change-between.ts';
import { immutable, transitions } from './changes.ts';
import { dateutilParseable } from './dateutil-parseable.ts';
import { expr } from './expr.ts';
import { format } from './format.ts';
import { jsonParseable } from './json-parseable.ts';
import { jsonSchema } from './json-schema.ts';
import { length } from './length.ts';
import { matchStrftime } from './match-strftime.ts';
import { noDelete } from './no-delete.ts';
import { isNullCheck, notNull } from './nulls.ts';
import { ofType } from './of-type.ts';
import { decreasing, increasing } from './order.ts';
import { pairInSet } from './pair-in-set.ts';
import { pairEqual, pairGreater, sumEquals } from './pairs.ts';
import {
  matchLike,
  matchLikeList,
  matchRegex,
  matchRegexList,
  notMatchLike,
  notMatchLikeList,
  notMatchRegex,
  notMatchRegexList,
} from './patterns.ts';
import { references } from './references.ts';
import { sequenceGap } from './sequence-gap.ts';
import { inSet, notInSet } from './sets.ts';
import { columnCount, columnExists, columnsInOrder, columnsMatch } from './table-columns.ts';
import { type } from './type.ts';
import { uniqueWithinRecord } from './unique-within-record.ts';
import { compoundUnique, unique } from './unique.ts';

const all: readonly Expectation[] = [
  notNull,
  isNullCheck,
  inSet,
  notInSet,
  between,
  length,
  matchRegex,
  notMatchRegex,
  matchRegexList,
  notMatchRegexList,
  matchLike,
  notMatchLike,
  matchLikeList,
  notMatchLikeList,
  format,
  matchStrftime,
  dateutilParseable,
  type,
  ofType,
  jsonParseable,
  jsonSchema,
  pairEqual,
  pairGreater,
  pairInSet,
  sumEquals,
  uniqueWithinRecord,
  expr,
  immutable,
  transitions,
  changeBetween,
  noDelete,
  unique,
  compoundUnique,
  references,
  beforeMatches,
  sequenceGap,
  increasing,
  decreasing,
  columnCount,
  columnExists,
  columnsMatch,
  columnsInOrder,
];

export const EXPECTATIONS: ReadonlyMap<string, Expectation> = new Map(all.map((expectation) => [expectation.name, expectation]));
