/** The form that texts have in common: runs of digits, letters and signs, as `^[A-Z]{2}-[0-9]{3,5}$`. */

interface Run {
  /** As a regular expression writes it. */
  readonly of: string;
  min: number;
  max: number;
}

/** More runs are a sentence, and no form. */
const RUNS_MAX = 12;
const LENGTH_MAX = 80;

export class Shape {
  #runs: Run[] | null | undefined;

  see(text: string): void {
    if (this.#runs === null) return;
    const runs = runsOf(text);
    if (runs === null || this.#runs === undefined) {
      this.#runs = runs;
      return;
    }
    if (runs.length !== this.#runs.length || runs.some(({ of }, at) => of !== this.#runs?.[at]?.of)) {
      this.#runs = null;
      return;
    }
    for (const [at, run] of this.#runs.entries()) {
      run.min = Math.min(run.min, runs[at]?.min ?? 0);
      run.max = Math.max(run.max, runs[at]?.max ?? 0);
    }
  }

  /** Null where the texts have none in common, or one that says next to nothing: a word is one run of letters. */
  pattern(): string | null {
    const runs = this.#runs ?? [];
    if (runs.length < 2) return null;
    return `^${runs.map(({ of, min, max }) => `${of}${timesOf(min, max)}`).join('')}$`;
  }
}

function timesOf(min: number, max: number): string {
  if (max === 1) return '';
  return min === max ? `{${min}}` : `{${min},${max}}`;
}

function runsOf(text: string): Run[] | null {
  if (text.length === 0 || text.length > LENGTH_MAX) return null;
  const runs: Run[] = [];
  for (const sign of text) {
    const of = classOf(sign);
    if (of === null) return null;
    const last = runs.at(-1);
    if (last?.of === of) {
      last.min++;
      last.max++;
    } else if (runs.push({ of, min: 1, max: 1 }) > RUNS_MAX) return null;
  }
  return runs;
}

function classOf(sign: string): string | null {
  if (sign >= '0' && sign <= '9') return '[0-9]';
  if (sign >= 'A' && sign <= 'Z') return '[A-Z]';
  if (sign >= 'a' && sign <= 'z') return '[a-z]';
  if (sign === '_') return '_';
  // Spaces stand between words; other letters have cases of their own.
  return sign > ' ' && sign <= '~' ? `\\${sign}` : null;
}
