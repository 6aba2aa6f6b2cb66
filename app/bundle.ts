/**
 * A step of `npm run build`: what `tidegate judge` loads becomes a few files. Node takes longer to find and open three hundred of them than a million rows of
 * a Parquet file take. Each entry stays where it is and keeps its name, so that paths that are told from its place hold; what the rest of the program
 * loads as well, and tells apart by its class, stays outside.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const folder = join(dist, 'app', 'judge');

/** Each is loaded by a thread of its own, or by a thread that loads no other. */
const ENTRIES = ['given-input', 'judge-rules', 'judge-suite', 'part-worker', 'parquet-worker'];
const SHARED = ['app/cli/', 'app/config-problems.js', 'app/judge/part-workers.js', 'core/errors.js'];

const bundle = await rolldown({
  input: Object.fromEntries(ENTRIES.map((name) => [name, join(folder, `${name}.js`)])),
  platform: 'node',
  // The codecs in JavaScript are many, and asked for by few files.
  external: (id) => id === 'hyparquet-compressors' || SHARED.some((path) => id.startsWith(join(dist, path))),
  onLog: (level, log) => {
    if (level === 'warn') throw new Error(log.message);
  },
});
const { output } = await bundle.write({
  dir: folder,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'shared-[hash].js',
  // Comments and spaces take as long to read as what they are between.
  minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
});

/** Those packages are installed beside this one all the same; their code lies in here too, and so do their licences. */
const packages = new Set(output.flatMap((chunk) => (chunk.type === 'chunk' ? chunk.moduleIds.flatMap(packageOf) : [])));
const licences = [...packages].sort().map((name) => `${name}\n\n${licenceOf(name)}`);
writeFileSync(join(folder, 'LICENSES.txt'), `Parts of these packages are in files of this folder.\n\n${licences.join('\n\n')}`);

function packageOf(id: string): string[] {
  const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id) ?? [];
  return name === undefined ? [] : [name];
}

function licenceOf(name: string): string {
  const home = join(root, 'node_modules', name);
  const file = readdirSync(home).find((own) => /^licen[cs]e/i.test(own));
  if (file === undefined) throw new Error(`${name} has no file of its licence`);
  return readFileSync(join(home, file), 'utf8').trim();
}
