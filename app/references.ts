/** What rules of references name: a dataset that the pipeline writes, and columns of it that can have the same values. */
import type { Column, Dataset, DatasetName } from '../core/event.ts';
import { suggestion } from '../core/expression/suggest.ts';
import type { Parent } from '../core/keyed.ts';
import type { Problem } from '../core/problems.ts';
import type { Check, Contract } from '../quality/contract.ts';
import { referenceOf } from '../quality/expectations/references.ts';
import { nearest } from './config-read.ts';

interface Named {
  readonly check: Check;
  readonly columns: readonly string[];
  readonly parent: Parent;
}

const referencesIn = ({ checks }: Contract): Named[] =>
  checks.flatMap((check) => {
    const reference = referenceOf(check);
    return reference === null ? [] : [{ check, ...reference }];
  });

/** The datasets whose rows those of a contract name, and that are to be there before them. */
export const parentsOf = (contract: Contract | undefined): readonly DatasetName[] =>
  contract === undefined ? [] : referencesIn(contract).map(({ parent }) => parent.dataset);

/** Datasets that are none of the pipeline's: their rows are not at its target, or come there by somebody else. */
export function strangeParents(
  contract: Contract,
  pipeline: string,
  datasets: readonly DatasetName[],
  mayBring: (dataset: DatasetName) => boolean,
): Problem[] {
  return referencesIn(contract).flatMap(({ check, parent: { dataset } }) => {
    if (mayBring(dataset)) return [];
    const near = nearest(dataset, datasets);
    return [
      {
        severity: 'error',
        path: contract.place([...check.parameterKeys, 'dataset']),
        message: `${dataset} is none of the tables of the pipeline ${pipeline}, and rows of others cannot be waited for`,
        fix: near === null ? `Name one of ${datasets.join(', ')}, or add its table to the source.` : `Did you mean ${near}?`,
      },
    ];
  });
}

/** The same beside the tables as they are. `datasets`: all of the source. */
export function parentProblems(contract: Contract, own: Dataset, datasets: readonly Dataset[]): Problem[] {
  return referencesIn(contract).flatMap(({ check, columns, parent }) => {
    const place = (...at: readonly string[]): string => contract.place([...check.parameterKeys, ...at]);
    const dataset = datasets.find(({ name }) => name === parent.dataset);
    if (dataset === undefined)
      return [
        {
          severity: 'error',
          path: place('dataset'),
          message: `the source has no table for ${parent.dataset}`,
          fix: 'Name another dataset.',
        } as const,
      ];
    return columns.flatMap((name, i) => {
      const at = check.column === null ? place('columns', name) : place('column');
      return (
        columnProblem(
          at,
          own.columns.find((column) => column.name === name),
          parent.columns[i] ?? '',
          dataset,
        ) ?? []
      );
    });
  });
}

function columnProblem(path: string, own: Column | undefined, name: string, { name: dataset, columns }: Dataset): Problem | null {
  const their = columns.find((column) => column.name === name);
  if (their === undefined)
    return {
      severity: 'error',
      path,
      message: `${dataset} has no column "${name}"`,
      fix: suggestion(
        name,
        columns.map((column) => column.name),
        'column',
      ),
    };
  if (own === undefined || familyOf(own) === familyOf(their)) return null;
  return {
    severity: 'error',
    path,
    message: `${own.name} is ${own.native}, and ${name} of ${dataset} is ${their.native}: they have no values in common`,
    fix: 'Name a column of the same type.',
  };
}

/** Columns of one family can have equal values, and an index finds the one by the other. */
function familyOf({ type, native }: Column): string {
  if (type === 'integer') return type;
  const base = native.replace(/\(.*\)/, '');
  return /^(?:text|character|character varying|citext|name)$/.test(base) ? 'text' : base;
}
