/** A receiver of webhooks. */
import { createServer, type Server } from 'node:http';

export interface Told {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** Keeps what it is told, in order, and answers that it has it. Whoever made it listens and closes. */
export function webhookReceiver(told: Told[]): Server {
  return createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      told.push(JSON.parse(body) as Told);
      response.writeHead(204).end();
    });
  });
}
