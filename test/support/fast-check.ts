/** fast-check with a seed that is the same in every run, unless FC_SEED says another (0: one by the clock): what fails in one run fails in the next. */
import { configureGlobal } from 'fast-check';

const seed = Number(process.env['FC_SEED'] ?? 20260801);
configureGlobal({ seed: seed === 0 ? Date.now() : seed });

export { default } from 'fast-check';
