// Projects of authors, in temporary folders.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const SDK = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAM = path.join(SDK, 'bin/quipu-guest.js');

/** An empty folder that is removed after the test. */
export function emptyFolder(t) {
  const folder = mkdtempSync(path.join(tmpdir(), 'quipu-project-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A project with these files, or with those of a fixture, in which the SDK is installed. */
export function project(t, files, { hasTypescript = false } = {}) {
  const folder = emptyFolder(t);
  if (typeof files === 'string') cpSync(path.join(SDK, 'tests/fixtures', files), folder, { recursive: true });
  else for (const [name, text] of Object.entries(files)) write(path.join(folder, name), text);
  mkdirSync(path.join(folder, 'node_modules/@quipu'), { recursive: true });
  symlinkSync(SDK, path.join(folder, 'node_modules/@quipu/guest'));
  if (hasTypescript) symlinkSync(path.join(SDK, 'node_modules/typescript'), path.join(folder, 'node_modules/typescript'));
  return folder;
}

/** Runs `quipu-guest` in a folder. */
export function run(folder, ...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { cwd: folder, encoding: 'utf8' });
  return { status, stdout, stderr };
}

function write(file, text) {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}
