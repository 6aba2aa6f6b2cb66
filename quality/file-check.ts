/** A check of a rule file over all rows of a file. */
import type { ChangeEvent, Dataset } from '../core/event.ts';
import type { FileCheck } from './contract.ts';
import { type Judging, NOTHING, pathOf, type RuleResult, unusable, whereOf } from './file-run.ts';
import { SuiteRun } from './gx/suite.ts';
import { tokensOfColumn } from './missing.ts';
import { missingCells } from './missing-cells.ts';
import { type FileCell, Unusable } from './states/cell.ts';

/** The expectation of that name, in its own semantics. */
export function fileCheck(
  check: FileCheck,
  dataset: Dataset,
  event: ChangeEvent,
  parameters: Readonly<Record<string, unknown>>,
  nowMs: number,
): Judging {
  const named = { rule: check.id, type: check.type, column: check.column, level: check.level };
  const where = whereOf(check.where, dataset);
  if (typeof where === 'string') return unusable(named, where, [...check.keys, 'where']);
  const kwargs = { ...check.kwargs, result_format: 'COMPLETE' };
  const run = new SuiteRun([{ type: check.expectation, kwargs, meta: {} }], parameters, nowMs);
  const places = run.slots.columns.map((name) => dataset.columns.findIndex((column) => column.name === name));
  const columns = [...places.filter((place) => place >= 0), ...(where?.columns ?? [])];
  const own: FileCell[] = places.map(() => null);
  const withoutTokens = places.map((place) =>
    missingCells(check.missingIsDefault ? tokensOfColumn(dataset.columns[place], check.missing) : check.missing),
  );
  return {
    columns,
    row: (_values, cells, index) => {
      if (where?.isMet(event) === false) return;
      for (let at = 0; at < places.length; at++) {
        const cell = cells[places[at] ?? -1] ?? null;
        const without = withoutTokens[at] ?? null;
        own[at] = without === null ? cell : without(cell);
      }
      run.row(own, index);
    },
    end: (facts) => {
      const [result] = run.end(facts);
      if (result === undefined) throw new Unusable('a check without a result');
      const error = result.error === null ? null : { code: 'UNUSABLE', message: result.error, path: pathOf(check.keys) };
      return { ...named, ...NOTHING, success: result.success, ...fieldsOf(result.result), error };
    },
  };
}

function fieldsOf(result: Readonly<Record<string, unknown>>): Partial<RuleResult> {
  const number = (key: string) => (typeof result[key] === 'number' ? result[key] : 0);
  const list = (key: string) => (Array.isArray(result[key]) ? (result[key] as unknown[]) : []);
  const percent = result['unexpected_percent'];
  return {
    observed: result['observed_value'] ?? null,
    element_count: number('element_count'),
    missing_count: number('missing_count'),
    unexpected_count: number('unexpected_count'),
    unexpected_percent: typeof percent === 'number' ? percent : null,
    unexpected_index_list: list('unexpected_index_list'),
    partial_unexpected_list: list('partial_unexpected_list'),
  };
}
