// Names and versions that a host accepts.

import { DefinitionError } from './errors.js';
import { quoted } from './text.js';

export function checkCategory(name) {
  check(/^[a-z][a-z0-9_]{0,63}$/, 'the category', name, '1 to 64 of a-z, 0-9 and _, beginning with a letter');
}

export function checkComponent(name) {
  check(/^[a-z][a-z0-9_.-]{0,63}$/, 'the name', name, '1 to 64 of a-z, 0-9, _, - and ., beginning with a letter');
}

export function checkDocuments(what, name) {
  check(/^[a-z][a-z0-9_-]{0,47}$/, `the name of ${what}`, name, '1 to 48 of a-z, 0-9, _ and -, beginning with a letter');
}

export function checkSemantic(version) {
  const form = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
  check(form, 'the version', version, 'a semantic version, such as 1.2.3');
}

/** Refuses options that nobody reads, such as a misspelt one. */
export function checkOptions(what, options, known) {
  if (options === null || typeof options !== 'object') throw new DefinitionError(`${what}: expected an object`);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new DefinitionError(`${what}: unknown option ${quoted(name)}; it has ${known.join(', ')}`);
  }
}

export function checkFunction(what, value) {
  if (typeof value !== 'function') throw new DefinitionError(`${what} is not a function`);
}

export function checkVersion(what, version, lowest = 1) {
  if (Number.isInteger(version) && version >= lowest && version < 2 ** 32) return;
  throw new DefinitionError(`${what} is ${version}; versions are whole numbers from ${lowest}`);
}

function check(form, what, name, rule) {
  if (typeof name === 'string' && form.test(name)) return;
  throw new DefinitionError(`${what} is ${quoted(String(name))}, expected ${rule}`);
}
