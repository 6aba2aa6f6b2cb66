/** The rules in force of pipelines whose files were changed for the worse: so that a restart goes on by them, too. */
import type { DatabaseSync } from 'node:sqlite';
import type { RuleText } from '../rule-files.ts';

/** What is asked and told of them; answered at once, by what this process knows. */
export interface RulesBook {
  /** Null where the pipeline's files have not been refused. */
  get(pipeline: string): readonly RuleText[] | null;
  set(pipeline: string, texts: readonly RuleText[]): void;
  clear(pipeline: string): void;
}

/** In the state file. */
export class KeptRules implements RulesBook {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(pipeline: string): readonly RuleText[] | null {
    const row = this.#database.prepare('select record from kept_rules where pipeline = ?').get(pipeline);
    return row === undefined ? null : (JSON.parse(String(row['record'])) as RuleText[]); // Written below.
  }

  set(pipeline: string, texts: readonly RuleText[]): void {
    this.#database
      .prepare('insert into kept_rules (pipeline, record) values (?, ?) on conflict (pipeline) do update set record = excluded.record')
      .run(pipeline, JSON.stringify(texts));
  }

  clear(pipeline: string): void {
    this.#database.prepare('delete from kept_rules where pipeline = ?').run(pipeline);
  }
}
