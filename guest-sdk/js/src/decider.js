// The write side: one aggregate type.

import { DefinitionError, internal, Fault, Rejection, Unfit } from './errors.js';
import { Context } from './context.js';
import { read, settle, write } from './json.js';
import { log } from './log.js';
import { checkAs, Messages, text } from './message.js';
import { checkMigrations } from './migrations.js';
import { checkCategory, checkFunction, checkOptions, checkSemantic, checkVersion } from './names.js';
import { newEvent } from './new-event.js';
import { ProjectionSet } from './projection.js';
import { compile } from './schema.js';
import { UpcasterSet } from './upcaster.js';

const OPTIONS = [
  'category', 'version', 'commands', 'events', 'initial', 'evolve', 'decide', 'view',
  'stateSchemaVersion', 'stateSchema', 'migrations', 'snapshots', 'upcasters', 'projections',
  'rejections', 'annotations',
];

/** Declares a decider. Throws `DefinitionError` for what a host would refuse at upload. */
export function decider(definition) {
  return new Decider(definition);
}

export class Decider {
  constructor(definition) {
    checkOptions('the decider', definition, OPTIONS);
    const { category, version, stateSchemaVersion = 1, migrations = [] } = definition;
    checkCategory(category);
    if (version !== undefined) checkSemantic(version);
    for (const name of ['evolve', 'decide']) checkFunction(`${name} of ${category}`, definition[name]);
    if (definition.view !== undefined) checkFunction(`view of ${category}`, definition.view);
    checkVersion(`stateSchemaVersion of ${category}`, stateSchemaVersion);
    checkMigrations(category, migrations, stateSchemaVersion);
    Object.assign(this, { definition, category, version, stateSchemaVersion, migrations });
    this.commands = new Messages(category, 'command', definition.commands);
    this.events = new Messages(category, 'event', definition.events);
    const { stateSchema, upcasters = [], projections = [] } = definition;
    this.checkState = stateSchema === undefined ? null : compile(stateSchema, `stateSchema of ${category}`);
    this.upcasters = new UpcasterSet(upcasters);
    this.projections = new ProjectionSet(projections);
    this.#checkUpcasters();
    this.#checkRejections();
    // Frozen, so that every aggregate can begin with it.
    this.initial = this.#initial(definition);
  }

  /** The state of a stream without events. */
  #initial({ initial }) {
    if (initial === undefined) throw new DefinitionError(`initial of ${this.category} is missing`);
    const state = typeof initial === 'function' ? initial() : structured(initial);
    try {
      return settle(state, 'state');
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      throw new DefinitionError(`initial of ${this.category}: ${error.message}`);
    }
  }

  /** Opens an aggregate with the initial state, or with the state of a snapshot. */
  open(key, snapshot) {
    return new Aggregate(this, key, snapshot ? this.#opened(snapshot) : this.initial);
  }

  /** Migrates a snapshot by one step; null: it can't be migrated. */
  migrate(old) {
    const from = old.stateSchemaVersion;
    const migration = this.migrations.find((step) => step.from === from);
    if (migration === undefined) return null;
    try {
      const state = migration.migrate(read(text(old.body)));
      return { stateSchemaVersion: migration.to, body: { tag: 'json', val: write(state, 'state') } };
    } catch (error) {
      log.warn(internal(`snapshot of ${this.category}: migration from ${from}`, error).message);
      return null;
    }
  }

  #opened(snapshot) {
    const what = `snapshot of ${this.category}`;
    const { stateSchemaVersion: version, body } = snapshot;
    if (version !== this.stateSchemaVersion) {
      throw new Fault('bad-event', `${what}: state schema version ${version}, expected ${this.stateSchemaVersion}`);
    }
    try {
      const state = read(text(body));
      return settle(this.checkState === null ? state : checkAs('state', this.checkState, state, true), 'state');
    } catch (error) {
      // What a snapshot contains is no fault of the guest: the stream can be folded from its events.
      if (error instanceof Unfit) throw new Fault('bad-event', `${what}: ${error.message}`);
      throw internal(what, error);
    }
  }

  #checkRejections() {
    const { category, definition: { rejections = [] } } = this;
    if (!Array.isArray(rejections)) throw new DefinitionError(`rejections of ${category} is no list of codes`);
    for (const code of rejections) {
      if (typeof code !== 'string' || code === '' || /\s/.test(code)) {
        throw new DefinitionError(`rejections of ${category}: ${JSON.stringify(code)} is no code; use a word`);
      }
    }
    const twice = rejections.find((code, at) => rejections.indexOf(code) !== at);
    if (twice !== undefined) throw new DefinitionError(`rejections of ${category}: ${twice} is there twice`);
  }

  #checkUpcasters() {
    for (const { category } of this.upcasters.list) {
      if (category === this.category) continue;
      const remedy = 'put steps of other categories into a component of their own: `upcasters(…)`';
      throw new DefinitionError(`the decider ${this.category} has steps of ${category}; ${remedy}`);
    }
  }
}

