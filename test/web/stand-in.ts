/** A stand-in for the service behind the page: the real metrics over made-up batches, and a quarantine in memory. Its answers are those of app/http. */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import type { HeldByRuleView, PipelineStatus, Status, WindowView } from '../../app/http/shapes.ts';
import { ruleSeries } from '../../app/rule-series.ts';
import { type Finding, ScoreStatus, Verdict } from '../../core/batch.ts';
import type { DatasetName } from '../../core/event.ts';
import { Metrics } from '../../ops/metrics.ts';
import { datasetOf, eventOf, findingOf, lane, reportOf } from '../ops/reports.ts';
import { Random } from '../support/random.ts';

const PIPELINE = 'shop-to-warehouse';
const WEB = join(import.meta.dirname, '../../app/web');
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript',
  css: 'text/css',
  svg: 'image/svg+xml',
};
const RULES: readonly (readonly [rule: string, column: string, message: string])[] = [
  ['orders.lines-add-up', 'total', 'total is not net + tax'],
  ['orders.email.match_regex', 'email', 'email does not match the pattern'],
  ['orders.currency.format', 'currency', 'currency is no ISO 4217 code'],
  ['orders.status.in_set', 'status', 'status is none of new, paid, shipped, cancelled'],
];

const OTHER_RULES: readonly (typeof RULES)[] = [
  [
    ['email.format', 'email', 'email is no valid email'],
    ['country.format', 'country', 'country is no valid country'],
  ],
  [],
  [
    ['amount.between', 'amount', 'amount is not between 0 and 1000000, 0 excluded'],
    ['method.in_set', 'method', 'method is not in the set of 4 allowed values'],
  ],
];

export interface StandInItem {
  readonly id: string;
  readonly dataset: string;
  readonly key: string;
  status: 'held' | 'waiting' | 'released' | 'applied' | 'superseded' | 'discarded';
  readonly heldAtMs: number;
  readonly findings: readonly Finding[];
  readonly outcome: 'would-pass' | 'still-fails' | 'superseded';
  why: string | null;
  readonly waitsUntilMs?: number;
}

interface ItemQuery {
  readonly pipeline?: string;
  readonly dataset?: string;
  readonly rule?: string;
  readonly key?: string;
  readonly status?: readonly string[];
}

export interface StandIn extends AsyncDisposable {
  readonly url: string;
  readonly items: StandInItem[];
  /** What the next status says beyond what is measured. */
  pipeline: Partial<PipelineStatus>;
  /** What rules over windows said, newest first; null where the target cannot be asked. */
  windows: readonly WindowView[] | null;
  /** When set, every request needs it. */
  token: string | null;
  readonly requests: string[];
  /** What it says of itself now. */
  status(): Status;
  /** Ends every stream and refuses connections until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** One more second of traffic. */
  tick(): void;
}

