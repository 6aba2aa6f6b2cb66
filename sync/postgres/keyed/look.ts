/** Asks the rules that need other rows without writing: what would come of rows beside those that are at the target now. */
import { type Batch, type Finding, Verdict } from '../../../core/batch.ts';
import type { ChangeEvent, Dataset, DatasetName } from '../../../core/event.ts';
import type { AskedRules, KeyedRule } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { quoteQualified } from '../../../wire/postgres/ident.ts';
import { isRefusal } from '../failures.ts';
import type { Layouts } from '../layout.ts';
import type { Turns } from '../turns.ts';
import type { AskableTable } from './asked-table.ts';
import { Keyed } from './keyed.ts';
import { Parents } from './parents.ts';

export interface KeyedLookParts {
  readonly turns: Turns;
  readonly layouts: Layouts;
  readonly rulesOf: (dataset: Dataset) => readonly KeyedRule[];
  /** Whether an event waits for an earlier one of its key that is held. */
  readonly waits: (event: ChangeEvent) => boolean;
}

const COLUMNS_SQL = `
  select attname, format_type(atttypid, atttypmod), format_type(atttypid, null), atttypid from pg_attribute
  where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`;

export class KeyedLook implements AskedRules {
  readonly #parts: KeyedLookParts;

  constructor(parts: KeyedLookParts) {
    this.#parts = parts;
  }

  async look(batch: Batch): Promise<{ readonly findings: readonly Finding[]; readonly unasked: ReadonlySet<DatasetName> }> {
    const datasets = new Set(batch.spans().map(({ dataset }) => dataset));
    const asked = [...datasets].filter((dataset) => dataset.undecoded !== true && this.#parts.rulesOf(dataset).length > 0);
    if (asked.length === 0) return { findings: [], unasked: new Set() };
    return this.#parts.turns.take('asking rules without writing', async (sql) => {
      // One view of the target for all questions. Not read only, for on older servers a question makes a function of its session; nothing of it stays.
      await sql.script('begin transaction isolation level repeatable read');
      try {
        return await this.#ask(sql, batch, asked);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        // A cell that is no value of its column: the target would not take the row as it is, and will not read it as a question.
        return { findings: [], unasked: new Set(asked.map(({ name }) => name)) };
      } finally {
        if (sql.open) await sql.script('rollback');
      }
    });
  }

  async #ask(sql: PgConnection, batch: Batch, datasets: readonly Dataset[]) {
    const { layouts, rulesOf, waits } = this.#parts;
    const tables = new Map<Dataset, AskableTable>();
    for (const dataset of new Set(batch.spans().map((span) => span.dataset))) {
      const table = await this.#tableOf(sql, dataset);
      if (table !== null) tables.set(dataset, table);
    }
    const keyed = new Keyed({
      sql,
      tables: { known: (dataset) => tables.get(dataset) },
      parents: new Parents(layouts),
      // Without a table nothing can be said of its rows.
      rulesOf: (dataset) => (tables.has(dataset) ? rulesOf(dataset) : []),
      makesIndices: false,
      takesTurns: false,
      waits,
    });
    const findings: Finding[] = [];
    const held = new Set<number>();
    for (;;) {
      const found = await keyed.judge(batch, (index) => (batch.passes(index) && !held.has(index) ? (batch.event(index) ?? null) : null));
      if (found.length === 0) break;
      findings.push(...found);
      for (const { index, verdict } of found) if (verdict >= Verdict.Drop) held.add(index);
    }
    return { findings, unasked: new Set(datasets.filter((dataset) => !tables.has(dataset)).map(({ name }) => name)) };
  }

  /** Null where there is none yet. */
  async #tableOf(sql: PgConnection, dataset: Dataset): Promise<AskableTable | null> {
    if (dataset.undecoded === true) return null;
    const layout = this.#parts.layouts.of(dataset);
    const qualified = quoteQualified(layout.schema, layout.table);
    const { rows } = await sql.query(COLUMNS_SQL, [qualified]);
    if (rows.length === 0) return null;
    const known = new Map(
      rows.map(([name, type, base, oid]) => [name, { type: type ?? '', base: base ?? '', oid: Number(oid), keyMatch: null }]),
    );
    const columns = layout.names.map((name) => {
      const column = name === null ? undefined : known.get(name);
      return name === null || column === undefined ? null : { name, ...column };
    });
    return { qualified, layout, columns };
  }
}
