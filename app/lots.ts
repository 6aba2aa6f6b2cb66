/** Lots of rows that are held back, and datasets that are held, as people see them. */
import type { DatasetName } from '../core/event.ts';
import type { Desk } from './desk.ts';
import type { HeldDatasetView, LotView } from './http/shapes.ts';
import { windowText } from './windows.ts';

export const LOTS_MAX = 1000;

/** Those that are staged first, then newest first. */
export async function listLots(desks: readonly Desk[], limit = LOTS_MAX): Promise<readonly LotView[]> {
  const lists = await Promise.all(
    desks.map(async (desk) => {
      const { pipeline } = desk;
      const lots = await desk.withSink((sink) => sink.lots.lots(limit));
      return lots.map(({ startMs, endMs, ...lot }) => {
        const isWindow = startMs >= 0;
        return { pipeline, ...lot, rules: [...lot.rules], startMs: isWindow ? startMs : null, endMs: isWindow ? endMs : null };
      });
    }),
  );
  const rank = ({ status }: LotView) => (status === 'staged' ? 0 : 1);
  return lists
    .flat()
    .sort((a, b) => rank(a) - rank(b) || (b.endMs ?? Infinity) - (a.endMs ?? Infinity))
    .slice(0, limit);
}

export async function listHeld(desks: readonly Desk[]): Promise<readonly HeldDatasetView[]> {
  const lists = await Promise.all(
    desks.map(async (desk) => {
      const held = await desk.withSink((sink) => sink.lots.held());
      return held.map((one) => heldView(desk.pipeline, one));
    }),
  );
  return lists.flat();
}

export const heldView = (
  pipeline: string,
  { startMs, endMs, ...held }: Omit<HeldDatasetView, 'pipeline'> & { startMs: number | null },
): HeldDatasetView => ({
  pipeline,
  ...held,
  startMs: endMs === null ? null : startMs,
  endMs,
});

/** The pipelines in which it was held. */
export async function letGoOn(desks: readonly Desk[], dataset: string): Promise<readonly string[]> {
  const resumed: string[] = [];
  for (const desk of desks) if (await desk.withSink((sink) => sink.lots.letGoOn(dataset as DatasetName))) resumed.push(desk.pipeline); // Compared with names, and nothing else.
  return resumed;
}

/** What is said of a dataset that is held. */
export const heldText = ({ dataset, rule, startMs, endMs }: Omit<HeldDatasetView, 'pipeline' | 'sinceMs'>): string =>
  `${dataset} is held since the rule ${rule} failed over ${windowText({ startMs, endMs })}: \`tidegate windows resume\` lets it go on`;
