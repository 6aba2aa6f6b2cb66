/** GET /api/events: the page's stream. One timer for all who listen; a listener that does not read is cut off. */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { HttpProblem } from './problem.ts';
import type { Operations } from './operations.ts';

const EVERY_MS = 1000;
const LISTENERS_MAX = 64;
/** Bytes that may wait for a listener who does not read. */
const WAITING_MAX = 4 * 1024 * 1024;

interface Listener {
  readonly response: ServerResponse;
  seriesFromS: number;
  quarantineChanges: number;
}

/**
 * `event: status` with the body of /api/status, at once and every second. `event: series` with Metrics.series: first all that is kept,
 * then what is new. `event: quarantine` with {} when items were held or settled.
 */
export function liveRoute(app: FastifyInstance, operations: Operations): void {
  const listeners = new Set<Listener>();
  let timer: NodeJS.Timeout | null = null;
  let busy = false;

  const send = (to: readonly Listener[], status: unknown): void => {
    const statusText = message('status', status);
    for (const listener of to) {
      if (listener.response.writableLength > WAITING_MAX) {
        listener.response.destroy();
        continue;
      }
      const series = operations.metrics.series(listener.seriesFromS);
      listener.seriesFromS = series.toS;
      const changes = operations.quarantineChanges();
      const news = changes === listener.quarantineChanges ? '' : message('quarantine', {});
      listener.quarantineChanges = changes;
      listener.response.write(statusText + message('series', series) + news);
    }
  };
  const tick = async (to: readonly Listener[]): Promise<void> => {
    try {
      send(to, await operations.status());
    } catch {
      // The next second tells; a comment keeps the connection awake.
      for (const { response } of to) response.write(': no status\n\n');
    }
  };
  const start = (): void => {
    timer ??= setInterval(() => {
      if (busy) return; // A slow target makes the page slower, and never piles questions up.
      busy = true;
      void tick([...listeners]).finally(() => (busy = false)); // Nobody waits for a tick; it handles its own errors.
    }, EVERY_MS);
    timer.unref();
  };
  const leave = (listener: Listener): void => {
    listeners.delete(listener);
    if (listeners.size > 0 || timer === null) return;
    clearInterval(timer);
    timer = null;
  };

  app.get(
    '/api/events',
    { schema: { tags: ['status'], summary: 'Server-sent events: status, series, quarantine.', produces: ['text/event-stream'] } },
    async (_request, reply) => {
      if (listeners.size >= LISTENERS_MAX)
        throw new HttpProblem(503, 'TOO_MANY_LISTENERS', 'Too many pages are open.', { fix: 'Close some.' });
      reply.hijack();
      const response = reply.raw;
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
      });
      const listener: Listener = { response, seriesFromS: 0, quarantineChanges: operations.quarantineChanges() };
      listeners.add(listener);
      response.on('close', () => leave(listener));
      response.on('error', () => leave(listener));
      response.write('retry: 2000\n\n');
      await tick([listener]);
      start();
    },
  );

  app.addHook('preClose', async () => {
    for (const { response } of listeners) response.end();
  });
}

function message(event: string, body: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(body)}\n\n`;
}
