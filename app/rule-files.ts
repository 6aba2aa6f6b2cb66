/** The rule files of a pipeline: found by the config's patterns, read, and held against the tables they are about. */
import { globSync, readFileSync, statSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { describeTables } from '../cdc/postgres/source.ts';
import type { Dataset, DatasetName } from '../core/event.ts';
import { isError, type Problem } from '../core/problems.ts';
import { compileContract } from '../quality/compile.ts';
import { type Contract, parseContract } from '../quality/contract.ts';
import { gapsOverPartitions } from '../quality/asked.ts';
import { oldRowsOfTopics } from '../quality/live/binding.ts';
import { datasetsOf, type LoadedConfig, mayBring, partsOf } from './config.ts';
import { nearest } from './config-read.ts';
import { tablePatterns } from './connect.ts';
import { strangeBeside } from './beside.ts';
import { parentProblems, strangeParents } from './references.ts';
import { strangeModels } from './scored-models.ts';
import { timerProblems, unasked } from './timers/load.ts';
import type { PipelineConfig } from './config-schema.ts';

export interface RuleFile {
  /** Relative to the config file, as people know it. */
  readonly file: string;
  readonly contract: Contract;
  readonly text: RuleText;
}

/** A rule file as it was read, with the schemas that it names: all that it takes to have the same rules again. */
export interface RuleText {
  readonly path: string;
  readonly text: string;
  /** By the path that the file writes. */
  readonly schemas: Readonly<Record<string, string>>;
}

export interface RuleFiles {
  readonly files: ReadonlyMap<DatasetName, RuleFile>;
  /** Of datasets with two files: the one in shadow mode, which judges beside the other. */
  readonly drafts: ReadonlyMap<DatasetName, RuleFile>;
  /** Errors in the files, and a warning for each dataset without one. */
  readonly problems: readonly Problem[];
}

/** The rules of a pipeline as its files say them now; or as `texts` have them, which were read another time. */
export function loadRuleFiles(
  loaded: LoadedConfig,
  pipelineName: string,
  pipeline: PipelineConfig,
  texts: readonly RuleText[] | null = null,
): RuleFiles {
  const problems: Problem[] = [];
  const files = new Map<DatasetName, RuleFile>();
  const drafts = new Map<DatasetName, RuleFile>();
  const { source, target } = partsOf(loaded.config, pipeline);
  const datasets = datasetsOf(pipeline.source, source);
  const place = loaded.place('pipelines', pipelineName, 'datasets');
  for (const given of texts ?? readTexts(findFiles(loaded.folder, pipeline, place, problems), loaded.folder, problems)) {
    const { path } = given;
    const file = relative(loaded.folder, path);
    const schemas: Record<string, string> = { ...given.schemas };
    // Relative to where the person stands: the path is printed.
    const parsed = parseContract(given.text, relative('.', path), 'stream', (name) => {
      schemas[name] ??= readFileSync(resolve(dirname(path), name), 'utf8');
      return schemas[name];
    });
    if ('problems' in parsed) {
      problems.push(...parsed.problems);
      continue;
    }
    problems.push(...parsed.contract.warnings, ...(target.kind === 'postgres' ? [] : unanswered(parsed.contract)));
    const { dataset } = parsed.contract;
    const other = files.get(dataset);
    const found: RuleFile = { file, contract: parsed.contract, text: { path, text: given.text, schemas } };
    if (other !== undefined) {
      const [draft, live] = parsed.contract.mode === 'shadow' ? [found, other] : [other, found];
      if (draft.contract.mode === 'shadow' && live.contract.mode === 'enforce' && !drafts.has(dataset)) {
        drafts.set(dataset, draft);
        files.set(dataset, live);
        continue;
      }
      problems.push({
        severity: 'error',
        path: `${file}: dataset`,
        message: `${dataset} has a rule file already: ${other.file}`,
        fix: 'Put all its rules into one file. A second one may be a draft beside it, with `mode: shadow`.',
      });
    } else if (!mayBring(pipeline.source, source, dataset)) {
      // A folder of rule files may serve several pipelines: one about another source is none of this one's business.
      const elsewhere =
        !dataset.startsWith(`${pipeline.source}.`) && Object.keys(loaded.config.sources).some((name) => dataset.startsWith(`${name}.`));
      if (elsewhere) continue;
      const near = nearest(dataset, datasets);
      problems.push({
        severity: 'error',
        path: `${file}: dataset`,
        message: `${dataset} is none of the tables of the pipeline ${pipelineName}`,
        fix:
          near === null
            ? `Name one of ${datasets.join(', ')}, or add its table to the source ${pipeline.source}.`
            : `Did you mean ${near}?`,
      });
    } else files.set(dataset, found);
  }
  for (const dataset of datasets) {
    if (files.has(dataset) || problems.some(isError)) continue;
    problems.push({
      severity: 'warning',
      path: place,
      message: `${dataset} has no rule file: its rows pass unjudged`,
      fix: 'Write one (`tidegate init` makes first ones), or leave it so.',
    });
  }
  for (const { contract } of [...files.values(), ...drafts.values()]) {
    const brings = (dataset: DatasetName): boolean => mayBring(pipeline.source, source, dataset);
    problems.push(...strangeParents(contract, pipelineName, datasets, brings));
    const contractOf = (dataset: DatasetName) => files.get(dataset)?.contract;
    problems.push(...strangeBeside(contract, { pipeline: pipelineName, datasets, mayBring: brings, contractOf }));
    problems.push(...unasked(contract, { config: loaded.config, name: pipelineName, pipeline, datasets, mayBring: brings }));
    problems.push(...strangeModels(contract, pipelineName, pipeline.models));
    if (source.kind === 'kafka') problems.push(...gapsOverPartitions(contract, pipeline.source));
    if (source.kind === 'kafka' && source.oldRows === 'key') problems.push(...oldRowsOfTopics(contract, pipeline.source));
  }
  return { files, drafts, problems };
}

export interface HeldAgainstTables {
  readonly datasets: readonly Dataset[];
  /** What keeps a rule from being used at all: a column that is not there, a check that is not for its type. */
  readonly refused: readonly Problem[];
  /** The datasets that those are of. */
  readonly refusedOf: ReadonlyMap<Problem, DatasetName>;
  /** What is odd, and what the table has become that its contract halts at. */
  readonly noted: readonly Problem[];
}

/** The rules beside their tables as these are now. Asks the source; throws where it cannot be asked. */
export async function heldAgainstTables(
  { config }: LoadedConfig,
  pipeline: PipelineConfig,
  files: RuleFiles['files'],
  drafts: RuleFiles['drafts'],
  signal?: AbortSignal,
): Promise<HeldAgainstTables> {
  const { source, target } = partsOf(config, pipeline);
  const datasets: Dataset[] = [];
  const [refused, noted]: [Problem[], Problem[]] = [[], []];
  const refusedOf = new Map<Problem, DatasetName>();
  const refuse = (problems: readonly Problem[], { name }: Dataset): void => {
    refused.push(...problems);
    for (const problem of problems) refusedOf.set(problem, name);
  };
  const contracts = [...files.values()].map(({ contract }) => contract);
  for (const { dataset, problem } of await timerProblems(contracts, config, pipeline, signal)) {
    if (problem.severity === 'warning') noted.push(problem);
    else refused.push(problem);
    refusedOf.set(problem, dataset);
  }
  // Topics tell of a table's columns with each record, and not before.
  if (source.kind === 'kafka') return { datasets, refused, refusedOf, noted };
  const tables = await describeTables(source.url.reveal(), source.tables, pipeline.source, signal, {
    publication: source.publication,
    patterns: tablePatterns(pipeline.source, source, target),
  });
  for (const { dataset, oldRows } of tables) {
    if (dataset === null) continue;
    datasets.push(dataset);
    for (const rules of [files.get(dataset.name), drafts.get(dataset.name)]) {
      const compiled = rules === undefined ? [] : compileContract(rules.contract, dataset, { oldRows });
      if ('warnings' in compiled) noted.push(...compiled.warnings);
      else refuse(compiled, dataset);
    }
  }
  for (const dataset of datasets)
    for (const rules of [files.get(dataset.name), drafts.get(dataset.name)])
      if (rules !== undefined) refuse(parentProblems(rules.contract, dataset, datasets), dataset);
  return { datasets, refused, refusedOf, noted };
}

/** Topics keep no rows that could be asked for. */
const unanswered = (contract: Contract): Problem[] =>
  ofAsked(contract, (name) => ({
    severity: 'error',
    message: `${name} is asked of the target's table, and this pipeline writes topics`,
    fix: 'Remove the check, or judge it in a pipeline that writes to PostgreSQL.',
  }));

function ofAsked({ checks, place }: Contract, say: (name: string) => Omit<Problem, 'path'>): Problem[] {
  return checks.flatMap(({ expectation: { asksTarget, name }, keys }) => (asksTarget === null ? [] : { ...say(name), path: place(keys) }));
}

function readTexts(paths: readonly string[], folder: string, problems: Problem[]): RuleText[] {
  return paths.flatMap((path) => {
    try {
      return [{ path, text: readFileSync(path, 'utf8'), schemas: {} }];
    } catch {
      problems.push({
        severity: 'error',
        path: relative(folder, path),
        message: 'the rule file cannot be read',
        fix: 'Let the user that Tidegate runs as read it.',
      });
      return [];
    }
  });
}

/** What the files look like from outside: differs where one was written, came or went. */
export function lookOfRuleFiles({ folder }: LoadedConfig, pipeline: PipelineConfig, known: RuleFiles['files']): string {
  const named = [...known.values()].flatMap(({ text }) => Object.keys(text.schemas).map((name) => resolve(dirname(text.path), name)));
  const looks = [...new Set([...findFiles(folder, pipeline, '', []), ...named])].map((path) => {
    try {
      const { ino, size, mtimeMs, ctimeMs } = statSync(path);
      return `${path} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    } catch {
      return `${path} cannot be looked at`;
    }
  });
  return looks.join('\n');
}

function findFiles(folder: string, pipeline: PipelineConfig, place: string, problems: Problem[]): readonly string[] {
  const patterns = typeof pipeline.datasets === 'string' ? [pipeline.datasets] : pipeline.datasets;
  const found = new Set<string>();
  for (const pattern of patterns) {
    const paths = globSync(pattern, { cwd: folder }).map((path) => resolve(folder, path));
    const matches = paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
    if (matches.length === 0) {
      // Whoever names one file means it; a pattern may be there before its files are.
      const isOne = !/[*?[{]/.test(pattern);
      problems.push({
        severity: isOne ? 'error' : 'warning',
        path: place,
        message: isOne ? `there is no file ${pattern}, and its rows would pass unjudged` : `nothing matches ${pattern}`,
        fix: `Check the ${isOne ? 'path' : 'pattern'}; it is relative to the config file.`,
      });
    }
    for (const path of matches.sort()) found.add(path);
  }
  return [...found];
}
