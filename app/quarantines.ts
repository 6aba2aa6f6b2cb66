/** The quarantines of all pipelines as one: what the HTTP API and the command line look into and settle. */
import type { Quarantine, QuarantineFilter, QuarantineItem } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import { STAGED_ROWS_MAX } from '../core/lots.ts';
import { askedOfReleased } from '../quality/asked.ts';
import type { Desk } from './desk.ts';
import { dryRunRelease } from './dry-run.ts';
import type { ItemChoice, ItemFilter } from './http/operations.ts';
import type { HeldByRuleView, ItemDetail, ItemPage, ReleaseOutcome, ReleaseView } from './http/shapes.ts';
import { itemDetail, itemView } from './items.ts';

/** Items that one call may release or discard by a filter. */
export const CHOICE_MAX = 10_000;
const OPEN = ['held', 'waiting'] as const;

/** Newest first over all pipelines; `after` is the `next` of the page before. */
export async function listItems(desks: readonly Desk[], filter: ItemFilter, limit: number, after: string | null): Promise<ItemPage> {
  const { pipeline: _, ...wanted } = filter;
  const cursor = readCursor(after);
  const pages = await Promise.all(
    desksOf(desks, filter).map(async (desk) => {
      const last = cursor[desk.pipeline];
      const items = await desk.withSink((sink) =>
        sink.quarantine.find({ ...wanted, limit: limit + 1, ...(last === undefined ? {} : { after: last }) }),
      );
      return items.map((item) => ({ pipeline: desk.pipeline, item }));
    }),
  );
  const merged = pages.flat().sort((a, b) => b.item.heldAtMs - a.item.heldAtMs);
  const shown = merged.slice(0, limit);
  const next: Record<string, string> = { ...cursor };
  for (const { pipeline, item } of shown) next[pipeline] = item.id;
  return {
    items: shown.map(({ pipeline, item }) => itemView(pipeline, item)),
    next: merged.length > shown.length ? Buffer.from(JSON.stringify(next)).toString('base64url') : null,
  };
}

/** Open items by the rules that hold them, most first over all pipelines. */
export async function heldByRule(desks: readonly Desk[], pipeline: string | null): Promise<HeldByRuleView> {
  const found = await Promise.all(
    desksOf(desks, pipeline === null ? {} : { pipeline }).map(async (desk) => {
      const rules = await desk.withSink((sink) => sink.quarantine.openByRule());
      return rules.map((one) => ({ pipeline: desk.pipeline, ...one }));
    }),
  );
  return { rules: found.flat().sort((a, b) => b.count - a.count) };
}

export async function getItem(desks: readonly Desk[], id: string): Promise<ItemDetail | null> {
  const desk = deskOf(desks, id);
  const item = desk === undefined ? null : await desk.withSink((sink) => sink.quarantine.get(id));
  return desk === undefined || item === null ? null : itemDetail(desk.pipeline, item);
}

