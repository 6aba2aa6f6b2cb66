/** What has become of each model that a pipeline scores with. */
import type { ModelRegistry } from '../inference/models/registry.ts';
import type { InferenceStage } from '../inference/stage.ts';
import type { PipelineConfig } from './config-schema.ts';
import { modelUses } from './connect.ts';
import type { ModelUseStatus } from './http/shapes.ts';

/** `running`: as the stage has them that scores; empty where none does. */
export function modelStatus(
  pipeline: PipelineConfig,
  registry: ModelRegistry,
  running: ReturnType<InferenceStage['status']>,
): readonly ModelUseStatus[] {
  return modelUses(pipeline).map(({ model, dataset, failure, routes }) => {
    const [name = '', alias = ''] = model.split('@');
    const use = running.find((candidate) => candidate.model === model && candidate.dataset === dataset);
    const resolved = registry.resolve(model);
    const state =
      resolved === null
        ? 'missing'
        : use === undefined || use.problem !== null
          ? 'backing-off'
          : use.version !== resolved.version
            ? 'starting'
            : 'ready';
    return {
      model: name,
      dataset,
      alias,
      version: resolved === null ? null : String(resolved.version),
      state,
      failure,
      routes: routes.map(({ when, do: action }) => ({ when, do: action })),
    };
  });
}
