/** The service levels of a pipeline: measured while it runs, told to people as incidents that open and are resolved, and shown as lists. */
import type { Clock } from '../core/clock.ts';
import { formatMillis } from '../core/duration.ts';
import type { DatasetName } from '../core/event.ts';
import { MINUTE_MS, type Objective, type SloIncident, type SloLook, type SloStore, type SloTrouble } from '../core/slo.ts';
import type { AlertData } from '../ops/alerts/events.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { promiseText, reportOf, type SloReport, spansOf } from '../ops/slo.ts';
import type { Contract } from '../quality/contract.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import type { Desk } from './desk.ts';
import type { IncidentView, SlosView, SloView } from './http/rule-shapes.ts';

/** How often they are measured, and how often what is kept of them is compacted. */
const MEASURE_MS = 5000;
const COMPACT_MS = 3_600_000;
const INCIDENTS_MAX = 100;

type SloAlerts = 'slo.opened' | 'slo.resolved';

export interface SloWatchParts {
  readonly pipeline: string;
  readonly desk: Desk;
  readonly clock: Clock;
  readonly contracts: () => ReadonlyMap<DatasetName, Contract>;
  readonly tell: <T extends SloAlerts>(type: T, data: AlertData[T]) => Promise<void>;
}

interface Promised {
  readonly dataset: DatasetName;
  readonly objective: Objective;
}

interface Measured extends Promised {
  readonly report: SloReport;
}

export class SloWatch {
  readonly #parts: SloWatchParts;
  readonly #sinceMs: number;
  /** Null before the first: what an earlier process kept for other rules is not known then. */
  #contracts: readonly Contract[] | null = null;
  #measured: readonly Measured[] = [];
  #measuredAtMs = Number.NEGATIVE_INFINITY;
  #compactedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SloWatchParts) {
    this.#parts = parts;
    this.#sinceMs = parts.clock.now();
  }

  get now(): readonly SloView[] {
    return this.#measured.map((measured) => sloView(this.#parts.pipeline, measured));
  }

  /** Measures, opens and resolves incidents, and tells people. Throws where the target cannot be asked. */
  async look(): Promise<void> {
    const { desk, clock, contracts } = this.#parts;
    const known = [...contracts().values()].filter(({ slo }) => slo.length > 0);
    const changed = this.#contracts?.length !== known.length || known.some((contract, i) => contract !== this.#contracts?.[i]);
    if (!changed && (known.length === 0 || clock.monotonic() - this.#measuredAtMs < MEASURE_MS)) return;
    const promised = promisedBy(known);
    const nowMs = clock.now();
    this.#measured = await desk.withSink(async (sink) => {
      if (changed) await sink.slo.forgetLooks(promised.map(({ dataset, objective: { counted } }) => ({ dataset, counted })));
      await this.#judgeMinutes(sink, promised, nowMs);
      return measure(sink.slo, promised, nowMs);
    });
    await desk.withSink(({ slo }) => this.#keepIncidents(slo, nowMs));
    await desk.withSink(({ slo }) => this.#tellAll(slo));
    if (clock.monotonic() - this.#compactedAtMs >= COMPACT_MS) {
      await desk.withSink(({ slo }) => slo.compact(nowMs));
      this.#compactedAtMs = clock.monotonic();
    }
    this.#contracts = known;
    this.#measuredAtMs = clock.monotonic();
  }

  expose(out: Exposition): void {
    for (const { dataset, objective, report } of this.#measured) {
      const labels = { pipeline: this.#parts.pipeline, dataset, slo: objective.id };
      out.gauge('tidegate_slo_objective_ratio', 'The share that is promised to be good.', labels, objective.percent / 100);
      for (const result of ['good', 'bad'] as const)
        out.gauge('tidegate_slo_counted', 'What was counted in the time of the service level.', { ...labels, result }, report[result]);
      if (report.budgetLeft !== null)
        out.gauge('tidegate_slo_error_budget_left_ratio', 'The share of the error budget that is left.', labels, report.budgetLeft);
      const rates = new Map(
        report.burns.flatMap(({ longMs, shortMs, long, short }) => [
          [longMs, long],
          [shortMs, short],
        ]),
      );
      for (const [ms, rate] of rates)
        if (rate !== null)
          out.gauge(
            'tidegate_slo_burn_rate',
            'How many times too fast the budget is used up.',
            { ...labels, window: formatMillis(ms) },
            rate,
          );
      for (const cause of ['burn', 'budget'] as const)
        out.gauge(
          'tidegate_slo_in_trouble',
          'Whether the budget is used up too fast (burn), or used up (budget).',
          { ...labels, cause },
          report.troubles.some((trouble) => trouble.cause === cause) ? 1 : 0,
        );
    }
  }

  async #judgeMinutes({ slo, windows }: PostgresSink, promised: readonly Promised[], nowMs: number): Promise<void> {
    for (const { dataset, objective } of promised) {
      if (objective.maxAgeMs === null) continue;
      const last = await slo.lastLook(dataset, objective.counted);
      const lastMs = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS - MINUTE_MS;
      if (last !== null && last.minuteMs >= lastMs) continue;
      const [newestMs = null] = await windows.newestRows([dataset]);
      const look = { minuteMs: lastMs, newestMs };
      const minutes = last === null ? [] : judgedMinutes(objective, last, look, this.#sinceMs);
      await slo.keepMinutes(dataset, objective.counted, minutes, look);
    }
  }

  /** What has begun is opened, what has become worse is noted, and what is over, or promised no more, is resolved. */
  async #keepIncidents(slo: SloStore, nowMs: number): Promise<void> {
    const troubles = this.#measured.flatMap(({ dataset, objective, report }) =>
      report.troubles.map((trouble): SloTrouble => ({ dataset, slo: objective.id, ...trouble })),
    );
    const open = (await slo.pending()).filter(({ resolvedMs }) => resolvedMs === null);
    for (const incident of open) {
      const trouble = troubles.find((one) => keyOf(one) === keyOf(incident));
      if (trouble === undefined) await slo.resolve(incident.id, nowMs);
      else if (trouble.severity !== incident.severity) await slo.change(incident.id, trouble);
    }
    const known = new Set(open.map(keyOf));
    for (const trouble of troubles) if (!known.has(keyOf(trouble))) await slo.open(trouble, nowMs);
  }

  /** Told before that is noted: so a crash in between may tell twice, and never not at all. */
  async #tellAll(slo: SloStore): Promise<void> {
    const { tell } = this.#parts;
    for (const incident of await slo.pending()) {
      const { id, severity, told, message, openedMs, resolvedMs } = incident;
      const common = this.#alertOf(incident);
      if (told === null || (told === 'warning' && severity === 'critical')) {
        await tell('slo.opened', { ...common, message });
        await slo.told(id, severity);
      }
      if (resolvedMs === null) continue;
      await tell('slo.resolved', { ...common, openMs: resolvedMs - openedMs });
      await slo.told(id, 'resolved');
    }
  }

  #alertOf({ id, dataset, slo, cause, severity }: SloIncident) {
    return { pipeline: this.#parts.pipeline, dataset, slo, incident: id, cause, severity };
  }
}

