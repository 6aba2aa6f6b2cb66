/** Routes: what becomes of a row by its score, compiled against a dataset. */
import { type Finding, type Severity, Verdict } from '../core/batch.ts';
import type { ChangeEvent, Dataset } from '../core/event.ts';
import { compileExpression } from '../core/expression.ts';
import type { Problem } from '../core/problems.ts';

export interface Route {
  /** An expression over `score` and the row: `score >= 0.95 && after.total > 100`. */
  readonly when: string;
  readonly do: 'quarantine' | 'alert' | 'tag';
  readonly severity: Severity;
}

export interface CompiledRoute {
  readonly route: Route;
  /** Whether the route applies. Throws `ExpressionError` where that can't be told from this row. */
  applies(event: ChangeEvent, score: number): boolean;
}

export type CompiledRoutes =
  | { readonly kind: 'compiled'; readonly routes: readonly CompiledRoute[] }
  | { readonly kind: 'refused'; readonly problems: readonly [Problem, ...Problem[]] };

/** All problems at once. `path` is where the routes stand in the config (`pipelines.shop.models[0]`). */
export function compileRoutes(routes: readonly Route[], dataset: Dataset, path: string): CompiledRoutes {
  const problems: Problem[] = [];
  const compiled: CompiledRoute[] = [];
  for (const [index, route] of routes.entries()) {
    const options = { dataset, path: `${path}.routes[${index}].when`, variables: { score: 'double' }, want: 'bool' } as const;
    const expression = compileExpression(route.when, options);
    if (expression.kind === 'refused') problems.push(...expression.problems);
    else compiled.push({ route, applies: (event, score) => expression.evaluate(event, score) === true });
  }
  const [first, ...others] = problems;
  return first === undefined ? { kind: 'compiled', routes: compiled } : { kind: 'refused', problems: [first, ...others] };
}

/** What a route that applies says of an event. An alert lets the row pass and tells someone. */
export function routeFinding(index: number, model: string, version: number, place: number, route: Route, score: number): Finding {
  return {
    index,
    stage: 'inference',
    rule: `${model}.route[${place}]`,
    column: null,
    verdict: route.do === 'quarantine' ? Verdict.Quarantine : Verdict.Tag,
    severity: route.severity,
    message: `${model}@${version} scores ${score.toFixed(4)}: ${route.when}`,
    notify: route.do === 'alert',
  };
}
