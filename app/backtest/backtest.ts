/**
 * A changed rule file over what there is already: the open items of the quarantine, rows of the target, and the versions of rows that the target retains. It
 * tells which of them would change sides. Nothing is held, released or written.
 */
import type { Clock } from '../../core/clock.ts';
import { type Finding, HOLD_KEY_RULE, Verdict } from '../../core/batch.ts';
import type { QuarantineItem } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import { type Column, type Dataset, type DatasetName, keyOf, type Row } from '../../core/event.ts';
import { describeTables } from '../../cdc/postgres/source.ts';
import { readTableRows } from '../../cdc/postgres/table-rows.ts';
import { aliveSql, Layouts } from '../../sync/postgres/layout.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { askedRules } from '../../quality/asked.ts';
import type { Contract } from '../../quality/contract.ts';
import { readEvent } from '../../quality/read-event.ts';
import { partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { layoutOptions, openSink, tableTarget } from '../connect.ts';
import { silentLogger } from '../logger.ts';
import { type AskedCounts, countAsked } from './asked.ts';
import { type Side, Sides } from './sides.ts';
import { BacktestWindows, type WindowsTested } from './windows.ts';

export interface BacktestOptions {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  /** The rules of now; null where the dataset has none. */
  readonly before: Contract | null;
  readonly after: Contract;
  /** Rows of the target, and versions of rows, at most. */
  readonly rowsMax: number | null;
  readonly examplesMax: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type Place = 'quarantine' | 'target' | 'history';

export interface Counted {
  readonly rows: number;
  /** Whether rows were left out. */
  readonly sampled: boolean;
  /** Rows that would go through now and did not, by the rules before. */
  readonly freed: number;
  /** Rows that would be held or dropped now and were not. */
  readonly taken: number;
  /** Rows that would be held or dropped by both. */
  readonly out: number;
}

export interface RuleCounts {
  readonly rule: string;
  readonly column: string | null;
  readonly onFail: string;
  /** Rows that break it, by where they are. */
  readonly failed: Readonly<Record<Place, number>>;
  /** Of these, rows that would change sides for it. */
  readonly taken: number;
}

export interface Example {
  readonly place: Place;
  /** Null where nothing tells the target's rows apart, and the source does not say what does. */
  readonly key: string | null;
  /** Of an item of the quarantine. */
  readonly id: string | null;
  readonly to: 'through' | 'out';
  /** The rules that let it be out, with what findings say: of the new rules, or of the old ones where it would go through. */
  readonly why: readonly { readonly rule: string; readonly message: string }[];
}

export interface Backtested {
  readonly dataset: DatasetName;
  readonly pipeline: string;
  readonly revisions: { readonly before: string | null; readonly after: string };
  /** Of `out`, `others`: items that are held by something else as well: a model, the target, a change of the table, a rule that asks the target. */
  readonly quarantine: Counted & { readonly others: number };
  readonly target: Counted;
  /** null: the target keeps no versions of rows. */
  readonly history: Counted | null;
  readonly rules: readonly RuleCounts[];
  /** Rules that cannot be judged on some of it. */
  readonly unusable: readonly { readonly rule: string; readonly message: string }[];
  /** Rules that need other rows, over all that the target has. The rows stay where they are, so that none of them changes sides. */
  readonly asked: AskedCounts['counted'];
  /** Of these rules, those that can only be asked when rows are written: they are left out, and fail no row here. */
  readonly notAsked: readonly string[];
  /** Rules over windows. */
  readonly windows: WindowsTested;
  readonly examples: readonly Example[];
}

/** Open items that are looked at; more say nothing more. */
const ITEMS_MAX = 100_000;
const PAGE = 500;

export async function backtest(options: BacktestOptions): Promise<Backtested> {
  const tally = new Tally(options);
  const others = await ofQuarantine(options, tally);
  const keyNames = await keyNamesOf(options);
  const { target } = partsOf(options.config, options.pipeline);
  // Topics hold changes, and not the rows that there are.
  if (target.kind === 'kafka') return tally.result(others, false, NONE_ASKED);
  await ofTarget(options, tally, 'target', keyNames);
  const history = layoutOptions(target).get(options.after.dataset)?.history;
  const retains = (history?.from ?? null) !== null && (history?.to ?? null) !== null;
  if (retains) await ofTarget(options, tally, 'history', keyNames);
  const { url, schema } = tableTarget(options.config, options.pipeline);
  const asked = await countAsked(url.reveal(), new Layouts(schema, layoutOptions(target)), options.after, options.signal);
  return tally.result(others, retains, asked);
}

const NONE_ASKED: AskedCounts = { counted: [], unusable: [] };

/** What tells rows apart at the source; a table that keeps every version of them may have no key of its own. Null where the source does not say. */
async function keyNamesOf({ config, pipeline, after, signal }: BacktestOptions): Promise<readonly string[] | null> {
  const { source } = partsOf(config, pipeline);
  if (source.kind === 'kafka') return null;
  try {
    const table = after.dataset.slice(pipeline.source.length + 1);
    const [described] = await describeTables(source.url.reveal(), [table], pipeline.source, signal);
    const dataset = described?.dataset ?? null;
    return dataset === null ? null : dataset.key.flatMap((at) => dataset.columns[at]?.name ?? []);
  } catch (error) {
    if (error instanceof PipelineError && error.after !== 'bug') return null;
    throw error;
  }
}

/** Answers how many are held by something else as well. */
async function ofQuarantine({ config, name, pipeline, after, clock, signal }: BacktestOptions, tally: Tally): Promise<number> {
  await using sink = await openSink(config, name, pipeline, new Map(), clock, silentLogger);
  const asked = new Set(askedRules(after));
  let others = 0;
  let seen = 0;
  for (let last: string | undefined; seen < ITEMS_MAX;) {
    signal.throwIfAborted();
    const page = await sink.quarantine.find({
      dataset: after.dataset,
      status: ['held', 'waiting'],
      limit: PAGE,
      ...(last === undefined ? {} : { after: last }),
    });
    for (const item of page) {
      const isElse = isHeldElsewise(item, asked);
      if (isElse) others++;
      tally.item(item, isElse);
    }
    seen += page.length;
    last = page.at(-1)?.id;
    if (page.length < PAGE || last === undefined) break;
  }
  if (seen >= ITEMS_MAX) tally.sampled('quarantine');
  return others;
}

/** What holds it is no rule, so that no rule lets it go, or one that only the target can judge; what only waits for another goes with that one. */
function isHeldElsewise({ findings }: QuarantineItem, asked: ReadonlySet<string>): boolean {
  return findings.some(({ stage, rule }: Finding) => asked.has(rule) || (stage !== 'quality' && rule !== HOLD_KEY_RULE));
}

async function ofTarget(
  { config, pipeline, after, rowsMax, clock, signal }: BacktestOptions,
  tally: Tally,
  place: 'target' | 'history',
  keyNames: readonly string[] | null,
): Promise<void> {
  const target = tableTarget(config, pipeline);
  const layouts = new Layouts(target.schema, layoutOptions(target));
  const { schema, table } = layouts.tableOf(after.dataset);
  const options = layouts.optionsOf(after.dataset);
  const to = options?.history.to ?? null;
  const alive = aliveSql(layouts.of({ name: after.dataset, version: 1, columns: [], key: [] }), 't');
  const where = place === 'target' ? alive : `t.${quoteIdent(to ?? '')} is not null`;
  const former = new Map(Object.entries(options?.rename ?? {}).map(([from, name]) => [name, from]));
  let judged: Dataset | null = null;
  try {
    const { sampled } = await readTableRows(
      { name: pipeline.target, url: target.url.reveal(), table: `${schema}.${table}`, rowsMax, rate: null, where, clock, signal },
      (found) => {
        // Its rows, under the names that rules know its columns by.
        const columns = found.columns.map((column): Column => ({ ...column, name: former.get(column.name) ?? column.name }));
        const named = (keyNames ?? []).map((name) => columns.findIndex((column) => column.name === name));
        const key = keyNames !== null && !named.includes(-1) ? named : found.keyless === true ? [] : found.key;
        judged = { ...found, name: after.dataset, columns, key };
      },
      (row) => {
        if (judged !== null) tally.row(place, row, judged);
      },
    );
    if (sampled) tally.sampled(place);
  } catch (error) {
    // Nothing has come yet.
    if (!(error instanceof PipelineError && error.code === 'SOURCE_TABLE_MISSING')) throw error;
  }
}

const exampleKey = (dataset: Dataset, row: Row): string | null => (dataset.key.length === 0 ? null : keyOf(dataset, row));

class Tally {
  readonly #options: BacktestOptions;
  readonly #before: Sides;
  readonly #after: Sides;
  readonly #windows: BacktestWindows;
  readonly #counts: Record<Place, { rows: number; sampled: boolean; freed: number; taken: number; out: number }>;
  readonly #failed = new Map<string, { readonly failed: Record<Place, number>; taken: number }>();
  readonly #examples: Example[] = [];
  /** Items that nothing holds but one before them of their key, by the key, until that is met: the newest come first. */
  readonly #waiting = new Map<string, number>();

  constructor(options: BacktestOptions) {
    this.#options = options;
    const layouts = partsOf(options.config, options.pipeline).target;
    const layout = layouts.kind === 'kafka' ? undefined : layoutOptions(layouts).get(options.after.dataset);
    this.#windows = new BacktestWindows(options.before, options.after, layout, options.clock.now());
    this.#before = new Sides(options.before);
    this.#after = new Sides(options.after);
    const none = () => ({ rows: 0, sampled: false, freed: 0, taken: 0, out: 0 });
    this.#counts = { quarantine: none(), target: none(), history: none() };
  }

  sampled(place: Place): void {
    this.#counts[place].sampled = true;
    this.#windows.cut();
  }

  /** An item is out, whatever the rules of now say of it: they may be others than those that held it. */
  item(item: QuarantineItem, isHeldElsewise: boolean): void {
    const { id, event } = item;
    this.#windows.item(item);
    const now = this.#after.judge(event);
    this.#counts.quarantine.rows++;
    this.#countRules('quarantine', now, false);
    const { key } = event;
    const waiting = this.#waiting.get(key) ?? 0;
    if (now.out || isHeldElsewise) {
      // What only waits for it stays as well.
      this.#counts.quarantine.out += 1 + waiting;
      this.#counts.quarantine.freed -= waiting;
      this.#waiting.delete(key);
      return;
    }
    this.#counts.quarantine.freed++;
    if (item.status === 'waiting') this.#waiting.set(key, waiting + 1);
    else {
      this.#example('quarantine', event, id, 'through', this.#before.judge(event));
    }
  }

  row(place: 'target' | 'history', row: Row, dataset: Dataset): void {
    this.#windows.row(row, dataset);
    const event = readEvent(row, dataset);
    const [then, now] = [this.#before.judge(event), this.#after.judge(event)];
    const counts = this.#counts[place];
    counts.rows++;
    this.#countRules(place, now, now.out && !then.out);
    if (then.out && now.out) counts.out++;
    else if (now.out) {
      counts.taken++;
      this.#example(place, { key: exampleKey(dataset, row) }, null, 'out', now);
    } else if (then.out) {
      counts.freed++;
      this.#example(place, { key: exampleKey(dataset, row) }, null, 'through', then);
    }
  }

  #countRules(place: Place, { broken }: Side, isTaken: boolean): void {
    for (const { rule } of broken) {
      const known = this.#failed.get(rule.id) ?? { failed: { quarantine: 0, target: 0, history: 0 }, taken: 0 };
      known.failed[place]++;
      if (isTaken && rule.verdict >= Verdict.Drop) known.taken++;
      this.#failed.set(rule.id, known);
    }
  }

  /** So many of each place and direction. */
  #example(place: Place, { key }: Pick<Example, 'key'>, id: string | null, to: Example['to'], { broken }: Side): void {
    const known = this.#examples.filter((one) => one.place === place && one.to === to).length;
    if (known >= this.#options.examplesMax) return;
    const why = broken.flatMap(({ rule, message }) => (rule.verdict < Verdict.Drop ? [] : [{ rule: rule.id, message }]));
    this.#examples.push({ place, key, id, to, why });
  }

  result(others: number, retains: boolean, { counted, unusable }: AskedCounts): Backtested {
    const { name, before, after } = this.#options;
    const told = new Set([...counted, ...unusable].map(({ rule }) => rule));
    return {
      dataset: after.dataset,
      pipeline: name,
      revisions: { before: before?.revision ?? null, after: after.revision },
      quarantine: { ...this.#counts.quarantine, others },
      target: this.#counts.target,
      history: retains ? this.#counts.history : null,
      rules: after.checks.map(({ id, column, onFail }) => ({
        rule: id,
        column,
        onFail,
        ...(this.#failed.get(id) ?? { failed: { quarantine: 0, target: 0, history: 0 }, taken: 0 }),
      })),
      unusable: [...[...this.#after.unusable].map(([rule, message]) => ({ rule, message })), ...unusable],
      asked: counted,
      notAsked: askedRules(after).filter((rule) => !told.has(rule)),
      windows: this.#windows.tested(this.#options.examplesMax),
      examples: this.#examples,
    };
  }
}
