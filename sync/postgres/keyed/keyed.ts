/**
 * Judges the rules that need other rows, in the transaction of the batch that would add to them, once it is known what waits and before anything is
 * written. A few questions a batch, however many rows it has. Two lanes that write one table take turns, so that neither misses what the other adds.
 */
import { type Batch, type Finding, Verdict } from '../../../core/batch.ts';
import { PipelineError } from '../../../core/errors.ts';
import type { ChangeEvent, Dataset, DatasetName } from '../../../core/event.ts';
import { type KeyedRule, lateText, waitText } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { keysOf } from '../held-keys.ts';
import { type AskableTable, askedOf, hasIndex, indexSql, keyParts, type WantedIndex, wantedIndex } from './asked-table.ts';
import { judgeBefore } from './before.ts';
import { judgeCourse } from './course.ts';
import { heldInOrder } from './in-order.ts';
import type { Change } from './occupancy.ts';
import { indexOf, type Parents } from './parents.ts';
import { judgeReferences, mayStillCome } from './references.ts';
import { type Asked, type Asking, type Fate, type Found, type Judged, waitOf } from './rules.ts';
import { judgeSequence } from './sequence.ts';
import { judgeUnique } from './unique.ts';

export interface KeyedParts {
  readonly sql: PgConnection;
  readonly tables: { readonly known: (dataset: Dataset) => AskableTable | undefined };
  readonly parents: Parents;
  /** Those of the contract that is in force now. */
  readonly rulesOf: (dataset: Dataset) => readonly KeyedRule[];
  /** Whether indices may be made where a question would read the whole table. */
  readonly makesIndices: boolean;
  /** Whether lanes of one table are kept apart: they are, where what is judged is written. */
  readonly takesTurns: boolean;
  /** Whether an event waits for an earlier one of its key that is held. */
  readonly waits: (event: ChangeEvent) => boolean;
}

interface NamedRule {
  readonly id: string;
  readonly rule: Asked;
}

/** By the batch's own index: the event as it is to be written; null where it is not. */
export type Passing = (index: number) => ChangeEvent | null;

const TURN_SQL = "select pg_advisory_xact_lock(hashtext('tidegate.keyed'), hashtext($1::text))";

export class Keyed {
  readonly #parts: KeyedParts;
  /** What was found of a batch and lets its row pass: it is applied again, and not to be told of twice. */
  readonly #told = new WeakMap<Batch, Set<string>>();
  readonly #indexed = new Set<string>();

  constructor(parts: KeyedParts) {
    this.#parts = parts;
  }

  /** Whether the target has to be asked about a batch before it takes it. */
  concerns(batch: Batch): boolean {
    return batch.spans().some(({ dataset }) => dataset.undecoded !== true && this.#parts.rulesOf(dataset).length > 0);
  }

  /** Before the transaction begins: indices are made on their own. */
  async prepare(batch: Batch): Promise<void> {
    const { sql, makesIndices, tables, rulesOf } = this.#parts;
    if (!makesIndices) return;
    for (const dataset of new Set(batch.spans().map((span) => span.dataset))) {
      const table = dataset.undecoded === true ? undefined : tables.known(dataset);
      if (table === undefined) continue;
      for (const rule of rulesOf(dataset)) {
        const wanted = await this.#wanted(rule, table);
        if (wanted === null) continue;
        const id = JSON.stringify(wanted);
        if (this.#indexed.has(id)) continue;
        if (!(await hasIndex(sql, wanted))) await this.#makeIndex(dataset.name, wanted);
        this.#indexed.add(id);
      }
    }
  }

  async #wanted(rule: KeyedRule, table: AskableTable): Promise<WantedIndex | null> {
    const { sql, parents } = this.#parts;
    const names = table.columns.map((column) => column?.name ?? null);
    if (rule.question.kind !== 'reference') return wantedIndex(rule, table.qualified, names);
    const parent = await parents.of(sql, rule.question.parent);
    return parent === null ? null : indexOf(parent);
  }

  /** Once, however many lanes find that it is missing. */
  async #makeIndex(dataset: DatasetName, wanted: WantedIndex): Promise<void> {
    const { sql } = this.#parts;
    await sql.script('begin');
    try {
      await sql.query(TURN_SQL, [dataset]);
      if (!(await hasIndex(sql, wanted))) await sql.script(indexSql(wanted));
      await sql.script('commit');
    } catch (error) {
      if (sql.open) await sql.script('rollback');
      throw error;
    }
  }

