// The read side: documents, each a fold of the events that concern it.

import { named } from './context.js';
import { DefinitionError, Fault, internal, Unfit } from './errors.js';
import { kind, read, write } from './json.js';
import { checkAs, Messages, text } from './message.js';
import {
  checkCategory, checkComponent, checkDocuments, checkFunction, checkOptions, checkSemantic, checkVersion,
} from './names.js';
import { compile } from './schema.js';
import { byteLength, quoted } from './text.js';

const OPTIONS = ['name', 'version', 'sources', 'tags', 'annotations', 'indexes', 'document', 'keys', 'apply'];
const KEYS_MAX = 256;
const [INDEXES_MAX, SOURCES_MAX, PROJECTIONS_MAX] = [16, 64, 64];
const SCHEMA_BYTES_MAX = 64 << 10;

/** A source: every type of event of the category. */
export const every = Object.freeze({ every: true });

/** The kinds of indexes. */
export const index = Object.freeze({
  text: (pointer) => ({ kind: 'text', pointer }),
  integer: (pointer) => ({ kind: 'integer', pointer }),
  number: (pointer) => ({ kind: 'number', pointer }),
  boolean: (pointer) => ({ kind: 'boolean', pointer }),
});

/** Declares a projection. Throws `DefinitionError` for what a host would refuse at upload. */
export function projection(definition) {
  return new Projection(definition);
}

/** Declares a component that has only projections, under a name of its own. */
export function projections(name, list, options = {}) {
  checkComponent(name);
  checkOptions(`the projections ${name}`, options, ['version', 'annotations']);
  if (options.version !== undefined) checkSemantic(options.version);
  return new ProjectionComponent(name, new ProjectionSet(list), options);
}

export class ProjectionComponent {
  constructor(name, set, options) {
    Object.assign(this, { name, projections: set, version: options.version, annotations: options.annotations });
  }
}

export class Projection {
  constructor(definition) {
    checkOptions('the projection', definition, OPTIONS);
    const { name, version = 1, sources = {}, indexes = {}, tags = false, annotations = false } = definition;
    checkDocuments('the projection', name);
    checkVersion(`the version of ${name}`, version);
    for (const each of ['keys', 'apply']) checkFunction(`${each} of ${name}`, definition[each]);
    Object.assign(this, { definition, name, version, detail: { tags, annotations } });
    this.sources = new Map(Object.entries(sources).map(([category, types]) => [category, this.#source(category, types)]));
    if (this.sources.size === 0) throw new DefinitionError(`${name}: no source; it would never receive an event`);
    checkCount(name, 'sources', this.sources.size, SOURCES_MAX);
    this.indexes = Object.entries(indexes).map(([label, each]) => this.#index(label, each));
    this.#declare(definition.document);
    checkCount(name, 'indexes', this.indexes.length, INDEXES_MAX);
  }

  /** Takes the JSON Schema of the documents. */
  #declare(schema) {
    this.schema = schema === undefined ? null : JSON.stringify(schema);
    this.check = schema === undefined ? null : compile(schema, `document of ${this.name}`);
    if (this.schema !== null && byteLength(this.schema) > SCHEMA_BYTES_MAX) {
      throw new DefinitionError(`${this.name}: the schema of its documents has more than ${SCHEMA_BYTES_MAX} bytes`);
    }
  }

  described() {
    const sources = [...this.sources].map(([category, types]) => ({
      category: category === '*' ? '' : category,
      events: types === null ? [] : types.list.map((type) => [type.name, type.version]),
    }));
    return { name: this.name, version: this.version, sources, detail: this.detail, indexes: this.indexes };
  }

  /** The keys of the documents that an event concerns. */
  keys(recorded) {
    const event = this.read(recorded);
    try {
      return checkKeys([this.definition.keys(event) ?? []].flat());
    } catch (error) {
      throw internal(`keys of ${this.name} for ${place(recorded)}`, error);
    }
  }

  /** The document after its events, as JSON; null: there is none. */
  apply({ key, document, events }) {
    let next = this.#document(key, document);
    let where = key;
    try {
      for (const recorded of events) {
        where = `${key} after ${place(recorded)}`;
        const event = this.read(recorded);
        next = this.definition.apply(next, event, key) ?? null;
        if (typeof next?.then === 'function') throw new Unfit('returned a Promise; return the document');
      }
      if (next === null) return null;
      if (this.check !== null) checkAs('document', this.check, next, true);
      return write(next, 'document');
    } catch (error) {
      throw internal(`apply of ${this.name} to ${where}`, error);
    }
  }

  /** An event with its place in the log. Throws a `Fault`. */
  read(recorded) {
    const { event, stream } = recorded;
    const [category, key] = parts(stream);
    const source = this.sources.has(category) ? category : '*';
    if (!this.sources.has(source)) throw new Fault('unknown-event', `${this.name} reads no events of ${category}`);
    return {
      type: event.type,
      ...this.#data(this.sources.get(source), event),
      category,
      stream,
      key,
      version: event.version,
      position: recorded.position,
      recordedAtMicros: event.recordedAt,
      get recordedAt() {
        return new Date(Math.floor(event.recordedAt / 1000));
      },
      part: recorded.part,
      tags: recorded.tags,
      annotations: named(recorded.annotations),
    };
  }

  #data(types, event) {
    const { schemaVersion } = event;
    if (types === null) return { schemaVersion, data: rawData(event) };
    const type = types.byName.get(event.type);
    if (type === undefined) throw new Fault('unknown-event', types.unknown(event.type));
    // Version 0: as the decider of the category has it.
    if (type.version !== 0 && type.version !== schemaVersion) {
      throw new Fault('unknown-event', types.otherVersion(type, schemaVersion));
    }
    try {
      return { type: type.name, schemaVersion, data: types.read(type, event.body) };
    } catch (error) {
      if (error instanceof Unfit) throw new Fault('bad-event', error.message);
      throw error;
    }
  }

  #document(key, document) {
    if (document === null || document === undefined) return null;
    try {
      return read(document);
    } catch (error) {
      throw internal(`document ${key} of ${this.name}`, error);
    }
  }

  #source(category, types) {
    if (category !== '*' && category !== '$streams') checkCategory(category);
    if (types === every) return null;
    if (category === '*') throw new DefinitionError(`${this.name}: the source "*" takes \`every\``);
    return new Messages(`${this.name} from ${category}`, 'event', types, { lowestVersion: 0 });
  }

