/**
 * How Node is to be started for a service, in the package's bin and wherever we start one. Left alone, V8 lets the part of the heap in which objects are
 * made grow to 128 MB under load, to collect more seldom; with semi-spaces of 16 MB a service at full rate takes 100 MB less and is as fast, and with 4 MB
 * it takes 20 MB less again and 15 % more CPU (`npm run bench -- postgres`). Too late to set once a process runs.
 *
 * The whole heap is collected when it is twice what was left of it the last time, where V8 would wait until there is three or four times as much: batches
 * that are done with, and memory outside of the heap that waits with them. It takes 60 to 90 MB less at full rate (`npm run soak`), for some 10 ms of every second.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=16', '--heap-growing-percent=100'];
