/** What the rules found, minute by minute, beyond the end of the process that counted it. */
import type { Clock } from '../core/clock.ts';
import type { Metrics } from '../ops/metrics.ts';
import { type KeptSeries as Series, isKeptSeries } from '../ops/rule-series.ts';
import { errorFields, type Logger } from './logger.ts';
import type { SeriesBook } from './state/series.ts';
import type { Turn } from './turn.ts';

export interface KeptSeriesParts {
  readonly pipelines: ReadonlyMap<string, Pick<Turn, 'isOurs'>>;
  readonly instance: string;
  readonly metrics: Pick<Metrics, 'ruleSeries' | 'goOn'>;
  readonly book: SeriesBook;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What is lost with a process that is killed is what it counted since it last said so. */
const SAY_MS = 5000;

export class KeptSeries {
  readonly #parts: KeptSeriesParts;
  #isAway = false;

  constructor(parts: KeptSeriesParts) {
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#look(false);
      await this.#parts.clock.sleep(SAY_MS, signal);
    }
  }

  /** Nothing is counted any more. */
  end(): Promise<void> {
    return this.#look(true);
  }

  /** Whoever has the pipeline takes over what those counted that are gone: what one that stands by took would be shown by nobody. */
  async #look(isLast: boolean): Promise<void> {
    const { pipelines, instance, metrics, book, logger } = this.#parts;
    try {
      for (const [pipeline, turn] of pipelines) {
        if (!isLast && turn.isOurs)
          for (const record of await book.takeOver(pipeline, instance)) metrics.goOn(pipeline, seriesFrom(record));
        const series = metrics.ruleSeries(pipeline);
        if (series.datasets.length > 0) await book.say(pipeline, instance, JSON.stringify(series), isLast);
      }
      this.#isAway = false;
    } catch (error) {
      // Charts can wait until the state is there again, and has room.
      if (!this.#isAway) logger.warn('what rules found could not be kept; it is tried again', errorFields(error));
      this.#isAway = true;
    }
  }
}

/** Written by another version, it may be anything. */
function seriesFrom(record: string): Series {
  const kept: unknown = JSON.parse(record);
  return isKeptSeries(kept) ? kept : { atMs: 0, datasets: [] };
}