export async function startStandIn(
  options: {
    readonly seed?: number;
    readonly history?: number;
    readonly quiet?: boolean;
    readonly firstRows?: number;
    /** Whether every table has rules that find something; else only orders. */
    readonly judgesAll?: boolean;
  } = {},
): Promise<StandIn> {
  const random = new Random(options.seed ?? 7);
  const clock = { ms: Date.now() - (options.history ?? 0) * 1000, now: () => clock.ms };
  const startedAtMs = clock.ms;
  const metrics = new Metrics(clock);
  const observe = metrics.observer(PIPELINE);
  const datasets = ['customers', 'orders', 'payments'].map((name) => datasetOf(`shop.public.${name}`));
  const items: StandInItem[] = [];
  let key = 1;

  const second = (n: number): void => {
    for (const [d, dataset] of datasets.entries()) {
      const wave = 1 + 0.35 * Math.sin(n / 40 + d) + 0.12 * Math.sin(n / 7 + d);
      const usual = Math.max(0, Math.round([60, 420, 180][d] ?? 0) * wave * (0.9 + 0.2 * random.next()));
      const rows = n === 0 ? (options.firstRows ?? usual) : usual;
      const events = Array.from({ length: Math.round(rows) }, () =>
        eventOf(dataset, key++, clock.ms - 4 - random.below(random.chance(0.03) ? 90 : 20)),
      );
      const findings: Finding[] = [];
      const bad = n % 230 > 200 ? 0.09 : 0.01;
      for (const i of events.keys()) {
        if (d !== 1) {
          if (options.judgesAll !== true || !random.chance(0.008)) continue;
          const [rule = '', column = '', message = ''] = OTHER_RULES[d]?.[random.below(2)] ?? [];
          findings.push(findingOf(i, rule, { column, message }));
        } else if (random.chance(bad)) {
          const [rule = '', column = '', message = ''] = RULES[Math.min(random.below(4), random.below(4))] ?? [];
          findings.push(findingOf(i, rule, { column, message }));
        } else if (random.chance(0.02))
          findings.push(
            findingOf(i, 'order-risk.route[1]', {
              stage: 'inference',
              verdict: Verdict.Warn,
              severity: 'warning',
              message: 'score ≥ 0.80',
            }),
          );
      }
      const report = reportOf(events, findings);
      if (d === 1) {
        const values = Float32Array.from(events, () => (random.chance(0.03) ? 0.75 + random.next() * 0.25 : random.next() ** 3 * 0.7));
        const status = new Uint8Array(events.length).fill(ScoreStatus.Scored);
        report.batch.scores.push({
          dataset: dataset.name,
          model: 'order-risk',
          version: '1',
          values,
          status,
          atMs: clock.ms,
          write: { score: 'risk_score', model: null, at: null },
        });
      }
      Object.assign(report.batch.millisByStage, { cdc: 1.2, quality: 2.1, inference: d === 1 ? 3.4 : 0, sync: 11 });
      observe(report);
      for (const finding of findings) {
        const event = events[finding.index];
        if (finding.verdict !== Verdict.Quarantine || event === undefined) continue;
        const outcome = random.chance(0.3) ? 'still-fails' : random.chance(0.2) ? 'superseded' : 'would-pass';
        items.push({
          id: `${dataset.name}/${event.key}@01#${event.ordinal}`,
          dataset: dataset.name,
          key: event.key,
          status: 'held',
          heldAtMs: clock.ms,
          findings: [finding],
          outcome,
          why: null,
        });
      }
    }
  };
  for (let n = 0; n < (options.history ?? 0); n++) {
    clock.ms += 1000;
    if (options.quiet !== true) second(n);
  }
  let n = options.history ?? 0;

  const state: { pipeline: Partial<PipelineStatus>; token: string | null; windows: StandIn['windows'] } = {
    pipeline: {},
    token: null,
    windows: [],
  };
  const status = (): Status => {
    const of = metrics.snapshot().pipelines.find(({ pipeline }) => pipeline === PIPELINE);
    const counts = (dataset: DatasetName) => {
      const sums: Record<string, number> = {};
      for (const item of items) if (item.dataset === dataset) sums[item.status] = (sums[item.status] ?? 0) + 1;
      return sums;
    };
    const none = {
      totals: { in: 0, passed: 0, tagged: 0, warned: 0, dropped: 0, held: 0 },
      rates: { pass: 0, warn: 0, drop: 0, quarantine: 0 },
      latencyMs: { p50: null, p99: null },
      lastEventAtMs: null,
      recent: [],
      rules: [],
      scores: [],
    };
    const pipeline: PipelineStatus = {
      name: PIPELINE,
      source: 'shop',
      target: 'warehouse',
      targetSchema: 'shop',
      state: 'running',
      sinceMs: startedAtMs,
      retryAtMs: null,
      attempt: 0,
      error: null,
      ready: true,
      notReady: [],
      standby: null,
      reading: [],
      runs: [],
      snapshot: [],
      schemaChanges: [],
      rules: { datasets: [], drafts: [], changedOnDisk: false, refused: null },
      windows: [],
      slo: [],
      slot: {
        slot: 'tidegate_shop',
        level: 'ok',
        walStatus: 'reserved',
        retainedBytes: 24 << 20,
        leftBytes: 40_000_000_000,
        limit: 'keep',
        bytesPerSecond: null,
        fullInMs: null,
        atMs: startedAtMs,
        message: 'the source keeps 24 MiB of log for the slot tidegate_shop',
      },
      lagMs: options.quiet === true ? null : 12,
      stageMs: { ...of?.stageMs },
      models: [
        {
          model: 'order-risk',
          dataset: 'shop.public.orders',
          alias: 'production',
          version: '1',
          state: 'ready',
          failure: 'fail_open',
          routes: [{ when: 'score >= 0.80', do: 'alert' }],
        },
      ],
      lanes: of?.lanes ?? [],
      datasets: datasets.map(({ name }) => ({
        ...(of?.datasets.find((one) => one.dataset === name) ?? { dataset: name, ...none }),
        quarantine: counts(name),
        judged: options.judgesAll === true || !name.endsWith('payments'),
        ruleFile: null,
      })),
      ...state.pipeline,
    };
    return { version: '0.1.0', instance: 'stand-in', startedAtMs, nowMs: clock.ms, ready: true, pipelines: [pipeline], alerts: [] };
  };

  const streams = new Set<{ readonly response: ServerResponse; fromS: number }>();
  const send = (stream: { readonly response: ServerResponse; fromS: number }): void => {
    const series = metrics.series(stream.fromS);
    stream.fromS = series.toS;
    stream.response.write(`event: status\ndata: ${JSON.stringify(status())}\n\nevent: series\ndata: ${JSON.stringify(series)}\n\n`);
  };
  const tick = (): void => {
    clock.ms += 1000;
    if (options.quiet !== true) second(n++);
    for (const stream of streams) send(stream);
  };
  const told = (): void => {
    for (const stream of streams) {
      stream.response.write('event: quarantine\ndata: {}\n\n');
      send(stream);
    }
  };

  const fitting = ({ pipeline, dataset, rule, key, status: statuses = ['held', 'waiting'] }: ItemQuery): StandInItem[] =>
    items.filter(
      (item) =>
        (pipeline ?? PIPELINE) === PIPELINE &&
        (dataset ?? item.dataset) === item.dataset &&
        (key ?? item.key) === item.key &&
        (rule === undefined || item.findings.some((finding) => finding.rule === rule)) &&
        statuses.includes(item.status),
    );

  const requests: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    requests.push(`${request.method} ${url.pathname}`);
    const json = (code: number, body: unknown) =>
      response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (!url.pathname.startsWith('/api/')) {
      const file = url.pathname === '/' ? '/index.html' : normalize(url.pathname);
      const text = await readFile(join(WEB, file)).catch(() => null);
      if (text === null) return void response.writeHead(404).end();
      return void response
        .writeHead(200, {
          'content-type': TYPES[file.split('.').at(-1) ?? ''] ?? 'text/plain',
          'content-security-policy': "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        })
        .end(text);
    }
    if (state.token !== null && request.headers.authorization !== `Bearer ${state.token}`)
      return void json(401, { title: 'Unauthorized', detail: 'A token is needed.' });
    if (url.pathname === '/api/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      const stream = { response, fromS: 0 };
      streams.add(stream);
      response.once('close', () => streams.delete(stream));
      return send(stream);
    }
    if (request.method === 'GET' && url.pathname === '/api/quarantine') {
      const statuses = url.searchParams.getAll('status');
      const found = fitting({
        ...Object.fromEntries([...url.searchParams].filter(([name]) => ['pipeline', 'dataset', 'rule', 'key'].includes(name))),
        status: statuses,
      }).reverse();
      const after = found.findIndex((item) => item.id === url.searchParams.get('after')) + 1;
      const page = found.slice(after, after + Number(url.searchParams.get('limit')));
      return void json(200, { items: page.map(view), next: after + page.length < found.length ? (page.at(-1)?.id ?? null) : null });
    }
    if (request.method === 'GET' && url.pathname === '/api/rules') {
      const desk = { pipeline: PIPELINE, datasets: datasets.map(({ name }) => name), contracts: () => new Map() };
      return void json(
        200,
        ruleSeries(metrics.snapshot(), [desk], (_, name) => url.searchParams.get('dataset') === name),
      );
    }
    if (request.method === 'GET' && url.pathname === '/api/windows') {
      if (state.windows === null) return void json(503, { title: 'Unavailable', detail: 'The target cannot be asked.' });
      const asked = (name: string) => url.searchParams.get(name);
      const windows = state.windows.filter(
        (one) => one.pipeline === asked('pipeline') && one.dataset === asked('dataset') && one.rule === asked('rule'),
      );
      return void json(200, { windows: windows.slice(0, Number(url.searchParams.get('limit'))) });
    }
    if (request.method === 'GET' && url.pathname === '/api/quarantine/rules') return void json(200, { rules: byRule(fitting({})) });
    if (request.method === 'GET') {
      const item = items.find(({ id }) => id === decodeURIComponent(url.pathname.slice('/api/quarantine/'.length)));
      return void (item === undefined ? json(404, { title: 'Not found' }) : json(200, { ...view(item), lane, columns: cells(item) }));
    }
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const body = JSON.parse(text === '' ? '{}' : text) as {
      readonly ids?: readonly string[];
      readonly filter?: ItemQuery;
      readonly dryRun?: boolean;
      readonly why?: string;
    };
    const chosen = body.filter === undefined ? items.filter((item) => body.ids?.includes(item.id) === true) : fitting(body.filter);
    if (url.pathname.endsWith('/halt')) {
      state.pipeline = {
        state: 'halted',
        error: {
          code: 'OPERATOR',
          message: `halted by local: ${body.why ?? ''}`,
          fix: 'Resume the pipeline when you are done.',
          atMs: clock.ms,
        },
      };
      json(202, {});
      return told();
    }
    if (url.pathname.endsWith('/resume')) {
      state.pipeline = {};
      json(202, {});
      return told();
    }
    if (body.dryRun === true) {
      const results = chosen.map((item) => ({
        id: item.id,
        outcome: item.outcome,
        findings: item.outcome === 'still-fails' ? view(item).findings : [],
      }));
      return void json(200, { dryRun: true, results, notAsked: [], released: [] });
    }
    const release = url.pathname.endsWith('/release');
    for (const item of chosen) {
      item.status = release ? 'applied' : 'discarded';
      item.why = body.why ?? null;
    }
    const ids = chosen.map(({ id }) => id);
    json(200, release ? { dryRun: false, results: [], notAsked: [], released: ids } : { discarded: ids });
    told();
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  const listen = (port: number) => new Promise<void>((listening) => server.listen(port, '127.0.0.1', listening));
  const down = async (): Promise<void> => {
    const closed = new Promise((done) => server.close(done));
    server.closeAllConnections();
    await closed;
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    items,
    requests,
    status,
    get pipeline() {
      return state.pipeline;
    },
    set pipeline(pipeline) {
      state.pipeline = pipeline;
      told();
    },
    get windows() {
      return state.windows;
    },
    set windows(windows) {
      state.windows = windows;
    },
    get token() {
      return state.token;
    },
    set token(token) {
      state.token = token;
    },
    down,
    up: () => listen(port),
    tick,
    [Symbol.asyncDispose]: down,
  };
}

function view(item: StandInItem) {
  const verdicts = ['pass', 'tag', 'warn', 'drop', 'quarantine'];
  return {
    id: item.id,
    pipeline: PIPELINE,
    dataset: item.dataset,
    op: 'insert',
    key: item.key,
    status: item.status,
    version: '01',
    committedAtMs: item.heldAtMs - 20,
    heldAtMs: item.heldAtMs,
    settledAtMs: item.status === 'held' ? null : item.heldAtMs,
    by: item.status === 'held' ? null : 'someone',
    why: item.why,
    waitsUntilMs: item.waitsUntilMs ?? null,
    revision: '7@3fa9c1d2e4b5',
    findings: item.findings.map(({ stage, rule, column, verdict, severity, message }) => ({
      stage,
      rule,
      column,
      verdict: verdicts[verdict],
      severity,
      message,
    })),
  };
}

function cells(item: StandInItem) {
  const cell = (name: string, type: string, after: string | null, note: string | null = null) => ({
    name,
    type,
    key: name === 'id',
    before: null,
    after,
    note,
  });
  return [
    cell('id', 'bigint', item.key),
    cell('status', 'text', 'new'),
    cell('total', 'numeric(12,2)', '120.00'),
    cell('email', 'text', null, 'redacted'),
    cell('note', 'text', null),
  ];
}

function byRule(open: readonly StandInItem[]): HeldByRuleView['rules'] {
  const groups = Map.groupBy(
    open.flatMap((item) => item.findings.map(({ rule }) => ({ ...item, rule }))),
    ({ dataset, rule }) => `${dataset} ${rule}`,
  );
  return [...groups.values()]
    .flatMap((of) => {
      const [first] = of;
      if (first === undefined) return [];
      const times = of.map(({ heldAtMs }) => heldAtMs);
      const { dataset, rule } = first;
      return [{ pipeline: PIPELINE, dataset, rule, count: of.length, fromMs: Math.min(...times), toMs: Math.max(...times) }];
    })
    .sort((a, b) => b.count - a.count);
}
