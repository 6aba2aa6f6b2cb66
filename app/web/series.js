/** The last 15 minutes of each dataset, as the service sends them second by second. */

const KEEP_S = 900;
export const LAYERS = ['pass', 'warn', 'drop', 'quarantine'];

export class Series {
  #byDataset = new Map();
  /** Before this nothing is known: the service started then. */
  #fromS = Number.POSITIVE_INFINITY;
  toS = 0;

  /** Takes what an event `series` brings. Overlaps (after a reconnect) replace, gaps are filled with zeros. */
  add({ toS, frames }) {
    this.toS = Math.max(this.toS, toS);
    for (const frame of frames) {
      this.#fromS = Math.min(this.#fromS, frame.fromS);
      const key = `${frame.pipeline}\n${frame.dataset}`;
      let of = this.#byDataset.get(key);
      if (of === undefined) {
        of = new Map();
        this.#byDataset.set(key, of);
      }
      for (let i = 0; i < frame.counts.pass.length; i++) {
        const point = { p50: frame.p50Ms[i] ?? null, p99: frame.p99Ms[i] ?? null };
        for (const layer of LAYERS) point[layer] = frame.counts[layer][i] ?? 0;
        of.set(frame.fromS + i, point);
      }
      for (const second of of.keys()) if (second < this.toS - KEEP_S) of.delete(second);
    }
  }

  /**
   * The last `windowS` seconds in steps of `stepS`, aligned to multiples of the step so that points do not jitter as time goes on:
   * `[{atS, known, pass, warn, drop, quarantine, p50, p99}]`, rates a second. An unfinished step is left out.
   */
  points(pipeline, dataset, windowS, stepS) {
    const of = this.#byDataset.get(`${pipeline}\n${dataset}`);
    const end = Math.floor(this.toS / stepS) * stepS;
    const points = [];
    for (let atS = end - windowS; atS < end; atS += stepS) {
      const point = { atS, known: atS + stepS > this.#fromS, pass: 0, warn: 0, drop: 0, quarantine: 0, p50: null, p99: null };
      for (let second = atS; second < atS + stepS; second++) {
        const found = of?.get(second);
        if (found === undefined) continue;
        for (const layer of LAYERS) point[layer] += found[layer] / stepS;
        if (found.p99 !== null) point.p99 = Math.max(point.p99 ?? 0, found.p99);
        if (found.p50 !== null) point.p50 = Math.max(point.p50 ?? 0, found.p50);
      }
      points.push(point);
    }
    return points;
  }
}
