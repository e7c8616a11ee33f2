// Checks types with the TypeScript compiler of the author's project, if there is one.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { BuildError } from './error.js';

const SHOWN_MAX = 20;
const DEFAULTS = [
  '--strict', '--target', 'es2023', '--module', 'esnext', '--moduleResolution', 'bundler',
  '--skipLibCheck', '--types', '',
];

/** Throws a `BuildError` with a line for each type error. JavaScript is not checked. */
export function checkTypes(folder, source) {
  if (!/\.[cm]?tsx?$/.test(source)) return;
  const compiler = compilerOf(folder);
  if (compiler === null) return;
  const hasProject = existsSync(path.join(folder, 'tsconfig.json'));
  const args = hasProject ? ['-p', 'tsconfig.json'] : [...DEFAULTS, source];
  const run = spawnSync(process.execPath, [compiler, '--noEmit', '--pretty', 'false', ...args], {
    cwd: folder, encoding: 'utf8', maxBuffer: 64 << 20,
  });
  if (run.error) throw new BuildError(`types were not checked: ${run.error.message}; --no-check skips it`);
  if (run.status === 0) return;
  const lines = `${run.stdout}${run.stderr}`.split('\n').map(line).filter((text) => text !== null);
  if (lines.length === 0) throw new BuildError('types were not checked; --no-check skips it', run.stdout + run.stderr);
  const more = lines.length - SHOWN_MAX;
  throw new BuildError([...lines.slice(0, SHOWN_MAX), ...(more > 0 ? [`${more} more errors of types`] : [])]);
}

/** The compiler of a project; null: typescript is not installed there. */
export function compilerOf(folder) {
  try {
    const file = createRequire(path.join(folder, 'package.json')).resolve('typescript/package.json');
    const { bin } = JSON.parse(readFileSync(file, 'utf8'));
    return path.join(path.dirname(file), bin.tsc);
  } catch {
    return null;
  }
}

/** `file:line:column: text` for a line of the compiler that is an error. */
function line(text) {
  const placed = /^(.+)\((\d+),(\d+)\): error (TS\d+: .*)$/.exec(text);
  if (placed) return `${placed[1]}:${placed[2]}:${placed[3]}: ${placed[4]}`;
  return /^error (TS\d+: .*)$/.exec(text)?.[1] ?? null;
}
