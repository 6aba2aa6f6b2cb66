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
  readonly metrics: Pick<Metrics, 'ruleSeries' | 'goOn' | 'handOver'>;
  readonly book: SeriesBook;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What is lost with a process that is killed is what it counted since it last said so. */
const SAY_MS = 5000;

export class KeptSeries {
  readonly #parts: KeptSeriesParts;
  #isAway = false;
  /** What was said of each pipeline last. */
  readonly #said = new Map<string, string>();

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
        await this.#say(pipeline, isLast);
      }
      this.#isAway = false;
    } catch (error) {
      // Charts can wait until the state is there again, and has room.
      if (!this.#isAway) logger.warn('what rules found could not be kept; it is tried again', errorFields(error));
      this.#isAway = true;
    }
  }

  async #say(pipeline: string, isLast: boolean): Promise<void> {
    const { instance, metrics, logger } = this.#parts;
    const before = this.#said.get(pipeline);
    const isSaid = await this.#sayAs(pipeline, { isFirst: before === undefined, isLast });
    if (isSaid || before === undefined) return;
    // We were taken for gone: what we had said is another's now, and would be there twice.
    logger.info('another instance goes on from what the rules had found here', { pipeline, instance });
    this.#said.delete(pipeline);
    metrics.handOver(pipeline, seriesFrom(before));
    await this.#sayAs(pipeline, { isFirst: true, isLast });
  }

  async #sayAs(pipeline: string, how: Parameters<SeriesBook['say']>[3]): Promise<boolean> {
    const { instance, metrics, book } = this.#parts;
    const series = metrics.ruleSeries(pipeline);
    if (series.datasets.length === 0) return true;
    const record = JSON.stringify(series);
    const isSaid = await book.say(pipeline, instance, record, how);
    if (isSaid) this.#said.set(pipeline, record);
    return isSaid;
  }
}

/** Written by another version, it may be anything. */
function seriesFrom(record: string): Series {
  const kept: unknown = JSON.parse(record);
  return isKeptSeries(kept) ? kept : { atMs: 0, datasets: [] };
}
