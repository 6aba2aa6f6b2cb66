/** What the routes of one pipeline share. */
import { HttpProblem } from './problem.ts';

export const pipelineParams = {
  type: 'object',
  properties: { name: { type: 'string', description: 'The pipeline.' } },
  required: ['name'],
} as const;

export const noPipeline = (): HttpProblem =>
  new HttpProblem(404, 'NOT_FOUND', 'There is no pipeline of this name.', { fix: 'See /api/status for their names.' });
