/** The last step of `npm run build`: what is no TypeScript and is needed at run time goes beside the built files. */
import { chmodSync, cpSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
if (existsSync(`${root}/app/web`)) {
  cpSync(`${root}/app/web`, `${root}/dist/app/web`, { recursive: true, filter: (path) => !/\.(md|ts)$/.test(path) });
}
chmodSync(`${root}/dist/app/cli/main.js`, 0o755);
