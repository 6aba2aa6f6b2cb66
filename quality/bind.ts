/** Binds one check of a contract to a dataset, and gathers what is wrong with it. */
import type { Column, Dataset } from '../core/event.ts';
import { suggestion } from '../core/expression/suggest.ts';
import type { Problem } from '../core/problems.ts';
import type { Check } from './contract.ts';
import type { Bound, Site } from './expectation.ts';
import { withMissing } from './missing.ts';
import type { Keys } from './rule-text.ts';

export interface BindContext {
  readonly dataset: Dataset;
  readonly place: (keys: Keys) => string;
  readonly schemaFiles: ReadonlyMap<string, unknown>;
  readonly problems: Problem[];
}

export function bindCheck(check: Check, context: BindContext): Bound | null {
  const { dataset, place, problems } = context;
  const index = check.column === null ? -1 : dataset.columns.findIndex((column) => column.name === check.column);
  if (check.column !== null && index < 0) {
    const names = dataset.columns.map((column) => column.name);
    // In the short form the column is a key above the check, in the long form one within it.
    const keys = check.keys[0] === 'columns' ? check.keys.slice(0, 2) : [...check.keys, 'column'];
    problems.push({
      severity: 'error',
      path: place(keys),
      message: `${dataset.name} has no column "${check.column}"`,
      fix: suggestion(check.column, names, 'column'),
    });
    return null;
  }
  const found = dataset.columns[index];
  const column: (Column & { readonly index: number }) | null = found === undefined ? null : { ...found, index };
  const say = (severity: 'error' | 'warning', message: string, fix: string, at: Keys) =>
    problems.push({ severity, path: place([...check.parameterKeys, ...at]), message, fix });
  const site: Site = {
    dataset,
    column,
    nulls: check.nulls,
    noBefore: check.noBefore,
    path: (...at) => place([...check.parameterKeys, ...at]),
    schemaFile: (path) => context.schemaFiles.get(path),
    warn: (message, fix, ...at) => void say('warning', message, fix, at),
    refuse: (message, fix, ...at) => {
      say('error', message, fix, at);
      return null;
    },
    columnIndex: (name, ...at) => {
      const place = dataset.columns.findIndex((candidate) => candidate.name === name);
      if (place >= 0) return place;
      say(
        'error',
        `${dataset.name} has no column "${name}"`,
        suggestion(
          name,
          dataset.columns.map((candidate) => candidate.name),
          'column',
        ),
        at,
      );
      return null;
    },
  };
  const bound = check.expectation.bind(check.parameters, site);
  if (bound === null || check.missing.length === 0) return bound;
  const refuse = (message: string, fix: string) => {
    problems.push({ severity: 'error', path: place([...check.keys, 'missing']), message, fix });
    return null;
  };
  return withMissing(bound, check.missing, dataset, check.missingIsDefault ? null : refuse);
}
