/** Inside of the client, for tests: how it reads an answer to a fetch itself. */
declare module 'kafkajs/src/protocol/requests/fetch/v11/response.js' {
  export function decode(bytes: Buffer): Promise<unknown>;
}
