/**
 * Drafts of rule files that judge beside those in force: what each would do, were it in their place. Nothing is held, tagged or written by one, and what goes
 * wrong in one is counted and no more. Its rules that need other rows are asked of the target in the transaction that writes the batch, beside the rows that are
 * there by the rules in force. Counted once a batch is committed; since the draft was taken up, in this process.
 */
import { Batch, type Finding, Verdict } from '../core/batch.ts';
import type { Clock } from '../core/clock.ts';
import type { Observer, Stage } from '../core/contracts.ts';
import type { Dataset, DatasetName } from '../core/event.ts';
import type { DraftRules, KeyedRule, Unasked } from '../core/keyed.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { askedRules } from '../quality/asked.ts';
import type { Contract } from '../quality/contract.ts';
import { keyedRules } from '../quality/keyed.ts';
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
  /** Rules that were left out of the last batch, having no index. */
  notAsked: readonly string[];
}

/** A batch on its way. */
interface Judged {
  readonly beside: Batch;
  /** What the rules in force found by the rows alone. */
  readonly live: readonly Finding[];
  /** What the drafts' questions found; null where they could not be read. */
  asked: readonly Finding[] | null;
  unasked: readonly Unasked[];
}

const none = (): Difference => ({ events: 0, freed: 0, taken: 0, out: 0, rules: new Map(), examples: [] });

export class ShadowRules {
  readonly #rules: { readonly files: RuleFiles['files']; readonly drafts: RuleFiles['drafts'] };
  readonly #clock: Clock;
  readonly #drafts = new Map<DatasetName, Draft>();
  readonly #judged = new WeakMap<Batch, Judged>();
  /** What each would do, and so not as a shadow. */
  #enforced: ReadonlyMap<DatasetName, Contract> = new Map();
  #keyed = new WeakMap<Dataset, readonly KeyedRule[]>();
  #quality: QualityStage = qualityStage(new Map());

  constructor(rules: { readonly files: RuleFiles['files']; readonly drafts: RuleFiles['drafts'] }, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
    this.take();
  }

  /** From the next batch on. A draft that is the same goes on counting. */
  take(): void {
    const { drafts } = this.#rules;
    for (const dataset of this.#drafts.keys()) if (!drafts.has(dataset)) this.#drafts.delete(dataset);
    for (const [dataset, file] of drafts) {
      if (this.#drafts.get(dataset)?.file.contract.revision === file.contract.revision) continue;
      this.#drafts.set(dataset, { ...none(), file, sinceMs: this.#clock.now(), failures: 0, notAsked: [] });
    }
    this.#enforced = new Map([...drafts].map(([dataset, { contract }]) => [dataset, { ...contract, mode: 'enforce' }]));
    this.#keyed = new WeakMap();
    this.#quality = qualityStage(new Map(this.#enforced));
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
        this.#judged.set(batch, { beside, live: [...batch.findings], asked: [], unasked: [] });
      } catch {
        signal.throwIfAborted();
        this.#fail(batch);
      }
    },
  };

  /** For the sink of the lane that the stage stands in. */
  readonly asked: DraftRules = {
    rulesOf: (dataset) => this.#keyedOf(dataset),
    judgedBy: (batch) => this.#judged.get(batch)?.beside ?? null,
    found: (batch, findings, unasked) => {
      const judged = this.#judged.get(batch);
      if (judged === undefined) return;
      judged.asked = findings;
      judged.unasked = unasked;
    },
  };

  readonly observe: Observer = ({ batch }) => {
    const judged = this.#judged.get(batch);
    if (judged === undefined) return;
    if (judged.asked === null) {
      this.#fail(batch);
      return;
    }
    const asked = judged.asked;
    for (const [dataset, { events, freed, taken, out, rules, examples }] of this.#differences(batch, judged, asked)) {
      const draft = this.#drafts.get(dataset);
      if (draft === undefined) continue;
      draft.events += events;
      draft.freed += freed;
      draft.taken += taken;
      draft.out += out;
      for (const [rule, counts] of rules) addTo(draft.rules, rule, counts.failed, counts.taken);
      draft.examples.push(...examples);
      if (draft.examples.length > EXAMPLES_MAX) draft.examples.splice(0, draft.examples.length - EXAMPLES_MAX);
      draft.notAsked = judged.unasked.filter((one) => one.dataset === dataset).map(({ rule }) => rule);
    }
  };

  view(): readonly DraftView[] {
    return [...this.#drafts].map(([dataset, { file, sinceMs, events, freed, taken, out, failures, notAsked, rules, examples }]) => ({
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
      notAsked: [...notAsked],
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

  #fail(batch: Batch): void {
    for (const dataset of new Set(batch.spans().map((span) => span.dataset.name))) {
      const draft = this.#drafts.get(dataset);
      if (draft !== undefined) draft.failures++;
    }
  }

  /** A draft stops no lane. */
  #keyedOf(dataset: Dataset): readonly KeyedRule[] {
    const known = this.#keyed.get(dataset);
    if (known !== undefined) return known;
    const contract = this.#enforced.get(dataset.name);
    const rules = contract === undefined ? [] : keyedRules(contract, dataset).map((rule) => ({ ...rule, halts: false }));
    this.#keyed.set(dataset, rules);
    return rules;
  }

  /** What the rules in force have found: by the rows, and by asking the target. Not what models, windows or the target itself did. */
  #liveFindings(batch: Batch, { live }: Judged): readonly Finding[] {
    if (batch.findings.length === live.length) return live;
    const known = new Set(live);
    const asked = new Map<DatasetName, ReadonlySet<string>>();
    for (const dataset of this.#drafts.keys()) {
      const contract = this.#rules.files.get(dataset)?.contract;
      if (contract !== undefined) asked.set(dataset, new Set(askedRules(contract)));
    }
    const isAsked = ({ index, stage, rule }: Finding): boolean => {
      const name = batch.datasetOf(index)?.name;
      return stage === 'quality' && name !== undefined && asked.get(name)?.has(rule) === true;
    };
    return [...live, ...batch.findings.filter((finding) => !known.has(finding) && isAsked(finding))];
  }

  #differences(batch: Batch, judged: Judged, asked: readonly Finding[]): ReadonlyMap<DatasetName, Difference> {
    const found = new Map<DatasetName, Difference>();
    const [live, draft] = [byEvent(this.#liveFindings(batch, judged)), byEvent([...judged.beside.findings, ...asked])];
    for (let index = 0; index < batch.size; index++) {
      const name = batch.datasetOf(index)?.name;
      if (name === undefined || !this.#drafts.has(name)) continue;
      const of = found.get(name) ?? none();
      found.set(name, of);
      of.events++;
      const [isOut, wouldBe] = [isHeld(live.get(index)), isHeld(draft.get(index))];
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

const isHeld = (findings: readonly Finding[] = []): boolean => findings.some(({ verdict }) => verdict >= Verdict.Drop);

function byEvent(findings: readonly Finding[]): ReadonlyMap<number, readonly Finding[]> {
  const found = new Map<number, Finding[]>();
  for (const finding of findings) found.set(finding.index, [...(found.get(finding.index) ?? []), finding]);
  return found;
}
