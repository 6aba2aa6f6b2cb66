/**
 * The rules that a pipeline runs by, and how they become others while it runs.
 *
 * All files of a pipeline are taken up together or not at all. What is refused leaves those in force as they are, also over a restart: their texts are
 * kept in the state file until a good revision is taken up. Judging goes over to new rules between two batches; see Road.takeUp.
 */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import { isError, type Problem } from '../core/problems.ts';
import type { AlertData } from '../ops/alerts/events.ts';
import type { Exposition } from '../ops/prometheus.ts';
import type { LoadedConfig } from './config.ts';
import type { PipelineConfig } from './config-schema.ts';
import type { ReloadView, RulesView } from './http/shapes.ts';
import { errorFields, type Logger } from './logger.ts';
import { heldAgainstTables, loadRuleFiles, lookOfRuleFiles, type RuleFile, type RuleFiles } from './rule-files.ts';
import type { RulesBook } from './state/kept-rules.ts';

/** The rules of a pipeline at its start. */
export interface StartingRules {
  readonly files: RuleFiles['files'];
  readonly drafts: RuleFiles['drafts'];
  /** Why others than those of the files now; null where it is these. */
  readonly refused: readonly Problem[] | null;
}

export interface RulesChange {
  readonly dataset: DatasetName;
  /** Revisions; null where there were, or are, no rules. */
  readonly from: string | null;
  readonly to: string | null;
  /** Whether it is the draft that is another, and not the rules in force. */
  readonly draft: boolean;
}

export interface RulesInForceParts {
  readonly loaded: LoadedConfig;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly start: StartingRules;
  readonly kept: RulesBook;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The files have changed already. `more`: in more than what rows are judged by. */
  readonly onTakenUp: (changes: readonly RulesChange[], more: boolean) => void;
  readonly tell: <T extends 'rules.changed' | 'rules.refused'>(type: T, data: AlertData[T]) => void;
}

/** How often the files are looked at, and for how many times as long as that took they are left alone at least. */
const LOOK_MS = 1000;
const LOOK_SHARE = 50;
/** How long a source is given to say what its tables look like. */
const TABLES_MS = 3000;

