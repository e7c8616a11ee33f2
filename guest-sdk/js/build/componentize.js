// The component: the bundle and a JavaScript engine, with every import of WASI replaced by a trap.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { componentize } from 'componentize-qjs';

import { BuildError } from './error.js';

/** The package's copy of the contract. */
export const CONTRACT = fileURLToPath(new URL('../wit/domain.wit', import.meta.url));
const WORLD = 'built-guest';

/** Returns the bytes of the component that exports these interfaces. */
export async function componentized({ code, interfaces, isSmall = false, temporary }) {
  const wit = path.join(temporary, 'wit');
  mkdirSync(wit);
  copyFileSync(CONTRACT, path.join(wit, 'domain.wit'));
  writeFileSync(path.join(wit, 'world.wit'), world(interfaces));
  try {
    const { component } = await componentize({
      witPath: wit,
      world: WORLD,
      jsSource: code,
      stubWasi: true,
      sync: true,
      optSize: isSmall,
    });
    return component;
  } catch (error) {
    const [first] = String(error.message).split('\n');
    throw new BuildError(`the component was not built: ${first}`, error.stack);
  }
}

/** A world with exactly these exports, so that a component has no code for the others. */
function world(interfaces) {
  const exports = interfaces.map((name) => `  export ${name};`);
  return ['package quipu:domain@0.1.0;', '', `world ${WORLD} {`, '  import diagnostics;', ...exports, '}', ''].join('\n');
}
