/** What is wrong with a config, a rule file, a model or a server, said so that a person can mend it. */

export interface Problem {
  readonly severity: 'error' | 'warning';
  /** Where: a file and a path in it (`datasets/orders.yaml: columns.total[0].between`), or a path in the config (`sources.shop.url`). */
  readonly path: string;
  /** What is wrong, in one sentence. */
  readonly message: string;
  /** What to do about it, in one sentence. */
  readonly fix: string;
}

/** Whether it keeps what it is about from being used. */
export function isError({ severity }: Pick<Problem, 'severity'>): boolean {
  return severity === 'error';
}