const keyOf = ({ dataset, slo, cause }: Pick<SloTrouble, 'dataset' | 'slo' | 'cause'>): string => JSON.stringify([dataset, slo, cause]);

const promisedBy = (contracts: Iterable<Contract>): readonly Promised[] =>
  [...contracts].flatMap(({ dataset, slo }) => slo.map((objective) => ({ dataset, objective })));

async function measure(slo: SloStore, promised: readonly Promised[], nowMs: number): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  for (const { dataset, objective } of promised) {
    const since = spansOf(objective).map((ms) => nowMs - ms);
    const counts =
      objective.of === 'windows'
        ? await slo.windowCounts(dataset, objective.rules, since)
        : await slo.counts(dataset, objective.counted, since);
    measured.push({ dataset, objective, report: reportOf(objective, counts) });
  }
  return measured;
}

/**
 * The minutes since the last look. Where several have gone by, nobody looked, and nobody wrote: the newest row was the one of before. Until there is a row, its age is
 * that of the watching.
 */
export function judgedMinutes({ maxAgeMs, overMs }: Objective, last: SloLook, now: SloLook, sinceMs: number) {
  const minutes: { minuteMs: number; good: number; bad: number }[] = [];
  for (let minuteMs = Math.max(last.minuteMs + MINUTE_MS, now.minuteMs - overMs); minuteMs <= now.minuteMs; minuteMs += MINUTE_MS) {
    const newestMs = (minuteMs === now.minuteMs ? null : last.newestMs) ?? now.newestMs ?? sinceMs;
    const isFresh = minuteMs + MINUTE_MS - newestMs <= (maxAgeMs ?? 0);
    minutes.push({ minuteMs, good: isFresh ? 1 : 0, bad: isFresh ? 0 : 1 });
  }
  return minutes;
}

/** Measured at the targets now, whether or not a service runs. */
export async function listSlo(desks: readonly Desk[], dataset: DatasetName | null, nowMs: number): Promise<SlosView> {
  const isAsked = (of: string): boolean => dataset === null || of === dataset;
  const lists = await Promise.all(
    desks.map((desk) =>
      desk.withSink(async ({ slo }) => {
        const promised = promisedBy(desk.contracts().values()).filter((one) => isAsked(one.dataset));
        const objectives = (await measure(slo, promised, nowMs)).map((measured) => sloView(desk.pipeline, measured));
        const incidents = (await slo.incidents(INCIDENTS_MAX)).filter((one) => isAsked(one.dataset));
        return { objectives, incidents: incidents.map((incident) => incidentView(desk.pipeline, incident)) };
      }),
    ),
  );
  return { objectives: lists.flatMap(({ objectives }) => objectives), incidents: lists.flatMap(({ incidents }) => incidents) };
}

function sloView(pipeline: string, { dataset, objective, report }: Measured): SloView {
  const { id, percent, of, rules, overMs } = objective;
  const { good, bad, budgetLeft, burns, troubles } = report;
  return {
    pipeline,
    dataset,
    id,
    promise: promiseText(objective),
    objective: percent,
    of,
    rules: [...rules],
    overMs,
    good,
    bad,
    budgetLeft,
    burns: burns.map((burn) => ({ ...burn, window: formatMillis(burn.longMs) })),
    troubles: troubles.map(({ message }) => message),
  };
}

function incidentView(pipeline: string, incident: SloIncident): IncidentView {
  const { dataset, slo, id, cause, severity, message, openedMs, resolvedMs } = incident;
  return { pipeline, dataset, slo, id, cause, severity, message, openedMs, resolvedMs };
}