  /** What of the batch fails. Throws RULE_HALT where a rule stops the lane. */
  async judge(batch: Batch, passing: Passing): Promise<Finding[]> {
    const judged = this.#judged(batch, passing);
    if (judged.size === 0) return [];
    if (this.#parts.takesTurns) await this.#takeTurns(judged);
    const told = this.#told.get(batch) ?? new Set<string>();
    this.#told.set(batch, told);
    const ask = async (changes: readonly Judged[]): Promise<Found[]> =>
      (await this.#ask(changes)).filter(({ index, rule }) => !told.has(`${index} ${rule.id}`));
    const holds = ([change]: readonly Judged[]): boolean => change?.rule.holds === true;
    // First what goes by the stream alone: others holding more never lets it find more.
    const inTurn = [...judged.values()].sort((a, b) => Number(isOfStream(b)) - Number(isOfStream(a)));
    const found = await heldInOrder(inTurn.filter(holds), ask, this.#parts.waits);
    // What only tells is asked once nothing more is held: what it says of a row goes by what came of those before it.
    const telling = found.length > 0 ? [] : [...judged.values()].filter((changes) => !holds(changes));
    for (const changes of telling) found.push(...(await ask(changes)));
    const findings = found.map((one) => findingOf(one, batch));
    // Only what is answered is told: where a later question fails, all of them are asked again.
    for (const { index, rule } of findings) told.add(`${index} ${rule}`);
    return findings;
  }

  /** The events of each dataset that has rules, rule by rule. */
  #judged(batch: Batch, passing: Passing): ReadonlyMap<string, readonly Judged[]> {
    const found = new Map<string, Judged[]>();
    const ofParents = this.#rulesNaming(batch);
    for (const { dataset, from, to } of batch.spans()) {
      const own = dataset.undecoded === true ? [] : this.#rulesAbout(batch, dataset);
      const named = dataset.undecoded === true ? [] : (ofParents.get(dataset.name) ?? []);
      const rules = [...own, ...named.filter(({ id }) => !own.some((rule) => rule.id === id))];
      if (rules.length === 0) continue;
      for (let index = from; index < to; index++) {
        const event = passing(index);
        const said = event ?? batch.event(index);
        for (const [at, { id, rule }] of rules.entries()) {
          const { kind } = rule.question;
          // What the stream said counts for some questions, and what is written for others.
          if (said === undefined || (event === null && kind !== 'before' && kind !== 'sequence')) continue;
          const changes = found.get(id);
          const isJudged = at < own.length && event !== null && rule.meets(event);
          const change = { index, event: said, rule, isJudged, fate: fateOf(batch, index, event) };
          if (changes === undefined) found.set(id, [change]);
          else changes.push(change);
        }
      }
    }
    for (const [id, changes] of found) if (!changes.some(({ isJudged }) => isJudged)) found.delete(id);
    return found;
  }

  /** The rules of the batch's datasets, by the dataset whose rows they name. */
  #rulesNaming(batch: Batch): ReadonlyMap<DatasetName, readonly NamedRule[]> {
    const found = new Map<DatasetName, Map<string, NamedRule>>();
    for (const dataset of new Set(batch.spans().map((span) => span.dataset))) {
      if (dataset.undecoded === true) continue;
      for (const named of this.#rulesAbout(batch, dataset)) {
        const { question } = named.rule;
        if (question.kind !== 'reference') continue;
        const known = found.get(question.parent.dataset) ?? new Map<string, NamedRule>();
        found.set(question.parent.dataset, known.set(named.id, named));
      }
    }
    return new Map([...found].map(([name, rules]) => [name, [...rules.values()]]));
  }

  #rulesAbout({ origin }: Batch, dataset: Dataset): readonly NamedRule[] {
    const rules = this.#parts.rulesOf(dataset);
    // A released row was held against what was there when it came.
    const asked = origin === 'replay' ? rules.filter(({ question }) => question.kind !== 'before') : rules;
    return asked.map((rule) => ({
      id: JSON.stringify([dataset.name, rule.id]),
      rule: { ...rule, holds: rule.verdict >= Verdict.Drop || waitOf(rule) > 0 },
    }));
  }