/** One aggregate: a state, and the functions of the contract over it. */
export class Aggregate {
  constructor(decider, key, state) {
    Object.assign(this, { decider, key, state });
  }

  /** Folds events in order. */
  apply(events) {
    const { category, events: types, definition, checkState } = this.decider;
    let { state } = this;
    for (const { type: name, schemaVersion, body } of events) {
      const type = types.byName.get(name);
      if (type === undefined) throw new Fault('unknown-event', types.unknown(name));
      if (schemaVersion !== type.version) {
        throw new Fault('unknown-event', types.otherVersion(type, schemaVersion));
      }
      const event = { type: type.name, data: readBody(types, type, body, 'bad-event') };
      try {
        state = settle(returned(definition.evolve(state, event)), 'state');
        if (checkState !== null) checkAs('state', checkState, state, true);
      } catch (error) {
        throw internal(`evolve of ${category} after ${type.name}`, error);
      }
    }
    this.state = state;
  }

  /** Returns the new events that a command leads to. Throws a `Rejection` or a `Fault`. */
  decide(command) {
    const { category, commands, definition } = this.decider;
    const type = commands.byName.get(command.type);
    if (type === undefined) throw new Fault('bad-command', commands.unknown(command.type));
    if (command.schemaVersion !== type.version) {
      throw new Fault('bad-command', commands.otherVersion(type, command.schemaVersion));
    }
    const data = readBody(commands, type, command.body, 'bad-command');
    try {
      const result = definition.decide(this.state, { type: type.name, data }, new Context(this.key, command));
      if (result instanceof Rejection) throw result;
      return this.#newEvents(result);
    } catch (error) {
      if (error instanceof Rejection) throw error;
      throw internal(`decide of ${category} on ${type.name}`, error);
    }
  }

  /** The state in its stored form; null: this decider has no snapshots. */
  snapshot() {
    const { definition, stateSchemaVersion } = this.decider;
    if (definition.snapshots === false) return null;
    return { stateSchemaVersion, body: { tag: 'json', val: JSON.stringify(this.state) } };
  }

  /** The state for people and programs as JSON; null: not shown. */
  view() {
    const { category, definition } = this.decider;
    try {
      const view = definition.view === undefined ? this.state : definition.view(this.state);
      return view === null || view === undefined ? null : write(view, 'view');
    } catch (error) {
      log.error(internal(`view of ${category}`, error).message);
      return null;
    }
  }

  #newEvents(result) {
    if (isPromise(result)) throw new Unfit('returned a Promise; a decision is made at once, without await');
    if (result === null || result === undefined) {
      throw new Unfit(`returned ${result}; return an event, a list of events or a rejection`);
    }
    const { events } = this.decider;
    return Array.isArray(result) ? result.map((event) => newEvent(events, event)) : [newEvent(events, result)];
  }
}

function readBody(types, type, body, tag) {
  try {
    return types.read(type, body);
  } catch (error) {
    if (error instanceof Unfit) throw new Fault(tag, error.message);
    throw error;
  }
}

function returned(state) {
  if (isPromise(state)) throw new Unfit('returned a Promise; the next state is returned at once');
  if (state === undefined) throw new Unfit('returned undefined; return the next state');
  return state;
}

function isPromise(value) {
  return typeof value?.then === 'function';
}

/** A copy, so that a frozen state does not freeze what the author declared. */
function structured(value) {
  if (Array.isArray(value)) return value.map(structured);
  if (value === null || typeof value !== 'object') return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, structured(each)]));
}
