// Documents of a projection after events.

import { Fault } from '../src/errors.js';
import { guarded } from '../src/guard.js';
import { write } from '../src/json.js';
import { parts } from '../src/projection.js';
import { expectSame, fail } from './diff.js';

/** Folds a log of events `{ stream, type, data, … }` into documents. */
export function givenEvents(projection, events) {
  return new Documents(projection).and(events);
}

export class Documents {
  #projection;
  #documents = new Map();
  #folded = new Map();
  #versions = new Map();
  #position = 0;

  constructor(projection) {
    this.#projection = projection;
  }

  /** Folds more events. */
  and(events) {
    for (const event of events) this.#fold(this.#recorded(event), event);
    this.#checkBatches();
    return this;
  }

  /** The document of a key; null: there is none. */
  document(key) {
    const text = this.#documents.get(key);
    return text === undefined ? null : JSON.parse(text);
  }

  /** Every document by its key. */
  documents() {
    return Object.fromEntries([...this.#documents].map(([key, text]) => [key, JSON.parse(text)]));
  }

  /** Expects exactly these documents. */
  then(expected, ...more) {
    if (typeof expected === 'function' || more.length > 0) {
      throw new TypeError('documents are not a promise: call .then({ key: document }), and do not await or return them');
    }
    expectSame('other documents than expected', this.documents(), expected);
  }

  #fold(recorded, event) {
    const projection = this.#projection;
    try {
      const keys = guarded(() => projection.keys({ ...recorded, position: 0 }));
      for (const key of keys) {
        this.#set(key, guarded(() => projection.apply({ key, document: this.#documents.get(key), events: [recorded] })));
        this.#folded.set(key, [...(this.#folded.get(key) ?? []), recorded]);
      }
    } catch (error) {
      if (error instanceof Fault) fail(`event ${event.type} of ${event.stream}: ${error.tag}: ${error.message}`);
      throw error;
    }
  }

  /** A host may fold any number of events of a document in one call. */
  #checkBatches() {
    for (const [key, events] of this.#folded) {
      const text = guarded(() => this.#projection.apply({ key, document: null, events }));
      const title = `the document ${key} differs when its events are folded in one call`;
      expectSame(title, text === null ? null : JSON.parse(text), this.document(key));
    }
  }

  #set(key, text) {
    if (text === null) this.#documents.delete(key);
    else this.#documents.set(key, text);
  }

  #recorded({ stream, type, data = {}, schemaVersion, recordedAt = 0, tags = [], annotations = {}, part = 0 }) {
    const projection = this.#projection;
    const version = (this.#versions.get(stream) ?? 0) + 1;
    this.#versions.set(stream, version);
    this.#position += 1;
    const [category] = parts(stream);
    const types = projection.sources.get(category) ?? projection.sources.get('*');
    const expected = types?.byName.get(type)?.version || 1;
    return {
      event: {
        type,
        schemaVersion: schemaVersion ?? expected,
        version,
        recordedAt: Math.round(new Date(recordedAt).getTime() * 1000),
        body: { tag: 'json', val: write(data, 'data') },
      },
      stream,
      position: this.#position,
      part,
      tags: projection.detail.tags ? tags : [],
      annotations: projection.detail.annotations ? Object.entries(annotations) : [],
    };
  }
}
