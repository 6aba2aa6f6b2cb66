/**
 * The registered models: versions that passed admission, and aliases that point at them. A running pipeline asks `resolve` for every
 * batch (it is a look-up in memory) and so takes a new version up by itself.
 */
import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '../../core/clock.ts';
import { parseMapping } from '../mapping.ts';
import type { Mapping } from '../mapping-schema.ts';
import { type AdmissionFinding, type AdmissionOptions, admitModel } from './admission.ts';
import type { ModelAlias, ModelStore, ModelVersion } from './store.ts';

/** What a model or an alias may be called, as a pattern. */
export const MODEL_NAME = '^[a-z][a-z0-9_-]{0,62}$';
/** The alias that a name without one means. */
export const PRODUCTION = 'production';

export interface RegisterOptions {
  /** Whether @production moves to this version. Default true: a running pipeline takes it up. The first version always gets it. */
  readonly promote?: boolean;
}

export type Registration =
  | {
      readonly kind: 'registered';
      readonly version: ModelVersion;
      /** False where this very upload is a version already. */ readonly created: boolean;
    }
  | { readonly kind: 'rejected'; readonly findings: readonly AdmissionFinding[] };

export interface RegistryOptions extends AdmissionOptions {
  readonly clock?: Clock;
}

/** `isOurs`: whether it was done here, and not by another process that keeps its models in the same place. */
export type ModelListener = (model: string, isOurs: boolean) => void;

export class ModelRegistry {
  readonly #store: ModelStore;
  readonly #options: RegistryOptions;
  readonly #clock: Clock;
  readonly #versions = new Map<string, ModelVersion[]>();
  readonly #aliases = new Map<string, number>();
  readonly #listeners = new Set<ModelListener>();
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(store: ModelStore, options: RegistryOptions) {
    this.#store = store;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  static async open(store: ModelStore, options: RegistryOptions = {}): Promise<ModelRegistry> {
    const registry = new ModelRegistry(store, options);
    const { versions, aliases } = await store.load();
    for (const version of versions) registry.#remember(version);
    for (const { model, alias, version } of aliases) registry.#aliases.set(`${model}@${alias}`, version);
    return registry;
  }

  /**
   * Admits a model in a throw-away child and keeps it as the next version. `mapping` is the parsed JSON as it was uploaded. One at a
   * time, so that versions are numbered in the order of the calls and two admissions do not disturb each other's measurements.
   */
  register(model: string, bytes: Uint8Array, mapping: unknown, options: RegisterOptions = {}): Promise<Registration> {
    const registered = this.#turn.then(() => this.#register(model, bytes, mapping, options.promote ?? true));
    this.#turn = registered.catch(() => {});
    return registered;
  }

  /** What `order-risk`, `order-risk@3` or `order-risk@canary` stands for now; null where there is no such version. */
  resolve(reference: string): ModelVersion | null {
    const [model = '', tag = PRODUCTION] = reference.split('@');
    const number = /^[0-9]+$/.test(tag) ? Number(tag) : this.#aliases.get(`${model}@${tag}`);
    return this.versions(model).find(({ version }) => version === number) ?? null;
  }

  /** A model's versions, oldest first. */
  versions(model: string): readonly ModelVersion[] {
    return this.#versions.get(model) ?? [];
  }

  models(): readonly string[] {
    return [...this.#versions.keys()];
  }

  aliases(model: string): readonly ModelAlias[] {
    return [...this.#aliases.entries()]
      .filter(([key]) => key.startsWith(`${model}@`))
      .map(([key, version]) => ({ model, alias: key.slice(model.length + 1), version }));
  }

  /** Points an alias at a version. Returns false where there is no such version. */
  async setAlias(model: string, alias: string, version: number): Promise<boolean> {
    if (!this.versions(model).some((kept) => kept.version === version)) return false;
    await this.#store.setAlias({ model, alias, version });
    this.#aliases.set(`${model}@${alias}`, version);
    this.#changed(model);
    return true;
  }

  /** Takes up what other processes have registered meanwhile. */
  async refresh(): Promise<void> {
    const { versions, aliases } = await this.#store.load();
    const changed = new Set<string>();
    for (const version of versions) {
      if (this.versions(version.model).some((known) => known.version === version.version)) continue;
      this.#remember(version);
      changed.add(version.model);
    }
    for (const { model, alias, version } of aliases) {
      if (this.#aliases.get(`${model}@${alias}`) === version) continue;
      this.#aliases.set(`${model}@${alias}`, version);
      changed.add(model);
    }
    for (const model of changed) this.#changed(model, false);
  }

  /** The bytes to serve. */
  bytes(version: ModelVersion): Promise<Uint8Array> {
    return this.#store.bytes(version.model, version.version);
  }

  /** Calls back whenever a model has a new version or an alias moved. Returns how to stop that. */
  onChange(listener: ModelListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #register(model: string, bytes: Uint8Array, mapping: unknown, promote: boolean): Promise<Registration> {
    const parsed = parseMapping(mapping, 'mapping');
    if (parsed.kind === 'refused') {
      const findings = parsed.problems.map(({ severity, path, message, fix }) => ({
        rule: 'MAPPING' as const,
        severity,
        path,
        detail: `${message} ${fix}`,
      }));
      return { kind: 'rejected', findings };
    }
    // Versions are numbered over all who register.
    await this.refresh();
    const digest = digestOf(bytes, parsed.mapping);
    const same = this.versions(model).find((version) => version.digest === digest);
    if (same !== undefined) {
      if (promote) await this.setAlias(model, PRODUCTION, same.version);
      return { kind: 'registered', version: same, created: false };
    }
    const admission = await admitModel(bytes, parsed.mapping, this.#options);
    if (admission.kind === 'rejected') return admission;
    const version: ModelVersion = {
      model,
      version: (this.versions(model).at(-1)?.version ?? 0) + 1,
      digest,
      sha256: createHash('sha256').update(admission.bytes).digest('hex'),
      mapping: parsed.mapping,
      report: admission.report,
      registeredAtMs: this.#clock.now(),
    };
    await this.#store.add(version, admission.bytes);
    this.#remember(version);
    if (promote || version.version === 1) await this.setAlias(model, PRODUCTION, version.version);
    else this.#changed(model);
    return { kind: 'registered', version, created: true };
  }

  #remember(version: ModelVersion): void {
    const versions = this.#versions.get(version.model) ?? [];
    versions.push(version);
    versions.sort((a, b) => a.version - b.version);
    this.#versions.set(version.model, versions);
  }

  #changed(model: string, isOurs = true): void {
    for (const listener of this.#listeners) listener(model, isOurs);
  }
}

function digestOf(bytes: Uint8Array, mapping: Mapping): string {
  return createHash('sha256').update(bytes).update('\0').update(JSON.stringify(mapping)).digest('hex');
}
