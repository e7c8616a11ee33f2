// Types of commands and events.

import { DefinitionError, Unfit, within } from './errors.js';
import { checkExact, parse, write } from './json.js';
import { compile, s } from './schema.js';
import { byteLength, quoted } from './text.js';

const OPTIONS = ['version', 'aliases', 'unchangedSince', 'parse', 'description'];

class Message {
  constructor(schema, options, isEmpty) {
    this.schema = schema;
    this.options = options;
    this.isEmpty = isEmpty;
  }
}

/** Declares a type of message by the members of its data. Without members its data is `{}`. */
export function message(members = {}, options = {}) {
  const isEmpty = Object.keys(members).length === 0;
  const bounds = isEmpty ? { additionalProperties: false } : {};
  return new Message(s.object(members, bounds), options, isEmpty);
}

/** Declares a type of message by a JSON Schema, or by nothing: then its data is any JSON. */
export function messageOf(schema = {}, options = {}) {
  return new Message(schema, options, false);
}

/** The messages of one kind, by name and by alias. */
export class Messages {
  /** `owner` and `what` are for texts: `account`, `command`. */
  constructor(owner, what, declared = {}, { lowestVersion = 1 } = {}) {
    this.owner = owner;
    this.what = what;
    this.list = Object.keys(declared).map((name) => this.#type(name, declared[name], lowestVersion));
    this.byName = new Map();
    for (const type of this.list) {
      for (const name of [type.name, ...type.aliases]) {
        if (this.byName.has(name)) throw this.#error(name, `two ${what}s have this name`);
        this.byName.set(name, type);
      }
    }
  }

  /** Reads a body as data. Throws `Unfit` when the body does not fit. */
  read(type, body) {
    try {
      const json = text(body);
      const value = parse(json);
      // A schema without numbers checks its strings itself.
      if (type.check === null || type.check.hasNumbers) checkExact(json);
      return this.checked(type, type.isEmpty && value === null ? {} : value, false);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      throw new Unfit(`${this.what} ${type.name}: body does not fit: ${error.message}`);
    }
  }

  /** Writes data as a body. Throws `Unfit` when the data does not fit. */
  write(type, data = {}) {
    try {
      this.checked(type, data, true);
      return type.check?.isTyped ? JSON.stringify(data) : write(data, 'data');
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      throw new Unfit(`${this.what} ${type.name} does not fit its schema: ${error.message}`);
    }
  }

  checked(type, value, isStrict) {
    // An author's `parse` replaces the schema, which then only describes the data.
    if (type.parse === undefined) return checkAs('data', type.check, value, isStrict);
    if (isStrict) return value;
    try {
      return type.parse(value);
    } catch (error) {
      throw new Unfit(error instanceof Error ? error.message : String(error));
    }
  }

  unknown(name) {
    const known = this.list.map((type) => type.name);
    const shown = known.length > 12 ? [...known.slice(0, 12), '…'] : known;
    return `${this.owner} has no ${this.what} ${quoted(name)}; it has ${shown.join(', ') || 'none'}`;
  }

  otherVersion(type, version) {
    return `${this.what} ${type.name}: schema version ${version}, expected ${type.version}`;
  }

  #type(name, declared, lowestVersion) {
    if (!(declared instanceof Message)) throw this.#error(name, 'declare it with `message(…)`');
    const { schema, options, isEmpty } = declared;
    for (const option of Object.keys(options)) {
      if (!OPTIONS.includes(option)) throw this.#error(name, `unknown option ${quoted(option)}`);
    }
    const { version = 1, aliases = [], unchangedSince, parse, description } = options;
    if (!Number.isInteger(version) || version < lowestVersion) {
      throw this.#error(name, `schema version ${version}; versions begin at 1`);
    }
    if (unchangedSince !== undefined && !(unchangedSince >= 1 && unchangedSince <= version)) {
      throw this.#error(name, `unchangedSince ${unchangedSince}, expected 1 to ${version}`);
    }
    for (const label of [name, ...aliases]) {
      if (label === '' || byteLength(label) > 255) throw this.#error(label, 'a name has 1 to 255 bytes');
    }
    const check = parse === undefined ? compile(schema, `the schema of ${this.what} ${name}`) : null;
    return {
      name, version, aliases, unchangedSince, parse, check, isEmpty,
      schema: JSON.stringify(description === undefined ? schema : { description, ...schema }),
    };
  }

  #error(name, text) {
    return new DefinitionError(`${this.owner}: ${this.what} ${quoted(name)}: ${text}`);
  }
}

/** The text of a JSON body. */
export function text(body) {
  if (body.tag !== 'json') throw new Unfit('body is binary, expected JSON');
  return body.val;
}

/** Checks a value under a name. Throws `Unfit`. */
export function checkAs(name, check, value, isStrict) {
  try {
    return check(value, isStrict);
  } catch (error) {
    throw within(error, name);
  }
}
