/** Every expectation of Great Expectations' catalogue that is judged here, by its name, and those that are not with the reason. */
import * as distinct from '../windows/distinct.ts';
import { drift } from '../windows/drift-by-metric.ts';
import { chiSquare, js, ks, psi } from '../windows/drift.ts';
import { compoundDuplicates, duplicates } from '../windows/duplicates.ts';
import * as extremes from '../windows/extremes.ts';
import { klDivergence } from '../windows/kl-divergence.ts';
import { dimensionAnomaly } from '../windows/dimension-anomaly.ts';
import { metricAnomaly } from '../windows/metric-anomaly.ts';
import * as presence from '../windows/presence.ts';
import * as ranks from '../windows/ranks.ts';
import * as sums from '../windows/sums.ts';
import * as scores from '../windows/scores.ts';
import { volumeAnomaly } from '../windows/volume-anomaly.ts';
import { defineNulls, type GxExpectation, type Word } from './expectation.ts';
import * as records from './records.ts';
import { rowCountEqualsOther } from './row-count-equals.ts';
import * as table from './table.ts';
import * as texts from './texts.ts';
import * as values from './values.ts';

const all: readonly GxExpectation[] = [
  defineNulls('expect_column_values_to_be_null', true),
  defineNulls('expect_column_values_to_not_be_null', false),
  values.inSet,
  values.notInSet,
  values.between,
  values.lengthBetween,
  values.lengthEquals,
  values.increasing,
  values.decreasing,
  values.ofType,
  values.inTypeList,
  texts.matchRegex,
  texts.notMatchRegex,
  texts.matchRegexList,
  texts.notMatchRegexList,
  texts.matchLike,
  texts.notMatchLike,
  texts.matchLikeList,
  texts.notMatchLikeList,
  texts.strftimeFormat,
  texts.dateutilParseable,
  texts.jsonParseable,
  texts.jsonSchema,
  records.pairEqual,
  records.pairGreater,
  records.pairInSet,
  records.sumEquals,
  records.uniqueWithinRecord,
  records.multicolumnUnique,
  records.unique,
  records.compoundUnique,
  records.zScores,
  records.zScoresBeside,
  extremes.min,
  extremes.max,
  sums.sum,
  sums.mean,
  sums.stdev,
  ranks.median,
  ranks.quantiles,
  distinct.distinctCount,
  distinct.uniqueProportion,
  distinct.distinctInSet,
  distinct.distinctContain,
  distinct.distinctEqual,
  distinct.mostCommon,
  duplicates,
  compoundDuplicates,
  presence.nonNullRate,
  presence.nullRate,
  presence.nonNullRateOfTokens,
  presence.nullRateOfTokens,
  klDivergence,
  psi,
  js,
  ks,
  chiSquare,
  drift,
  volumeAnomaly,
  metricAnomaly,
  dimensionAnomaly,
  scores.scoreDrift,
  scores.abstainRate,
  scores.featureMissing,
  table.rowCountBetween,
  table.rowCountEquals,
  rowCountEqualsOther,
  table.columnCountBetween,
  table.columnCountEquals,
  table.columnExists,
  table.columnsInOrder,
  table.columnsMatch,
];

export const CATALOGUE: ReadonlyMap<string, GxExpectation> = new Map(all.map((expectation) => [expectation.name, expectation]));

/** The short words of rule files that are judged over a file or a window. */
export const WORDS: ReadonlyMap<string, GxExpectation & { readonly word: Word }> = new Map(
  all.flatMap((expectation) => {
    const { word } = expectation;
    return word === undefined ? [] : [[word.name, { ...expectation, word }] as const];
  }),
);

/** Why it is not judged, and what to do instead. */
export interface LeftOut {
  readonly reason: string;
  readonly fix: string;
}

const P_VALUE: LeftOut = {
  reason: 'it tests by p-values, and Great Expectations itself runs it nowhere any more',
  fix: 'Use expect_column_kl_divergence_to_be_less_than, or psi, js, ks or chi_square of rule files.',
};
const QUERY = 'it is a query in SQL, and a file has no database';

export const LEFT_OUT: ReadonlyMap<string, LeftOut> = new Map([
  ['expect_column_bootstrapped_ks_test_p_value_to_be_greater_than', P_VALUE],
  ['expect_column_chisquare_test_p_value_to_be_greater_than', P_VALUE],
  ['expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than', P_VALUE],
  ['expect_column_pair_cramers_phi_value_to_be_less_than', P_VALUE],
  ['unexpected_rows_expectation', { reason: QUERY, fix: 'Write a row condition or an expr; on a live stream, sql.' }],
  ['expect_query_results_to_match_comparison', { reason: QUERY, fix: 'On a live stream use sql, or reconcile.' }],
]);