  #ask(changes: readonly Judged[]): Promise<Found[]> {
    const { sql, tables, parents, waits } = this.#parts;
    const asking: Asking = {
      sql,
      tableOf: (dataset, columns) => {
        const table = tables.known(dataset);
        return table === undefined ? null : askedOf(table, columns);
      },
      parentOf: (parent) => parents.of(sql, parent),
      keysOf: keysWithParts,
      waits,
      transactions,
    };
    switch (changes[0]?.rule.question.kind) {
      case 'unique':
        return judgeUnique(asking, changes);
      case 'before':
        return judgeBefore(asking, changes);
      case 'course':
        return judgeCourse(asking, changes);
      case 'sequence':
        return judgeSequence(asking, changes);
      case 'reference':
        return judgeReferences(asking, changes);
      case undefined:
        return Promise.resolve([]);
    }
  }

  async #takeTurns(judged: ReadonlyMap<string, readonly Judged[]>): Promise<void> {
    const names = new Set<DatasetName>();
    for (const [change] of judged.values()) if (change !== undefined) names.add(change.event.dataset.name);
    for (const name of [...names].sort()) await this.#parts.sql.query(TURN_SQL, [name]);
  }
}

const isOfStream = ([change]: readonly Judged[]): boolean => change?.rule.question.kind === 'before';

function fateOf(batch: Batch, index: number, written: ChangeEvent | null): Fate {
  if (written !== null) return 'written';
  return batch.verdicts[index] === Verdict.Drop ? 'dropped' : 'held';
}

function keysWithParts(events: readonly ChangeEvent[]): ReadonlyMap<string, readonly string[]> {
  const keys = new Map<string, readonly string[]>();
  for (const event of events) {
    if (event.op === 'truncate') continue;
    for (const key of keysOf(event)) if (!keys.has(key)) keys.set(key, keyParts(event.dataset, key));
  }
  return keys;
}

/** A transaction's changes stand together, as they do in the log; of rows that were read the whole batch is one. */
function transactions<T extends Change>(changes: readonly T[]): readonly (readonly T[])[] {
  const groups: T[][] = [];
  for (const change of changes) {
    const group = groups.at(-1);
    if (group?.[0]?.event.version === change.event.version) group.push(change);
    else groups.push([change]);
  }
  return groups;
}

function findingOf(found: Found, batch: Batch): Finding {
  const { index, event, rule, detail } = found;
  if (rule.halts && batch.origin !== 'replay')
    throw new PipelineError(
      'RULE_HALT',
      `judging ${event.dataset.name}: rule ${rule.id} failed for the event at ${event.version}#${event.ordinal}`,
    );
  const message = `${rule.describe(event)}${detail === undefined ? '' : `: ${detail}`}`;
  const common = { index, stage: 'quality', rule: rule.id, column: rule.column, severity: rule.severity, notify: false } as const;
  const waitMs = waitOf(rule);
  if (waitMs === 0 || !mayStillCome(found)) return { ...common, verdict: rule.verdict, message };
  const before = batch.heldFor?.[index]?.find((finding) => finding.rule === rule.id);
  // It has waited: the rule says what becomes of it now.
  if (before?.waitMs === 0) return { ...common, verdict: rule.verdict, message: `${message}${lateText(waitMs)}`, waitMs: 0 };
  return { ...common, verdict: Verdict.Quarantine, message: `${message}${waitText(waitMs)}`, waitMs };
}
