// Evaluates a guest once in a process of its own, to learn what it is and to report mistakes with
// the author's file and line.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { describingBundle, ENTRY } from './bundle.js';
import { BuildError } from './error.js';

const TIME_MAX_MS = 60_000;
const RUNNER = fileURLToPath(new URL('./evaluate.js', import.meta.url));

/** Returns the manifest, the interfaces, the projections and the steps of a guest. */
export async function described({ folder, source, version, temporary }) {
  const program = path.join(temporary, 'describe.mjs');
  writeFileSync(program, await describingBundle({ folder, source, version }));
  const args = ['--enable-source-maps', RUNNER, pathToFileURL(program).href];
  const run = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', timeout: TIME_MAX_MS, maxBuffer: 64 << 20 });
  if (run.error) throw new BuildError(`the guest was not evaluated: ${run.error.message}`);
  const answer = run.stdout.split('\n').findLast((line) => line.startsWith('quipu-guest:'));
  if (answer === undefined) throw new BuildError('the guest ended the process while it was evaluated', run.stderr);
  const { error, ...guest } = JSON.parse(answer.slice('quipu-guest:'.length));
  if (error) throw new BuildError(`${placeOf(error.stack, folder)}${error.message}`, error.stack);
  return guest;
}

/** `file:line: ` of the first frame in the author's files; empty if there is none. */
function placeOf(stack, folder) {
  for (const [, name, line] of stack.matchAll(/\(?((?:file:\/\/)?\/[^\s()]+):(\d+):\d+\)?/g)) {
    const file = name.startsWith('file:') ? fileURLToPath(name) : name;
    const relative = path.relative(folder, file);
    const isOwn = !relative.startsWith('..') && !relative.includes('node_modules') && relative !== ENTRY;
    if (isOwn) return `${relative}:${line}: `;
  }
  return '';
}
