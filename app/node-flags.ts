/**
 * How Node is to be started for a service, in the package's bin and wherever we start one. Left alone, V8 lets the part of the heap in which objects are
 * made grow to 128 MB under load, to collect more seldom; with 4 MB semi-spaces a service at full rate takes 100 MB less and is as fast
 * (`npm run bench -- postgres`). Too late to set once a process runs.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=4'];
