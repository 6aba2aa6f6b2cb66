/** Rules about the scores of models, beside the models that the pipeline has. */
import type { Problem } from '../core/problems.ts';
import type { Contract } from '../quality/contract.ts';
import { nearest } from './config-read.ts';
import type { PipelineConfig } from './config-schema.ts';

/** Those that name a model which scores no row of the dataset: they would never say anything. */
export function strangeModels({ live, dataset, place }: Contract, pipeline: string, uses: PipelineConfig['models']): Problem[] {
  const models = [...new Set(uses.filter((use) => use.dataset === dataset).map(({ model }) => model.replace(/@.*/, '')))];
  return live.checks.flatMap(({ check: { reads }, keys, type }) => {
    if (reads?.kind !== 'score' || models.includes(reads.model)) return [];
    const near = nearest(reads.model, models);
    const others = models.length === 0 ? '' : `name one of ${models.join(', ')}, or `;
    const fix = near === null ? `${others}add it under pipelines.${pipeline}.models, with this dataset.` : `Did you mean ${near}?`;
    return [
      {
        severity: 'error',
        path: place([...keys, type, 'model']),
        message: `no model ${reads.model} of the pipeline ${pipeline} scores ${dataset}`,
        fix: `${fix[0]?.toUpperCase() ?? ''}${fix.slice(1)}`,
      },
    ];
  });
}
