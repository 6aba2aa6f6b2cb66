/** What deploy/ has is what Kubernetes and Compose take, as far as that is seen without either: types, schema, configs, versions. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseConfig } from '../../app/config.ts';
import { loadRuleFiles } from '../../app/rule-files.ts';

const root = resolve(import.meta.dirname, '../..');
const deploy = join(root, 'deploy');
const text = (...path: readonly string[]): string => readFileSync(join(deploy, ...path), 'utf8');

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

interface Container {
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
}

interface Deployment extends Manifest {
  readonly spec: {
    readonly template: { readonly spec: { readonly terminationGracePeriodSeconds: number; readonly containers: readonly Container[] } };
  };
}

interface Autoscaler extends Manifest {
  readonly spec: { readonly metrics: readonly { readonly pods: { readonly metric: { readonly name: string } } }[] };
}

const manifests = readdirSync(join(deploy, 'kubernetes')).flatMap((file) =>
  parseAllDocuments(text('kubernetes', file)).map((document) => document.toJS() as Manifest),
);

function the(kind: string): Manifest {
  const [found, ...more] = manifests.filter((one) => one.kind === kind);
  if (found === undefined || more.length > 0) throw new Error(`there is none, or more than one, of kind ${kind}`);
  return found;
}

/** What the compiler says of manifests as values of the types that are made from Kubernetes' own OpenAPI document. */
async function typeErrors(checked: readonly unknown[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-manifests-'));
  try {
    const sources = (checked as readonly Manifest[]).map(({ apiVersion, kind }, n) => {
      const module = apiVersion === 'v1' ? 'core/v1' : apiVersion;
      return `import type { ${kind} as T${n} } from 'kubernetes-types/${module}.d.ts';\nexport const m${n}: T${n} = ${JSON.stringify(checked[n])};\n`;
    });
    writeFileSync(join(folder, 'manifests.ts'), sources.join(''));
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          noEmit: true,
          module: 'esnext',
          moduleResolution: 'bundler',
          allowImportingTsExtensions: true,
          skipLibCheck: true,
          types: [],
        },
        files: ['manifests.ts'],
      }),
    );
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]);
    return '';
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('the manifests are what the API of Kubernetes takes, and a field that it does not know is found', async () => {
  expect(await typeErrors(manifests)).toBe('');
  const mistaken = structuredClone(the('Deployment')) as unknown as { spec: { template: { spec: Record<string, unknown> } } };
  mistaken.spec.template.spec['terminationGraceSeconds'] = 45;
  expect(await typeErrors([mistaken])).toContain('terminationGraceSeconds');
});

test('the configs are what the service takes, from the manifests and for Compose', () => {
  const map = the('ConfigMap').data ?? {};
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-config-'));
  try {
    for (const [file, content] of Object.entries(map)) writeFileSync(join(folder, file), content);
    const compose = parse(text('compose.yaml')) as { services: { tidegate: { environment: Record<string, string> } } };
    const drainMs = [
      load(map['tidegate.yaml'] ?? '', join(folder, 'tidegate.yaml'), the('Secret').stringData ?? {}),
      load(text('compose/config/tidegate.yaml'), join(deploy, 'compose/config/tidegate.yaml'), compose.services.tidegate.environment),
    ];
    const { terminationGracePeriodSeconds, containers } = (the('Deployment') as Deployment).spec.template.spec;
    expect(Math.max(...drainMs)).toBeLessThan(terminationGracePeriodSeconds * 1000);
    expect(containers[0]?.ports).toEqual([{ name: 'http', containerPort: 8420 }]);
    const metrics = readFileSync(join(root, 'ops/lane-counters.ts'), 'utf8');
    for (const { pods } of (the('HorizontalPodAutoscaler') as Autoscaler).spec.metrics) expect(metrics).toContain(`'${pods.metric.name}'`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Loads it as the service does, with its rule files, and answers how long it drains. */
function load(config: string, file: string, env: Readonly<Record<string, string>>): number {
  const result = parseConfig(config, file, env);
  if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
  const { loaded } = result;
  for (const [name, pipeline] of Object.entries(loaded.config.pipelines)) {
    const { files, problems } = loadRuleFiles(loaded, name, pipeline);
    expect([files.size, problems]).toEqual([1, []]);
  }
  expect(typeof loaded.config.state).toBe('object'); // A database that they share.
  return loaded.config.drainTimeout;
}

test('the Compose file fits the Compose specification, and names the versions that the tests run', () => {
  const compose = parse(text('compose.yaml')) as { services: Record<string, { image?: string; depends_on?: Record<string, unknown> }> };
  // The specification as Compose's own validator had it. Its dialect names its parts in a way that newer ones do not have, and refers to them by path.
  const isName = (key: string, value: unknown): boolean => (key === 'id' || key === '$schema') && typeof value === 'string';
  const specification = JSON.parse(readFileSync(join(import.meta.dirname, 'compose-spec.json'), 'utf8'), (key, value: unknown) =>
    isName(key, value) ? undefined : value,
  ) as Record<string, unknown>;
  const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(specification);
  expect([validate(compose), validate.errors]).toEqual([true, null]);
  expect(validate({ services: { tidegate: { depend_on: [] } } })).toBe(false);
  for (const { depends_on } of Object.values(compose.services))
    for (const name of Object.keys(depends_on ?? {})) expect(Object.keys(compose.services)).toContain(name);
  const pom = readFileSync(join(root, 'examples/stack/pom.xml'), 'utf8');
  const version = (name: string): string => new RegExp(`<${name}.version>(.*)</`).exec(pom)?.[1] ?? '';
  expect(Object.values(compose.services).flatMap(({ image }) => image ?? [])).toEqual([
    'postgres:18',
    'postgres:18',
    `apache/kafka:${version('kafka')}`,
    `apicurio/apicurio-registry:${version('apicurio')}`,
    `quay.io/debezium/connect:${version('debezium')}`,
    `quay.io/debezium/connect:${version('debezium')}`,
  ]);
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> };
  expect(text('Dockerfile').match(/^FROM node:([\d.]+)/gm)).toEqual(Array(2).fill(`FROM node:${devDependencies['node']}`));
});
