/** A receiver of webhooks on loopback that believes only what is signed: what a customer of Tidegate's alerts would write. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { newWebhookSecret, verifyWebhook } from '../../ops/alerts/signature.ts';

export interface ReceivedAlert {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly secret: string;
  /** Alerts whose signature fitted, each once. */
  readonly alerts: readonly ReceivedAlert[];
  /** Webhooks that were refused. */
  readonly refused: number;
}

export async function startReceiver(onAlert: (alert: ReceivedAlert) => void): Promise<Receiver> {
  const secret = newWebhookSecret();
  const alerts: ReceivedAlert[] = [];
  const known = new Set<string>();
  let refused = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks); // The bytes as they came: the signature is over them.
      const verdict = verifyWebhook(request.headers, body, [secret], Date.now());
      const id = request.headers['webhook-id'];
      if (verdict.kind === 'refused' || typeof id !== 'string') {
        refused++;
        response.writeHead(400).end();
        return;
      }
      response.writeHead(204).end();
      if (known.has(id)) return; // Delivery is at least once: the id tells repeats.
      known.add(id);
      const alert = JSON.parse(body.toString('utf8')) as ReceivedAlert;
      alerts.push(alert);
      onAlert(alert);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/alerts`,
    secret,
    alerts,
    get refused() {
      return refused;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
