// Runs the author's tests with `node --test`. TypeScript is bundled first, so any Node can run it.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import { build } from 'esbuild';

import { lines } from './bundle.js';
import { BuildError } from './error.js';
import { checkTypes } from './types.js';

const FOLDERS = ['tests', 'test', 'src'];
const TEST = /\.test\.[cm]?[jt]s$/;

/** Runs the tests of a project, and returns the exit code. */
export async function runTests({ skipsCheck, folder = process.cwd() }) {
  const files = FOLDERS.filter((name) => existsSync(path.join(folder, name))).flatMap((name) => testsIn(folder, name));
  if (files.length === 0) throw new BuildError(`no tests: expected *.test.ts or *.test.js in ${FOLDERS.join(', ')}`);
  if (!skipsCheck) checkTypes(folder, files[0]);
  // In the project, so that its packages are found.
  const outdir = path.join(folder, 'node_modules', '.quipu-guest');
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  try {
    await bundled(folder, files, outdir);
    const built = files.map((file) => path.join(outdir, file.replace(/\.[^.]+$/, '.mjs')));
    // A runner that is itself started by a test would otherwise report to the outer one.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const args = ['--enable-source-maps', '--test', ...built];
    return spawnSync(process.execPath, args, { cwd: folder, env, stdio: 'inherit' }).status ?? 1;
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

async function bundled(folder, files, outdir) {
  try {
    await build({
      absWorkingDir: folder, bundle: true, entryPoints: files, format: 'esm', logLevel: 'silent', outbase: folder,
      outdir, outExtension: { '.js': '.mjs' }, packages: 'external', platform: 'node', sourcemap: 'linked', target: 'node20',
    });
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    throw new BuildError(lines(error), error.message);
  }
}

function testsIn(folder, name) {
  const entries = readdirSync(path.join(folder, name), { recursive: true });
  return entries.filter((entry) => TEST.test(entry)).map((entry) => path.join(name, entry)).sort();
}
