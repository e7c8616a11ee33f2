// Stored events of older versions.

import { Fault } from '../src/errors.js';
import { guarded } from '../src/guard.js';
import { expectSame, fail } from './diff.js';

/** Lifts a stored event with the steps of an upcaster, as far as they lead. */
export function lifted(upcaster, type, version, data = {}) {
  const body = { tag: 'json', val: typeof data === 'string' ? data : JSON.stringify(data) };
  try {
    return new Lifted(guarded(() => chain(upcaster, { type, schemaVersion: version, body })));
  } catch (error) {
    if (error instanceof Fault) return new Lifted([], error);
    throw error;
  }
}

export class Lifted {
  constructor(events, fault = null) {
    Object.assign(this, { stored: events, fault });
  }

  /** The events, with their schema versions. */
  events() {
    if (this.fault) fail(`not lifted: ${this.fault.tag}: ${this.fault.message}`);
    return this.stored.map(({ type, schemaVersion, body }) => ({ type, version: schemaVersion, data: JSON.parse(body.val) }));
  }

  /** Expects exactly these events; the version of one is 1 unless it is named. */
  to(expected) {
    const wanted = [expected].flat().map(({ type, version = 1, data = {} }) => ({ type, version, data }));
    expectSame('other events than expected', this.events(), wanted);
  }

  /** Expects exactly these events of the decider that reads them. */
  readBy(decider, expected) {
    const found = this.events().map(({ type: name, version, data }) => {
      const type = decider.events.byName.get(name);
      if (type === undefined) fail(`not read: ${decider.events.unknown(name)}`);
      if (type.version !== version) fail(`not read: ${decider.events.otherVersion(type, version)}`);
      return { type: type.name, data: decider.events.read(type, { tag: 'json', val: JSON.stringify(data) }) };
    });
    expectSame('other events than expected', found, [expected].flat().map(({ type, data = {} }) => ({ type, data })));
  }

  /** Expects that the event can't be lifted: `bad-event` or `internal`. Returns the text. */
  failed(tag) {
    if (this.fault?.tag !== tag) fail(`${this.fault?.message ?? 'lifted'}\nexpected ${tag}`, this.fault?.tag, tag);
    return this.fault.message;
  }
}

function chain(upcaster, event) {
  const step = upcaster.next(event.type, event.schemaVersion);
  if (step === undefined) return [event];
  return step.upcast(event).flatMap((part) => chain(upcaster, part));
}