export class RulesInForce {
  readonly #parts: RulesInForceParts;
  /** One map for as long as the pipeline runs: whoever asks it has the rules of that moment. */
  readonly #files: Map<DatasetName, RuleFile>;
  #drafts: RuleFiles['drafts'];
  readonly #sinceMs = new Map<DatasetName, number>();
  readonly #reloads = { 'taken-up': 0, unchanged: 0, refused: 0 };
  #refused: { readonly atMs: number; readonly problems: readonly Problem[] } | null;
  /** How the files looked when they were last read, and when they were last looked at. */
  #lookRead: string;
  #lookSeen: string;
  #changedOnDisk = false;
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(parts: RulesInForceParts) {
    const { start, clock } = parts;
    this.#parts = parts;
    this.#files = new Map(start.files);
    this.#drafts = start.drafts;
    for (const dataset of this.#files.keys()) this.#sinceMs.set(dataset, clock.now());
    this.#refused = start.refused === null ? null : { atMs: clock.now(), problems: start.refused };
    this.#lookRead = this.#look();
    this.#lookSeen = this.#lookRead;
  }

  get files(): RuleFiles['files'] {
    return this.#files;
  }

  get drafts(): RuleFiles['drafts'] {
    return this.#drafts;
  }

  /** Reads the files again and takes up what they say. One at a time, in the order of asking. */
  reload(allowRemoved: boolean): Promise<ReloadView> {
    const reloaded = this.#reloading.then(() => this.#reload(allowRemoved));
    this.#reloading = reloaded.catch(() => {}); // Whoever asked has it.
    return reloaded;
  }

  /** `drafts`: what they have come to. */
  view(drafts: RulesView['drafts']): RulesView {
    return {
      drafts,
      datasets: [...this.#files].map(([dataset, { file, contract }]) => ({
        dataset,
        file,
        version: contract.version,
        revision: contract.revision,
        mode: contract.mode,
        sinceMs: this.#sinceMs.get(dataset) ?? 0,
      })),
      changedOnDisk: this.#changedOnDisk,
      refused: this.#refused === null ? null : { atMs: this.#refused.atMs, problems: this.#refused.problems.map(problemView) },
    };
  }

  /** What is worth knowing of rules that are in force all the same. */
  notes(): readonly string[] {
    const first = this.#refused?.problems[0];
    if (first !== undefined) {
      const more = (this.#refused?.problems.length ?? 1) - 1;
      return [
        `a new revision of its rules was refused, and the one before it is in force: ${first.path}: ${first.message}${more === 0 ? '' : ` (and ${more} more)`}`,
      ];
    }
    return this.#changedOnDisk ? ['its rule files were changed and are not in force yet: `tidegate reload` takes them up'] : [];
  }

  collect(out: Exposition): void {
    const pipeline = this.#parts.name;
    for (const [dataset, { contract }] of this.#files) {
      out.gauge('tidegate_rules_revision', 'The revision of the rules in force.', { pipeline, dataset, revision: contract.revision }, 1);
    }
    out.gauge(
      'tidegate_rules_refused',
      'Whether the newest revision of the rule files was refused.',
      { pipeline },
      this.#refused === null ? 0 : 1,
    );
    for (const [outcome, count] of Object.entries(this.#reloads))
      out.counter('tidegate_rules_reloads_total', 'Times that the rule files were read again.', { pipeline, outcome }, count);
  }

  /** Looks at the files until `signal` aborts: takes them up where the config says so, else says that they differ. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock, logger, pipeline } = this.#parts;
    for (let tookMs = 0; ;) {
      await clock.sleep(Math.max(LOOK_MS, tookMs * LOOK_SHARE), signal);
      if (signal.aborted) break;
      const started = clock.monotonic();
      const look = this.#look();
      tookMs = clock.monotonic() - started;
      // Files that are being written are still changing: whoever writes several is done when they have not changed for a while.
      const isStill = look === this.#lookSeen;
      this.#lookSeen = look;
      if (!isStill || look === this.#lookRead) continue;
      if (pipeline.reload === 'watch')
        await this.reload(false).catch((error: unknown) => logger.error('rule files were not read again', errorFields(error)));
      else this.#noteChange(look);
    }
    await this.#reloading;
  }

  #noteChange(look: string): void {
    this.#lookRead = look;
    const read = this.#read();
    this.#changedOnDisk = read.problems.some(isError) || this.#changesTo(read).length > 0;
    if (this.#changedOnDisk)
      this.#parts.logger.info('rule files were changed and are not in force yet', { fix: 'Take them up by `tidegate reload` or SIGHUP.' });
  }

  #look(): string {
    const { loaded, pipeline } = this.#parts;
    return lookOfRuleFiles(loaded, pipeline, this.#files);
  }

  #read(): RuleFiles {
    const { loaded, name, pipeline } = this.#parts;
    return loadRuleFiles(loaded, name, pipeline);
  }

  async #reload(allowRemoved: boolean): Promise<ReloadView> {
    const look = this.#look();
    const read = this.#read();
    const { files, problems } = read;
    const errors = problems.filter(isError);
    // A file that could not be read is gone as well: it is told once.
    if (errors.length === 0 && !allowRemoved) errors.push(...this.#gone(files));
    const again = errors.length > 0 ? false : await this.#heldAgainst(read, errors);
    this.#lookRead = again ? '' : look;
    this.#changedOnDisk = false;
    return errors.length > 0 ? this.#refuse(errors) : this.#takeUp(read);
  }

  #gone(files: RuleFiles['files']): Problem[] {
    return [...this.#files]
      .filter(([dataset]) => !files.has(dataset))
      .map(([dataset, { file }]) => ({
        severity: 'error',
        path: file,
        message: `the rule file of ${dataset} is gone: its rows would pass unjudged`,
        fix: 'Put it back, or say that you mean it: `tidegate reload --allow-removed`.',
      }));
  }

  /** Whether to try again by itself: a source that is away says nothing of the rules. */
  async #heldAgainst({ files, drafts }: RuleFiles, errors: Problem[]): Promise<boolean> {
    const { loaded, name, pipeline } = this.#parts;
    try {
      const { refused } = await heldAgainstTables(loaded, pipeline, files, drafts, AbortSignal.timeout(TABLES_MS));
      errors.push(...refused.filter(isError));
      return false;
    } catch (error) {
      if (!(error instanceof PipelineError) || error.after === 'bug') throw error;
      errors.push({
        severity: 'error',
        path: loaded.place('pipelines', name, 'source'),
        message: `the rules cannot be held against their tables: ${error.message}`,
        fix: 'Reload once the source answers; the rules in force stay as they are.',
      });
      return true;
    }
  }

  #refuse(problems: readonly Problem[]): ReloadView {
    const { name, clock, logger, kept, tell } = this.#parts;
    const isNews = JSON.stringify(problems) !== JSON.stringify(this.#refused?.problems);
    kept.set(
      name,
      [...this.#files.values(), ...this.#drafts.values()].map(({ text }) => text),
    );
    this.#reloads.refused++;
    if (isNews) {
      this.#refused = { atMs: clock.now(), problems };
      for (const { path, message, fix } of problems)
        logger.warn('a new revision of the rules was refused: the one before stays in force', { path, message, fix });
      const [first] = problems;
      if (first !== undefined)
        tell('rules.refused', { pipeline: name, path: first.path, message: first.message, fix: first.fix, problems: problems.length });
    }
    return { outcome: 'refused', changes: [], problems: problems.map(problemView) };
  }

  #takeUp(read: RuleFiles): ReloadView {
    const { files, drafts, problems } = read;
    const { name, clock, logger, kept, tell, onTakenUp } = this.#parts;
    const changes = this.#changesTo(read);
    const isMore = changes.some(({ dataset, draft }) => !draft && settingsOf(this.#files.get(dataset)) !== settingsOf(files.get(dataset)));
    const warnings = problems.map(problemView);
    kept.clear(name);
    this.#refused = null;
    if (changes.length === 0) {
      this.#reloads.unchanged++;
      return { outcome: 'unchanged', changes: [], problems: warnings };
    }
    this.#drafts = drafts;
    for (const { dataset, draft } of changes) {
      if (draft) continue;
      const file = files.get(dataset);
      if (file === undefined) this.#files.delete(dataset);
      else this.#files.set(dataset, file);
      this.#sinceMs.set(dataset, clock.now());
    }
    onTakenUp(changes, isMore);
    this.#reloads['taken-up']++;
    for (const { dataset, from, to, draft } of changes)
      logger.info(draft ? 'a draft of rules was taken up' : 'rules were taken up', { dataset, from, to });
    for (const { path, message, fix } of problems) logger.warn(message, { path, fix });
    const inForce = changes.filter(({ draft }) => !draft).map(({ dataset, from, to }) => ({ dataset, from, to }));
    if (inForce.length > 0) tell('rules.changed', { pipeline: name, changes: inForce });
    return { outcome: 'taken-up', changes, problems: warnings };
  }

  #changesTo({ files, drafts }: RuleFiles): readonly RulesChange[] {
    return [...changesBetween(this.#files, files, false), ...changesBetween(this.#drafts, drafts, true)];
  }
}

/** The rules to start a pipeline by: those of its files, or those in force when these were refused. Problems with an error among them: neither can be used. */
export async function startingRules(
  loaded: LoadedConfig,
  name: string,
  pipeline: PipelineConfig,
  kept: RulesBook | null,
  unusable: (files: RuleFiles) => Promise<readonly Problem[]>,
): Promise<StartingRules & { readonly problems: readonly Problem[] }> {
  const now = loadRuleFiles(loaded, name, pipeline);
  const problems = now.problems.some(isError) ? now.problems : [...now.problems, ...(await unusable(now))];
  if (!problems.some(isError)) return { ...now, problems, refused: null };
  const texts = kept?.get(name) ?? null;
  const before = texts === null ? null : loadRuleFiles(loaded, name, pipeline, texts);
  if (before === null || before.problems.some(isError)) return { ...now, problems, refused: null };
  return { ...before, refused: problems.filter(isError) };
}

function changesBetween(before: RuleFiles['files'], after: RuleFiles['files'], draft: boolean): readonly RulesChange[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((dataset) => {
    const from = before.get(dataset)?.contract.revision ?? null;
    const to = after.get(dataset)?.contract.revision ?? null;
    return from === to ? [] : [{ dataset, from, to, draft }];
  });
}

/** What the target's session, and not the judging, goes by. */
function settingsOf(file: RuleFile | undefined): string {
  if (file === undefined) return '';
  const { hold, schema, evolution, mode } = file.contract;
  return JSON.stringify([hold, schema, evolution, mode]);
}

const problemView = ({ severity, path, message, fix }: Problem) => ({ severity, path, message, fix });
