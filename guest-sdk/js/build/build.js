// From a guest's source to a component.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { bundle } from './bundle.js';
import { componentized, CONTRACT } from './componentize.js';
import { described } from './describe.js';
import { BuildError } from './error.js';
import { kept, sourceDigest, stamped } from './stamp.js';
import { checkTypes } from './types.js';

const ENTRIES = ['src/index.ts', 'src/index.js', 'index.ts', 'index.js'];
const BYTES_MAX = 64 << 20;

/** Builds a guest, and returns what the command prints. */
export async function build({ entry, out, isSmall, skipsCheck, folder = process.cwd() }) {
  const source = entryOf(folder, entry);
  if (!skipsCheck) checkTypes(folder, source);
  const temporary = mkdtempSync(path.join(tmpdir(), 'quipu-guest-'));
  try {
    const version = packageVersion(folder);
    const guest = await described({ folder, source, version, temporary });
    const target = path.resolve(folder, out ?? `${guest.manifest.name}.wasm`);
    const code = await bundle({ folder, source, version, interfaces: guest.interfaces });
    const parts = { code, interfaces: guest.interfaces, isSmall };
    const digest = sourceDigest({ ...parts, contract: readFileSync(CONTRACT), tools: tools() });
    const before = kept(target, digest);
    const component = before ?? stamped(await componentized({ ...parts, temporary }), digest);
    if (component.length > BYTES_MAX) {
      throw new BuildError(`the component has ${component.length} bytes; a host accepts ${BYTES_MAX} by default`);
    }
    if (before === null) write(target, component);
    const shown = path.relative(folder, target);
    return result(shown.startsWith('..') ? target : shown, component, guest);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function entryOf(folder, entry) {
  const candidates = entry === undefined ? ENTRIES : [entry];
  const found = candidates.map((name) => path.resolve(folder, name)).find((name) => existsSync(name));
  if (found) return found;
  if (entry !== undefined) throw new BuildError(`${entry}: no such file`);
  throw new BuildError(`no entry in ${folder}: expected ${ENTRIES.join(', ')}, or name it with --entry`);
}

/** The version in the author's package.json, for a guest that names none. */
function packageVersion(folder) {
  const file = path.join(folder, 'package.json');
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8')).version;
  } catch (error) {
    throw new BuildError(`package.json: ${error.message}`);
  }
}

/** The versions of what is in a component in addition to the code. */
function tools() {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).dependencies;
}

function write(target, component) {
  try {
    writeFileSync(target, component);
  } catch (error) {
    throw new BuildError(`${target} can't be written: ${error.message}`);
  }
}

function result(out, component, { manifest, interfaces, projections, steps }) {
  const versioned = ({ type, schemaVersion }) => (schemaVersion === 1 ? type : `${type} (version ${schemaVersion})`);
  return {
    out,
    bytes: component.length,
    name: manifest.name,
    version: manifest.version,
    exports: interfaces,
    imports: ['diagnostics'],
    commands: manifest.commands.map(versioned),
    events: manifest.events.map(versioned),
    projections,
    steps,
  };
}
