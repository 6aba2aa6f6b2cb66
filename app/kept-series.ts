/** What the rules found, minute by minute, beyond the end of the process that counted it. */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { Metrics } from '../ops/metrics.ts';
import { type KeptSeries as Series, isKeptSeries } from '../ops/rule-series.ts';
import type { SeriesBook } from './state/series.ts';

export interface KeptSeriesParts {
  readonly pipelines: readonly string[];
  readonly instance: string;
  readonly metrics: Pick<Metrics, 'ruleSeries' | 'goOn'>;
  readonly book: SeriesBook;
  readonly clock: Clock;
}

/** What is lost with a process that is killed is what it counted since it last said so. */
const SAY_MS = 5000;

export class KeptSeries {
  readonly #parts: KeptSeriesParts;

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

  async #look(isLast: boolean): Promise<void> {
    const { pipelines, instance, metrics, book } = this.#parts;
    try {
      for (const pipeline of pipelines) {
        if (!isLast) for (const record of await book.takeOver(pipeline, instance)) metrics.goOn(pipeline, seriesFrom(record));
        const series = metrics.ruleSeries(pipeline);
        if (series.datasets.length > 0) await book.say(pipeline, instance, JSON.stringify(series), isLast);
      }
    } catch (error) {
      // Charts can wait until the state is there again; whose turn it is is asked of the same place, and says that it is away.
      if (!(error instanceof PipelineError)) throw error;
    }
  }
}

/** Written by another version, it may be anything. */
function seriesFrom(record: string): Series {
  const kept: unknown = JSON.parse(record);
  return isKeptSeries(kept) ? kept : { atMs: 0, datasets: [] };
}
