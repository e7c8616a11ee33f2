// Events that a decision returns, in the form in which they cross the border.

import { Unfit } from './errors.js';
import { kind } from './json.js';
import { byteLength, quoted } from './text.js';

const MEMBERS = new Set(['type', 'data', 'tags', 'annotations']);
const LABELS_MAX = 64;
const LABEL_BYTES_MAX = 255;

/** Checks an event of the author. Throws `Unfit`. */
export function newEvent(types, event) {
  if (event === null || typeof event !== 'object') {
    throw new Unfit(`returned ${kind(event)} as an event; expected { type, data }`);
  }
  const type = types.byName.get(event.type);
  if (type === undefined) throw new Unfit(types.unknown(String(event.type)));
  for (const name of Object.keys(event)) {
    if (MEMBERS.has(name)) continue;
    throw new Unfit(`event ${type.name}: unknown member ${quoted(name)}; put it into data`);
  }
  return {
    type: type.name,
    schemaVersion: type.version,
    body: { tag: 'json', val: types.write(type, event.data) },
    tags: event.tags === undefined ? [] : tagsOf(type.name, event.tags),
    annotations: event.annotations === undefined ? [] : annotationsOf(`event ${type.name}`, event.annotations),
  };
}

function tagsOf(name, tags) {
  if (!Array.isArray(tags) || tags.length > LABELS_MAX) {
    throw new Unfit(`event ${name}: tags are a list of at most ${LABELS_MAX}`);
  }
  for (const tag of tags) {
    const fits = typeof tag === 'string' && /^[^:]+:./su.test(tag) && byteLength(tag) <= LABEL_BYTES_MAX;
    if (fits) continue;
    const rule = `expected name:value of at most ${LABEL_BYTES_MAX} bytes`;
    throw new Unfit(`event ${name}: tag ${quoted(String(tag))}, ${rule}`);
  }
  return tags;
}

/** Returns annotations as pairs. Throws `Unfit`. */
export function annotationsOf(what, annotations) {
  const pairs = Object.entries(annotations);
  if (pairs.length > LABELS_MAX) throw new Unfit(`${what}: ${pairs.length} annotations, at most ${LABELS_MAX}`);
  for (const [name, value] of pairs) {
    if (name === '' || name.startsWith('quipu.')) {
      throw new Unfit(`${what}: annotation ${quoted(name)}; names are not empty and not in quipu.`);
    }
    if (typeof value !== 'string') throw new Unfit(`${what}: annotation ${name} is ${kind(value)}, not a string`);
    if (byteLength(name) <= LABEL_BYTES_MAX && byteLength(value) <= LABEL_BYTES_MAX) continue;
    throw new Unfit(`${what}: annotation ${quoted(name)} is longer than ${LABEL_BYTES_MAX} bytes`);
  }
  return pairs;
}
