/** The scores of the batch under way, for checks of what models made of its rows. */
import { type Scores, ScoreStatus } from '../../core/batch.ts';
import type { ChangeEvent, DatasetName } from '../../core/event.ts';
import type { Reads } from '../windows/check.ts';
import { type ReadCell, UNSEEN } from './cells.ts';
import type { SlotReader } from './fold.ts';

type ReadsScores = Extract<Reads, { readonly kind: 'score' }>;

/** What readers of scores look at: they are beside the events, and no part of a row. */
export class ScoreSight {
  #scores: readonly Scores[] = [];
  #index = 0;

  /** Before the event of that index is put into windows. */
  look(scores: readonly Scores[], index: number): void {
    this.#scores = scores;
    this.#index = index;
  }

  /** What the model was asked about the event: the first of that name in the config; null where none was. */
  of(dataset: DatasetName, model: string): { readonly status: number; readonly value: number } | null {
    const index = this.#index;
    for (const scores of this.#scores) {
      if (scores.model !== model || scores.dataset !== dataset) continue;
      const status = scores.status[index] ?? ScoreStatus.NotAsked;
      if (status !== ScoreStatus.NotAsked) return { status, value: scores.values[index] ?? NaN };
    }
    return null;
  }
}

/** Of rows that the model was not asked for nothing is said: `where` leaves them out. */
export function scoreReader({ model, of }: ReadsScores, dataset: DatasetName, sight: ScoreSight, where: SlotReader['where']): SlotReader {
  const counts = of === 'score' ? () => true : isRead;
  const asked = (event: ChangeEvent): boolean | undefined => {
    const found = sight.of(dataset, model);
    if (found === null || !counts(found.status)) return false;
    return where === null ? true : where(event);
  };
  const read: ReadCell = () => {
    const found = sight.of(dataset, model);
    if (found === null) return UNSEEN;
    return found.status === ScoreStatus.Scored ? found.value : null;
  };
  return { read, where: asked, put: null };
}

/** Whether anybody looked at its features: where the model does not answer, nobody says what it would have read. */
const isRead = (status: number): boolean => status === ScoreStatus.Scored || status === ScoreStatus.FeatureMissing;