export async function releaseItems(
  desks: readonly Desk[],
  choice: ItemChoice,
  by: string,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<ReleaseView> {
  const results: ReleaseOutcome[] = [];
  const released: string[] = [];
  const notAsked: ReleaseView['notAsked'][number][] = [];
  for (const { desk, ids, items } of await choose(desks, choice, dryRun)) {
    if (dryRun) {
      const tried = await tryRelease(desk, ids, items, signal);
      results.push(...tried.results);
      notAsked.push(...tried.notAsked);
    } else released.push(...(await desk.withSink((sink) => sink.quarantine.release(ids, by))));
  }
  if (dryRun)
    for (const id of choice.ids ?? []) if (deskOf(desks, id) === undefined) results.push({ id, outcome: 'unknown', findings: [] });
  return { dryRun, results, notAsked, released };
}

export async function discardItems(desks: readonly Desk[], choice: ItemChoice, by: string, why: string): Promise<readonly string[]> {
  const discarded: string[] = [];
  for (const { desk, ids } of await choose(desks, choice, false))
    discarded.push(...(await desk.withSink((sink) => sink.quarantine.discard(ids, by, why))));
  return discarded;
}

async function tryRelease(
  desk: Desk,
  ids: readonly string[],
  known: readonly QuarantineItem[],
  signal: AbortSignal,
): Promise<Pick<ReleaseView, 'results' | 'notAsked'>> {
  await using again = desk.decodeAgain(signal);
  await using cleanup = new AsyncDisposableStack();
  const { stages, close } = desk.stages();
  cleanup.defer(close);
  return await desk.withSink(async ({ quarantine, asked }) => {
    const items = new Map<string, QuarantineItem | null>(known.map((item) => [item.id, item]));
    for (const id of ids) if (!items.has(id)) items.set(id, await quarantine.get(id));
    const { results, unasked } = await dryRunRelease(items, { quarantine, asked, stages, again }, signal);
    return { results: [...results], notAsked: notAskedOf(desk, unasked) };
  });
}

/** The rules of these datasets that need other rows. */
function notAskedOf(desk: Desk, datasets: ReadonlySet<DatasetName>): ReleaseView['notAsked'] {
  const contracts = desk.contracts();
  return [...datasets].flatMap((dataset) => {
    const contract = contracts.get(dataset);
    return contract === undefined ? [] : askedOfReleased(contract).map((rule) => ({ dataset, rule }));
  });
}

interface Chosen {
  readonly desk: Desk;
  readonly ids: readonly string[];
  /** Those of them that were read already. */
  readonly items: readonly QuarantineItem[];
}

/** The open items that are meant, by desk and oldest first; desks without any are left out. */
async function choose(desks: readonly Desk[], { ids, filter }: ItemChoice, reads: boolean): Promise<readonly Chosen[]> {
  if (ids !== undefined)
    return desks
      .map((desk) => ({ desk, ids: ids.filter((id) => deskOf(desks, id) === desk), items: [] }))
      .filter((one) => one.ids.length > 0);
  const { pipeline: _, ...wanted } = filter ?? {};
  const found = await Promise.all(
    desksOf(desks, filter ?? {}).map(async (desk) => {
      const open = { ...wanted, status: wanted.status ?? OPEN };
      // What goes its way without being looked at is not read, and a lot goes as a whole.
      const limit = wanted.lotStartMs === undefined ? CHOICE_MAX : STAGED_ROWS_MAX;
      if (!reads) return { desk, ids: (await desk.withSink((sink) => sink.quarantine.ids({ ...open, limit }))).toReversed(), items: [] };
      const items = await desk.withSink((sink) => allOf(sink.quarantine, open));
      return { desk, ids: items.map(({ id }) => id), items };
    }),
  );
  return found.filter((one) => one.ids.length > 0);
}

/** Every item that fits, oldest first, up to CHOICE_MAX. */
async function allOf(
  quarantine: Pick<Quarantine, 'find'>,
  filter: Omit<QuarantineFilter, 'limit' | 'after'>,
): Promise<readonly QuarantineItem[]> {
  const found: QuarantineItem[] = [];
  for (let after: string | undefined; found.length < CHOICE_MAX;) {
    const page = await quarantine.find({ ...filter, limit: 500, ...(after === undefined ? {} : { after }) });
    found.push(...page);
    after = page.at(-1)?.id;
    if (page.length < 500 || after === undefined) break;
  }
  return found.slice(0, CHOICE_MAX).reverse();
}

function desksOf(desks: readonly Desk[], { pipeline, dataset }: Pick<ItemFilter, 'pipeline' | 'dataset'>): readonly Desk[] {
  return desks
    .filter((desk) => pipeline === undefined || desk.pipeline === pipeline)
    .filter((desk) => dataset === undefined || dataset.startsWith(`${desk.source}.`));
}

/** An item's id begins with its source, which belongs to one pipeline; also where its table is no longer in the config. */
function deskOf(desks: readonly Desk[], id: string): Desk | undefined {
  return desks.find((desk) => id.startsWith(`${desk.source}.`));
}

function readCursor(after: string | null): Readonly<Record<string, string>> {
  if (after === null) return {};
  try {
    const cursor: unknown = JSON.parse(Buffer.from(after, 'base64url').toString('utf8'));
    if (typeof cursor === 'object' && cursor !== null && Object.values(cursor).every((id) => typeof id === 'string'))
      return cursor as Record<string, string>;
  } catch {
    // Told below.
  }
  throw new PipelineError('CONFIG_INVALID', '`after` is no `next` of a page before');
}
