/** Log lines for what a pipeline tells of: alerts, which nobody may have asked for, and how far the first copy of each table is. */
import type { DatasetName } from '../core/event.ts';
import type { AlertData, AlertType } from '../ops/alerts/events.ts';
import type { Clock } from '../core/clock.ts';
import type { SnapshotProgress } from '../core/contracts.ts';
import type { Logger } from './logger.ts';

/** Says in the log what is told to those who get alerts, where it is not there already in words of its own. */
export function logTold<T extends AlertType>(logger: Logger, type: T, data: AlertData[T]): void {
  const write = LINES[type];
  if (write !== undefined) write(logger, data);
}

const LINES: { readonly [T in AlertType]?: (logger: Logger, data: AlertData[T]) => void } = {
  'schema.drift': (logger, { dataset, changes, policy }) => {
    const isFollowed = policy === 'accept' || policy === 'ignore';
    logger[isFollowed ? 'info' : 'warn']('a table of the source has changed', { dataset, changes: changes.join('; '), policy });
  },
  // `level` is the line's own.
  'slot.retention': (logger, { level, message, fix }) => logger.warn(message, { risk: level, fix }),
  'slot.safe': (logger, { slot, retainedBytes }) => logger.info('the source keeps little log for the slot again', { slot, retainedBytes }),
  'quarantine.rate': (logger, { dataset, ratio, rows, quarantined }) =>
    logger.warn('much more of a dataset is held than before', { dataset, ratio, rows, quarantined }),
  'model.unavailable': (logger, { dataset, model, failure, message }) => logger.warn(message, { dataset, model, failure }),
};

/** Says in the log when the copy of a table begins, and when it is done. To be shown the progress every so often. */
export class CopyLog {
  readonly #logger: Logger;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #begun = new Map<DatasetName, number>();

  constructor(logger: Logger, clock: Pick<Clock, 'monotonic'>) {
    this.#logger = logger;
    this.#clock = clock;
  }

  see(progress: readonly SnapshotProgress[]): void {
    for (const { dataset, state, rowsDone, rowsEstimated } of progress) {
      const begunAtMs = this.#begun.get(dataset);
      if (state === 'copying' && begunAtMs === undefined) {
        this.#begun.set(dataset, this.#clock.monotonic());
        this.#logger.info('copying a table', { dataset, rowsDone, rowsEstimated });
      } else if (state === 'done' && begunAtMs !== undefined) {
        this.#begun.delete(dataset);
        const seconds = Math.round((this.#clock.monotonic() - begunAtMs) / 1000);
        this.#logger.info('copied a table', { dataset, rows: rowsDone, seconds });
      }
    }
  }
}
