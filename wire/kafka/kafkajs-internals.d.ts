/** As much of the client's inside as is mended. */
declare module 'kafkajs/src/network/requestQueue/index.js' {
  interface RequestQueue {
    readonly pending: readonly unknown[];
    /** Unix time in ms; below zero where the brokers have never held us back. */
    readonly throttledUntil: number;
    scheduleCheckPendingRequests: (this: RequestQueue) => void;
  }
  const queue: { readonly prototype: RequestQueue };
  export default queue;
}
