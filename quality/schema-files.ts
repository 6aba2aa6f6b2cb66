/** The JSON files that a rule file names, schemas and others, each read once; they are a part of its revision. */
import type { Hash } from 'node:crypto';
import { isAbsolute } from 'node:path';
import type { Keys, RuleText } from './rule-text.ts';

/** The text of a schema that a rule file names, by the path it writes. Throws where there is none. */
export type SchemaTexts = (path: string) => string;

export class SchemaFiles {
  /** By the path that the file writes. */
  readonly files = new Map<string, unknown>();
  readonly #rules: RuleText;
  readonly #texts: SchemaTexts;
  readonly #hash: Hash;

  constructor(rules: RuleText, texts: SchemaTexts, hash: Hash) {
    this.#rules = rules;
    this.#texts = texts;
    this.#hash = hash;
  }

  /** Undefined where there is none, which is told. */
  read(path: string, keys: Keys): unknown {
    if (this.files.has(path)) return this.files.get(path);
    if (isAbsolute(path) || path.split(/[\\/]/).includes('..')) {
      return void this.#rules.refuse(
        keys,
        `${path} lies outside the folder of the rule file`,
        'Put the schema beside the rule file and write ./name.json.',
      );
    }
    let text: string;
    try {
      text = this.#texts(path);
      this.#hash.update(text);
    } catch {
      return void this.#rules.refuse(
        keys,
        `the file ${path} cannot be read`,
        'Write the path from the folder of the rule file, or the schema itself.',
      );
    }
    try {
      // As editors of Windows begin a file.
      this.files.set(path, JSON.parse(text.replace(/^\uFEFF/, '')));
    } catch {
      this.#rules.refuse(keys, `the file ${path} is no valid JSON`, 'Correct the file.');
    }
    return this.files.get(path);
  }
}
