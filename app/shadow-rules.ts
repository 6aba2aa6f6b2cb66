/**
 * Drafts of rule files that judge beside those in force: what each would do, were it in their place. Nothing is held, tagged or delayed by one, and what goes
 * wrong in one is counted and no more. Counted once a batch is committed; since the draft was taken up, in this process.
 */
import { Batch, type Finding, Verdict } from '../core/batch.ts';
import type { Clock } from '../core/clock.ts';
import type { Observer, Stage } from '../core/contracts.ts';
import type { DatasetName } from '../core/event.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { askedRules } from '../quality/asked.ts';
import { type QualityStage, qualityStage } from '../quality/stage.ts';
import type { DraftView } from './http/shapes.ts';
import type { RuleFile, RuleFiles } from './rule-files.ts';

/** The newest are kept. */
const EXAMPLES_MAX = 20;

type Example = DraftView['examples'][number];

/** What one batch came to for one dataset. */
interface Difference {
  events: number;
  freed: number;
  taken: number;
  out: number;
  readonly rules: Map<string, { failed: number; taken: number }>;
  readonly examples: Example[];
}

interface Draft extends Difference {
  readonly file: RuleFile;
  readonly sinceMs: number;
  /** Batches that it could not judge. */
  failures: number;
}

const none = (): Difference => ({ events: 0, freed: 0, taken: 0, out: 0, rules: new Map(), examples: [] });

export class ShadowRules {
  readonly #clock: Clock;
  readonly #drafts = new Map<DatasetName, Draft>();
  readonly #judged = new WeakMap<Batch, ReadonlyMap<DatasetName, Difference>>();
  #quality: QualityStage = qualityStage(new Map());

  constructor(drafts: RuleFiles['drafts'], clock: Clock) {
    this.#clock = clock;
    this.take(drafts);
  }

  /** From the next batch on. A draft that is the same goes on counting. */
  take(drafts: RuleFiles['drafts']): void {
    for (const dataset of this.#drafts.keys()) if (!drafts.has(dataset)) this.#drafts.delete(dataset);
    for (const [dataset, file] of drafts) {
      if (this.#drafts.get(dataset)?.file.contract.revision === file.contract.revision) continue;
      this.#drafts.set(dataset, { ...none(), file, sinceMs: this.#clock.now(), failures: 0 });
    }
    // What it would do, and so not as a shadow.
    this.#quality = qualityStage(new Map([...drafts].map(([dataset, { contract }]) => [dataset, { ...contract, mode: 'enforce' }])));
  }

  /** To be run behind the rules in force, and before anything else finds something. */
  readonly stage: Stage = {
    name: 'quality',
    run: async (batch, signal) => {
      if (this.#drafts.size === 0) return;
      const { run } = batch;
      // Rows that no draft is about are not made objects for it.
      if (run === null ? !batch.events.some(({ dataset }) => this.#drafts.has(dataset.name)) : !this.#drafts.has(run.dataset.name)) return;
      // As released events are judged: what would halt the lane is held instead.
      const beside = new Batch(run ?? batch.events, batch.checkpoint, 'replay');
      try {
        await this.#quality.run(beside, signal);
        this.#judged.set(batch, this.#differences(batch, beside));
      } catch {
        signal.throwIfAborted();
        for (const dataset of run === null ? new Set(batch.events.map((event) => event.dataset.name)) : [run.dataset.name]) {
          const draft = this.#drafts.get(dataset);
          if (draft !== undefined) draft.failures++;
        }
      }
    },
  };

  readonly observe: Observer = ({ batch }) => {
    for (const [dataset, { events, freed, taken, out, rules, examples }] of this.#judged.get(batch) ?? []) {
      const draft = this.#drafts.get(dataset);
      if (draft === undefined) continue;
      draft.events += events;
      draft.freed += freed;
      draft.taken += taken;
      draft.out += out;
      for (const [rule, counts] of rules) addTo(draft.rules, rule, counts.failed, counts.taken);
      draft.examples.push(...examples);
      if (draft.examples.length > EXAMPLES_MAX) draft.examples.splice(0, draft.examples.length - EXAMPLES_MAX);
    }
  };

  view(): readonly DraftView[] {
    return [...this.#drafts].map(([dataset, { file, sinceMs, events, freed, taken, out, failures, rules, examples }]) => ({
      dataset,
      file: file.file,
      revision: file.contract.revision,
      sinceMs,
      events,
      freed,
      taken,
      out,
      failures,
      rules: file.contract.checks.map(({ id }) => ({ rule: id, ...(rules.get(id) ?? { failed: 0, taken: 0 }) })),
      notAsked: [...askedRules(file.contract)],
      examples: [...examples].reverse(),
    }));
  }

  collect(pipeline: string, out: Exposition): void {
    const help = 'Events that a draft of rules judged, by what it would change: freed, taken, or nothing (same).';
    for (const [dataset, { events, freed, taken, rules }] of this.#drafts) {
      for (const [side, count] of Object.entries({ freed, taken, same: events - freed - taken }))
        out.counter('tidegate_draft_events_total', help, { pipeline, dataset, side }, count);
      for (const [rule, { failed }] of rules)
        out.counter('tidegate_draft_failed_total', 'Events that break a rule of a draft.', { pipeline, dataset, rule }, failed);
    }
  }

  #differences(batch: Batch, beside: Batch): ReadonlyMap<DatasetName, Difference> {
    const found = new Map<DatasetName, Difference>();
    const [live, draft] = [byEvent(batch.findings), byEvent(beside.findings)];
    for (let index = 0; index < batch.size; index++) {
      const name = batch.datasetOf(index)?.name;
      if (name === undefined || !this.#drafts.has(name)) continue;
      const of = found.get(name) ?? none();
      found.set(name, of);
      of.events++;
      const [isOut, wouldBe] = [!batch.passes(index), !beside.passes(index)];
      for (const { rule, verdict } of draft.get(index) ?? [])
        addTo(of.rules, rule, 1, wouldBe && !isOut && verdict >= Verdict.Drop ? 1 : 0);
      if (isOut && wouldBe) of.out++;
      if (isOut === wouldBe) continue;
      if (wouldBe) of.taken++;
      else of.freed++;
      const event = batch.event(index);
      if (event === undefined) continue;
      if (of.examples.length === EXAMPLES_MAX) of.examples.shift();
      const why = (wouldBe ? draft : live).get(index)?.filter(({ verdict }) => verdict >= Verdict.Drop) ?? [];
      of.examples.push({
        key: event.key,
        op: event.op,
        committedAtMs: event.committedAtMs,
        to: wouldBe ? 'out' : 'through',
        why: why.map(({ rule, message }) => ({ rule, message })),
      });
    }
    return found;
  }
}

function addTo(rules: Difference['rules'], rule: string, failed: number, taken: number): void {
  const known = rules.get(rule);
  if (known === undefined) rules.set(rule, { failed, taken });
  else {
    known.failed += failed;
    known.taken += taken;
  }
}

function byEvent(findings: readonly Finding[]): ReadonlyMap<number, readonly Finding[]> {
  const found = new Map<number, Finding[]>();
  for (const finding of findings) found.set(finding.index, [...(found.get(finding.index) ?? []), finding]);
  return found;
}
