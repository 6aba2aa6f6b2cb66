/** A model that stops answering becomes one `model.unavailable`, and no more while it comes and goes. */
import type { Clock } from '../../core/clock.ts';
import type { AlertData } from './events.ts';

/** How a model in use is doing. */
export interface ModelHealth {
  readonly model: string;
  readonly dataset: string;
  readonly failure: string;
  /** Why its last batch had no scores; null where it had. */
  readonly problem: string | null;
  /** Rows that it has not scored so far. */
  readonly unavailable: number;
}

export interface ModelAlertOptions {
  readonly pipeline: string;
  readonly emit: (data: AlertData['model.unavailable']) => void;
  /** A model that fails again is told of again after so long. Default five minutes. */
  readonly everyMs?: number;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** Wants to be told every second or so how the models are. */
export function modelAlerts({ pipeline, emit, everyMs = 300_000, clock }: ModelAlertOptions): (models: readonly ModelHealth[]) => void {
  /** By use: the rows that it had not scored when it was last looked at, when it was told of, and whether it has not answered since. */
  const known = new Map<string, { unavailable: number; toldAtMs: number; isOngoing: boolean }>();
  return (models) => {
    for (const { model, dataset, failure, problem, unavailable } of models) {
      const use = known.get(`${model}\n${dataset}`) ?? { unavailable: 0, toldAtMs: -Infinity, isOngoing: false };
      known.set(`${model}\n${dataset}`, use);
      // It may have failed and answered again since the last look.
      const missed = unavailable - use.unavailable;
      const message = problem ?? (missed > 0 ? `${missed} rows were not scored in time` : null);
      use.unavailable = unavailable;
      if (message === null) use.isOngoing = false;
      else if (!use.isOngoing && clock.monotonic() - use.toldAtMs >= everyMs) {
        use.isOngoing = true;
        use.toldAtMs = clock.monotonic();
        emit({ pipeline, dataset, model, failure, message });
      }
    }
  };
}
