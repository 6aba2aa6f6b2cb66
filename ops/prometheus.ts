/** The Prometheus text exposition format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */

export type Labels = Readonly<Record<string, string>>;

/** Collects samples; a family's HELP and TYPE come once, before its samples, whatever the order of the calls. */
export class Exposition {
  readonly #families = new Map<string, { readonly head: string; readonly samples: string[] }>();

  counter(name: string, help: string, labels: Labels, value: number): void {
    this.#family(name, 'counter', help).push(sample(name, labels, value));
  }

  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.#family(name, 'gauge', help).push(sample(name, labels, value));
  }

  /** `buckets`: upper limits and *cumulative* counts; the last limit must be Infinity. */
  histogram(name: string, help: string, labels: Labels, buckets: readonly (readonly [le: number, count: number])[], sum: number): void {
    const samples = this.#family(name, 'histogram', help);
    for (const [le, count] of buckets) samples.push(sample(`${name}_bucket`, { ...labels, le: number(le) }, count));
    samples.push(sample(`${name}_sum`, labels, sum), sample(`${name}_count`, labels, buckets.at(-1)?.[1] ?? 0));
  }

  toString(): string {
    return [...this.#families.values()].map(({ head, samples }) => `${head}${samples.join('')}`).join('');
  }

  #family(name: string, type: string, help: string): string[] {
    const known = this.#families.get(name);
    if (known !== undefined) return known.samples;
    const samples: string[] = [];
    this.#families.set(name, { head: `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`, samples });
    return samples;
  }
}

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${number(value)}\n`;
}

const escapeHelp = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string) => escapeHelp(text).replaceAll('"', '\\"');

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
