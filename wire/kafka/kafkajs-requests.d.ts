/** Inside of the client: how its requests are written and their answers read. */
declare module 'kafkajs/src/protocol/requests/index.js' {
  interface Asked {
    readonly request: unknown;
    readonly response: { decode(bytes: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> };
  }
  export const requests: { readonly Fetch: { protocol: (chosen: { readonly version: number }) => (options: unknown) => Asked } };
}

declare module 'kafkajs/src/protocol/requests/fetch/v11/response.js' {
  export function decode(bytes: Buffer): Promise<unknown>;
}
