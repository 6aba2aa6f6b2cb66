/**
 * Asks the rules of drafts that need other rows, in the transaction that writes the batch, once those in force are done with it. Nothing is held, written, locked or
 * made for a draft: a question that would have to read a whole table is left out, and one that the target cannot read fails by itself.
 */
import { type Batch, type Finding, Verdict } from '../../../core/batch.ts';
import type { ChangeEvent, Dataset } from '../../../core/event.ts';
import type { DraftRules, KeyedRule, Unasked } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { isRefusal } from '../failures.ts';
import { type AskableTable, hasIndex, type WantedIndex, wantedIndex } from './asked-table.ts';
import { Keyed } from './keyed.ts';
import { indexOf, type Parents } from './parents.ts';

export interface AskedDraftsParts {
  readonly sql: PgConnection;
  readonly drafts: DraftRules;
  readonly tables: { readonly known: (dataset: Dataset) => AskableTable | undefined };
  readonly parents: Parents;
  readonly waits: (event: ChangeEvent) => boolean;
}

/** A table of up to so many bytes is read whole where no index finds its rows. */
const UNINDEXED_BYTES_MAX = 1 << 20;
/** A partitioned table is as large as its parts. */
const SIZE_SQL = 'select coalesce(sum(pg_relation_size(relid)), pg_relation_size(to_regclass($1))) from pg_partition_tree(to_regclass($1))';

export class AskedDrafts {
  readonly #parts: AskedDraftsParts;
  readonly #indexed = new Set<string>();

  constructor(parts: AskedDraftsParts) {
    this.#parts = parts;
  }

  concerns(batch: Batch): boolean {
    const { drafts } = this.#parts;
    if (batch.origin === 'replay' || drafts.judgedBy(batch) === null) return false;
    return batch.spans().some(({ dataset }) => dataset.undecoded !== true && drafts.rulesOf(dataset).length > 0);
  }

  /** `written`: an event as it would be written but for rules; null where it would not. */
  async ask(batch: Batch, written: (index: number) => ChangeEvent | null): Promise<void> {
    if (!this.concerns(batch)) return;
    const { sql, drafts } = this.#parts;
    await sql.script('savepoint tidegate_drafts');
    try {
      const { rules, unasked } = await this.#askable(batch);
      drafts.found(batch, await this.#findings(batch, written, rules), unasked);
      await sql.script('release savepoint tidegate_drafts');
    } catch (error) {
      if (!isRefusal(error)) throw error;
      await sql.script('rollback to savepoint tidegate_drafts');
      drafts.found(batch, null, []);
    }
  }

  async #findings(
    batch: Batch,
    written: (index: number) => ChangeEvent | null,
    rules: ReadonlyMap<Dataset, readonly KeyedRule[]>,
  ): Promise<readonly Finding[]> {
    const { sql, tables, parents, waits, drafts } = this.#parts;
    const own = drafts.judgedBy(batch);
    const asked = { sql, tables, parents, waits, makesIndices: false, takesTurns: false };
    const keyed = new Keyed({ ...asked, rulesOf: (dataset) => rules.get(dataset) ?? [] });
    const findings: Finding[] = [];
    const held = new Set<number>();
    const passes = (index: number): boolean => own?.passes(index) === true && !held.has(index);
    for (;;) {
      const found = await keyed.judge(batch, (index) => (passes(index) ? written(index) : null));
      if (found.length === 0) return findings;
      findings.push(...found);
      for (const { index, verdict } of found) if (verdict >= Verdict.Drop) held.add(index);
    }
  }

  async #askable(
    batch: Batch,
  ): Promise<{ readonly rules: ReadonlyMap<Dataset, readonly KeyedRule[]>; readonly unasked: readonly Unasked[] }> {
    const { drafts } = this.#parts;
    const rules = new Map<Dataset, KeyedRule[]>();
    const unasked: Unasked[] = [];
    for (const dataset of new Set(batch.spans().map((span) => span.dataset))) {
      if (dataset.undecoded === true) continue;
      for (const rule of drafts.rulesOf(dataset)) {
        if (await this.#isFound(rule, dataset)) rules.set(dataset, [...(rules.get(dataset) ?? []), rule]);
        else unasked.push({ dataset: dataset.name, rule: rule.id });
      }
    }
    return { rules, unasked };
  }

  /** Whether its rows are found without reading a large table. */
  async #isFound(rule: KeyedRule, dataset: Dataset): Promise<boolean> {
    const { sql } = this.#parts;
    const wanted = await this.#wanted(rule, dataset);
    if (wanted === null) return true;
    const id = JSON.stringify(wanted);
    if (this.#indexed.has(id)) return true;
    if (await hasIndex(sql, wanted)) {
      this.#indexed.add(id);
      return true;
    }
    const { rows } = await sql.query(SIZE_SQL, [wanted.qualified]);
    return Number(rows[0]?.[0] ?? 0) <= UNINDEXED_BYTES_MAX;
  }

  async #wanted(rule: KeyedRule, dataset: Dataset): Promise<WantedIndex | null> {
    const { sql, parents, tables } = this.#parts;
    if (rule.question.kind === 'reference') {
      const parent = await parents.of(sql, rule.question.parent);
      return parent === null ? null : indexOf(parent);
    }
    const table = tables.known(dataset);
    if (table === undefined) return null;
    const names = table.columns.map((column) => column?.name ?? null);
    return wantedIndex(rule, table.qualified, names);
  }
}
