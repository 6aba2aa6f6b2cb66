/**
 * Preloaded into a service under test (`node --import`): whoever started it may set its wall clock while it runs, by a message with the
 * milliseconds that it is ahead, and is told once that is so. Timers and durations go on, as they do on a machine whose clock is set.
 */
const now = Date.now;
let aheadMs = 0;

Date.now = () => now() + aheadMs;
globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget) as object,
});
process.on('message', (message) => {
  aheadMs = Number(message);
  process.send?.(Date.now() - now());
});
process.channel?.unref();
