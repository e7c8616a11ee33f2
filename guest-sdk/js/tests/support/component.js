// Runs a built component in Node, without a host.

import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';

import { transpile } from '@bytecodealliance/jco-transpile';

// The engine's module uses constant expressions that Node 20 has switched off.
setFlagsFromString('--experimental-wasm-extended-const');

const NAMES = ['manifest', 'decider', 'upcaster', 'projection'];

/** Loads a component. `start` returns its exports in a new instance, `imports` names its imports. */
export async function load(file) {
  const folder = mkdtempSync(path.join(tmpdir(), 'quipu-component-'));
  const { files, imports } = await transpile(file, { name: 'guest', instantiation: { tag: 'async' }, wasiShim: false });
  const list = files instanceof Map ? [...files] : Array.isArray(files) ? files : Object.entries(files);
  for (const [name, bytes] of list) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), bytes);
  }
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
  const { instantiate } = await import(pathToFileURL(path.join(folder, 'guest.js')).href);
  const modules = new Map();
  const core = (name) => {
    if (!modules.has(name)) modules.set(name, WebAssembly.compile(readFileSync(path.join(folder, name))));
    return modules.get(name);
  };
  return {
    imports,
    start: (log = []) => started(instantiate, core, log),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function started(instantiate, core, log) {
  const diagnostics = { log: (level, text) => log.push(`${level}: ${text}`) };
  const exports = await instantiate(core, { 'quipu:domain/diagnostics': diagnostics, 'quipu:domain/types': {} });
  return Object.fromEntries(NAMES.map((name) => [name, exports[name]]).filter(([, value]) => value));
}
