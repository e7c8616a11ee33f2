// Upcasters: stored events of older versions in their current form.

import { DefinitionError, Fault, internal, Unfit } from './errors.js';
import { kind, read, write } from './json.js';
import { checkAs, text } from './message.js';
import { checkCategory, checkComponent, checkFunction, checkOptions, checkSemantic, checkVersion } from './names.js';
import { compile } from './schema.js';
import { quoted } from './text.js';

/** Declares the steps of one category. Throws `DefinitionError` for what a host would refuse. */
export function upcaster(definition) {
  return new Upcaster(definition);
}

/** Begins a step that lifts one schema version of a type of event. */
export function lift(type, version, options = {}) {
  return new Lift(type, version, options);
}

/** Declares a component that has only upcasters, under a name of its own. */
export function upcasters(name, list, options = {}) {
  checkComponent(name);
  checkOptions(`the upcasters ${name}`, options, ['version', 'annotations']);
  if (options.version !== undefined) checkSemantic(options.version);
  return new UpcasterComponent(name, new UpcasterSet(list), options);
}

export class UpcasterComponent {
  constructor(name, set, options) {
    Object.assign(this, { name, upcasters: set, version: options.version, annotations: options.annotations });
  }
}

/** A step without its result. */
class Lift {
  constructor(type, version, options) {
    checkOptions(`the step from ${type}`, options, ['schema']);
    checkVersion(`the version of the step from ${type}`, version);
    const what = `event ${type} of schema version ${version}`;
    const check = options.schema === undefined ? (value) => value : compile(options.schema, `schema of ${what}`);
    Object.assign(this, { type, version, check });
  }

  /** `to(2, change)` keeps the type, `to('titled', 1, change)` renames it. */
  to(...args) {
    const [type, version, change = (data) => data] = typeof args[0] === 'string' ? args : [this.type, ...args];
    checkFunction(`the change of the step from ${this.type}`, change);
    return this.#step([[type, version]], (data) => [{ type, version, data: change(data) }]);
  }

  /** Each event becomes the parts that `parts` returns: none, one or several. */
  split(to, parts) {
    checkFunction(`the parts of the step from ${this.type}`, parts);
    return this.#step(Object.entries(to), parts);
  }

  /** The event is dropped. */
  drop() {
    return this.#step([], null);
  }

  #step(to, parts) {
    return new Step(this, to, parts);
  }
}

class Step {
  constructor({ type, version, check }, to, parts) {
    Object.assign(this, { type, version, check, to, parts });
    for (const [target, targetVersion] of to) {
      checkVersion(`${this} to ${target}: the version`, targetVersion);
      if (target !== type || targetVersion > version) continue;
      throw new DefinitionError(`${this} to version ${targetVersion}: it leads to a later version`);
    }
  }

  toString() {
    return `the step from ${this.type} of schema version ${this.version}`;
  }

  /** Lifts one event. Throws a `Fault`. */
  upcast({ body }) {
    const what = `event ${this.type} of schema version ${this.version}`;
    if (this.parts === null) return [];
    const data = this.#read(what, body);
    try {
      const parts = this.parts(data);
      if (!Array.isArray(parts)) throw new Unfit(`the step returned ${kind(parts)}, expected a list of parts`);
      return parts.map((part) => this.#part(part));
    } catch (error) {
      throw internal(what, error);
    }
  }

  #read(what, body) {
    try {
      // `null` was the body of a message without content.
      return checkAs('data', this.check, read(text(body)) ?? {}, false);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      throw new Fault('bad-event', `${what}: body does not fit: ${error.message}`);
    }
  }

  #part(part) {
    const declared = this.to.find(
      ([type, version]) => type === part?.type && (part.version === undefined || part.version === version),
    );
    if (declared === undefined) {
      const made = `event ${quoted(String(part?.type))} of schema version ${part?.version ?? 'any'}`;
      throw new Unfit(`the step made ${made}, which it does not declare; add it to \`split\``);
    }
    const [type, schemaVersion] = declared;
    return { type, schemaVersion, body: { tag: 'json', val: write(part.data ?? {}, 'data') } };
  }
}

export class Upcaster {
  constructor(definition) {
    checkOptions('the upcaster', definition, ['category', 'steps']);
    const { category, steps } = definition;
    checkCategory(category);
    if (!Array.isArray(steps)) throw new DefinitionError(`steps of ${category}: expected a list`);
    steps.forEach((step) => {
      if (step instanceof Step) return;
      throw new DefinitionError(`steps of ${category}: a step ends with \`to\`, \`split\` or \`drop\``);
    });
    Object.assign(this, { category, steps });
    this.#checkStarts();
    this.#checkCircles();
  }

  /** The step of that type from that version, or from the next later one. */
  next(type, version) {
    const later = this.steps.filter((step) => step.type === type && step.version >= version);
    return later.sort((one, other) => one.version - other.version)[0];
  }

  #checkStarts() {
    const seen = new Set();
    for (const step of this.steps) {
      const start = `${step.version} ${step.type}`;
      if (seen.has(start)) throw new DefinitionError(`steps of ${this.category}: two of ${step}`);
      seen.add(start);
    }
  }

  #checkCircles() {
    for (const start of this.steps) {
      const [seen, open] = [new Set(), [start]];
      while (open.length > 0) {
        const nexts = open.pop().to.map(([type, version]) => this.next(type, version));
        for (const next of nexts) {
          if (next === undefined || seen.has(next)) continue;
          if (next === start) throw new DefinitionError(`steps of ${this.category}: ${start} leads back to itself`);
          seen.add(next);
          open.push(next);
        }
      }
    }
  }
}

/** The upcasters of a component, with their steps in the order in which the host knows them. */
export class UpcasterSet {
  constructor(list) {
    this.list = [list].flat();
    for (const each of this.list) {
      if (!(each instanceof Upcaster)) throw new DefinitionError('upcasters: declare each with `upcaster({…})`');
    }
    this.steps = this.list.flatMap(({ category, steps }) => steps.map((step) => ({ category, step })));
    const starts = this.steps.map(({ category, step }) => `${category}: ${step}`);
    const twice = starts.find((start, index) => starts.indexOf(start) !== index);
    if (twice !== undefined) throw new DefinitionError(`two upcasters have ${twice}`);
  }

  described() {
    return this.steps.map(({ category, step }) => ({
      category, type: step.type, fromVersion: step.version, to: step.to,
    }));
  }

  upcast(index, events) {
    const known = this.steps[index];
    if (known === undefined) throw new Fault('internal', `no step ${index}; there are ${this.steps.length}`);
    return events.map((event) => known.step.upcast(event));
  }
}
