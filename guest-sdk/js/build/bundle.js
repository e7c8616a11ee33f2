// One file out of the author's files, the packages that they use, and the SDK.

import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { build } from 'esbuild';

import { BuildError } from './error.js';
import { lineTable } from './source-map.js';

/** The name of the file that the build adds. */
export const ENTRY = 'quipu-guest-entry.js';
const SDK = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const DIAGNOSTICS = 'quipu:domain/diagnostics@0.1.0';
const NODE = /^(node:|(assert|buffer|child_process|crypto|dns|events|fs|http|https|net|os|path|process|stream|timers|tls|url|util|worker_threads|zlib)(\/|$))/;

/** Returns the code of the component. */
export async function bundle({ folder, source, version, interfaces }) {
  const contents = [
    `import { guard } from ${file('src/guard.js')};`,
    `import { setLog } from ${file('src/log.js')};`,
    `import { setLines } from ${file('src/lines.js')};`,
    `import { component } from ${file('src/component.js')};`,
    `import diagnostics from ${JSON.stringify(DIAGNOSTICS)};`,
    `import ${file('build/guarded.js')};`,
    `import guest from ${JSON.stringify(source)};`,
    `setLog((level, text) => diagnostics.log(level, text));`,
    `setLines(globalThis.__quipuLines ?? null);`,
    `const exported = component(guest, ${JSON.stringify({ version })});`,
    ...interfaces.map((name) => `export const ${name} = exported.${name};`),
  ].join('\n');
  const { code, map } = await run(folder, contents);
  return withLines(code, map, folder);
}

/** Returns a program for Node that prints what the guest is. */
export async function describingBundle({ folder, source, version }) {
  const contents = [
    `import { guarded } from ${file('src/guard.js')};`,
    `import { component, isGuest } from ${file('src/component.js')};`,
    `import { print } from ${file('build/print.js')};`,
    `export const run = async () => {`,
    `  const { default: guest } = await import(${JSON.stringify(source)});`,
    `  return print(guest, { component, isGuest, guarded }, ${JSON.stringify({ version })});`,
    `};`,
  ].join('\n');
  const { code, map } = await run(folder, contents);
  const inline = Buffer.from(map).toString('base64');
  return `${code}\n//# sourceMappingURL=data:application/json;base64,${inline}\n`;
}

async function run(folder, contents) {
  try {
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: folder, sourcefile: ENTRY, loader: 'js' },
      absWorkingDir: folder,
      alias: { '@quipu/guest/testing': path.join(SDK, 'testing/index.js'), '@quipu/guest': path.join(SDK, 'src/index.js') },
      bundle: true,
      charset: 'utf8',
      external: ['quipu:*'],
      format: 'esm',
      legalComments: 'none',
      logLevel: 'silent',
      mainFields: ['module', 'main'],
      outfile: path.join(folder, 'guest.js'),
      platform: 'neutral',
      sourcemap: 'external',
      sourceRoot: pathToFileURL(`${folder}/`).href,
      sourcesContent: false,
      target: 'es2023',
      write: false,
    });
    const named = (extension) => outputFiles.find((output) => output.path.endsWith(extension)).text;
    return { code: named('.js'), map: named('.map') };
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    throw new BuildError(lines(error), error.message);
  }
}

/** A line for each of the first messages of the bundler. */
export function lines({ errors }) {
  return errors.slice(0, 20).map(line);
}

function line({ text, location }) {
  const missing = /^Could not resolve "([^"]+)"/.exec(text)?.[1];
  const known = missing && NODE.test(missing);
  const what = known ? `${missing} is not available in a guest: it has no files, network or processes` : text;
  if (!location) return what;
  return `${location.file}:${location.line}:${location.column + 1}: ${what}`;
}

/** Adds the table that leads from lines of the bundle to lines of the author. */
function withLines(code, map, folder) {
  const table = lineTable(JSON.parse(map), folder, SDK);
  // On the first line, so that the other lines keep their numbers.
  return `globalThis.__quipuLines=${JSON.stringify(table)};${code}`;
}

function file(name) {
  return JSON.stringify(path.join(SDK, name));
}