  #index(label, { kind: type, pointer }) {
    checkDocuments(`an index of ${this.name}`, label);
    const fits = typeof pointer === 'string' && byteLength(pointer) <= 255 && /^(\/.*)?$/su.test(pointer);
    if (!fits) throw new DefinitionError(`${this.name}: ${quoted(String(pointer))} is not a JSON pointer`);
    if (!['text', 'integer', 'number', 'boolean'].includes(type)) {
      throw new DefinitionError(`${this.name}: index ${label} has no kind; use \`index.text("/field")\``);
    }
    return { name: label, pointer, kind: type };
  }
}

/** The projections of a component. */
export class ProjectionSet {
  constructor(list) {
    this.list = [list].flat();
    for (const each of this.list) {
      if (!(each instanceof Projection)) throw new DefinitionError('projections: declare each with `projection({…})`');
    }
    checkCount('the component', 'projections', this.list.length, PROJECTIONS_MAX);
    this.byName = new Map(this.list.map((each) => [each.name, each]));
    if (this.byName.size < this.list.length) throw new DefinitionError('two projections have the same name');
  }

  named(name) {
    const known = this.byName.get(name);
    if (known === undefined) throw new Fault('internal', `no projection ${quoted(name)}`);
    return known;
  }
}

function checkKeys(keys) {
  if (keys.length > KEYS_MAX) throw new Unfit(`${keys.length} keys, at most ${KEYS_MAX}`);
  const seen = new Set();
  for (const key of keys) {
    if (typeof key !== 'string') throw new Unfit(`a key is ${kind(key)}, not a string`);
    const fits = key !== '' && byteLength(key) <= 255 && key.isWellFormed() && !/\p{Cc}/u.test(key);
    if (!fits) throw new Unfit(`the key ${quoted(key)}, expected 1 to 255 bytes without control characters`);
    if (seen.has(key)) throw new Unfit(`the key ${quoted(key)} is there twice`);
    seen.add(key);
  }
  return keys;
}

function checkCount(name, what, count, max) {
  if (count > max) throw new DefinitionError(`${name}: ${count} ${what}, at most ${max}`);
}

function rawData(event) {
  if (event.body.tag !== 'json') return undefined;
  try {
    return read(text(event.body));
  } catch (error) {
    throw new Fault('bad-event', `event ${event.type}: ${error.message}`);
  }
}

function place({ event, stream }) {
  return `${event.type} (${stream}, version ${event.version})`;
}

/** The category and the key of a stream's id. */
export function parts(stream) {
  const dash = stream.indexOf('-');
  return dash < 0 ? [stream, ''] : [stream.slice(0, dash), stream.slice(dash + 1)];
}
