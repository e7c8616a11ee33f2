// The exports of a component. Errors cross the border as the cases of the contract; anything else
// that is thrown would be a trap without a text.

import { Decider } from './decider.js';
import { bounded } from './text.js';
import { Fault, internal, Rejection } from './errors.js';
import { write } from './json.js';
import { annotationsOf } from './new-event.js';
import { ProjectionComponent } from './projection.js';
import { UpcasterComponent } from './upcaster.js';

/** Returns what a component exports: one member for each interface of the contract. */
export function component(guest, defaults = {}) {
  const exports = { manifest: { describe: () => manifest(guest, defaults) } };
  if (guest instanceof Decider) exports.decider = deciderExports(guest);
  if (guest.upcasters?.list.length > 0) exports.upcaster = upcasterExports(guest.upcasters);
  if (guest.projections?.list.length > 0) exports.projection = projectionExports(guest.projections);
  return exports;
}

/** Whether a value is something that can be a component. */
export function isGuest(value) {
  return [Decider, ProjectionComponent, UpcasterComponent].some((kind) => value instanceof kind);
}

/** The manifest as the contract has it. `defaults.version` is that of the package. */
export function manifest(guest, defaults = {}) {
  const isDecider = guest instanceof Decider;
  const name = isDecider ? guest.category : guest.name;
  const events = isDecider ? guest.events.list : [];
  const unchanged = events.filter((type) => type.unchangedSince !== undefined);
  const rejections = (isDecider && guest.definition.rejections) || [];
  const own = isDecider ? guest.definition.annotations : guest.annotations;
  const documents = (guest.projections?.list ?? []).filter(({ schema }) => schema !== null);
  return {
    name,
    version: guest.version ?? defaults.version ?? '0.0.0',
    stateSchemaVersion: isDecider ? guest.stateSchemaVersion : 0,
    migrations: isDecider ? guest.migrations.map(({ from, to }) => [from, to]) : [],
    commands: isDecider ? guest.commands.list.map(messageType) : [],
    events: events.map(messageType),
    annotations: [
      ...unchanged.map((type) => [`unchanged.${type.name}`, String(type.unchangedSince)]),
      ...(rejections.length > 0 ? [['rejections', rejections.join(' ')]] : []),
      ...documents.map((each) => [`document-schema.${each.name}`, each.schema]),
      ...annotationsOf(`the annotations of ${name}`, own ?? {}),
    ],
  };
}

function messageType({ name, version, aliases, schema }) {
  return {
    type: name,
    schemaVersion: version,
    aliases,
    contentType: 'application/json',
    jsonSchema: schema === '{}' ? '' : schema,
  };
}

function deciderExports(decider) {
  class Aggregate {
    constructor(inner) {
      this.inner = inner;
    }

    static open(key, from) {
      return crossing(() => new Aggregate(decider.open(key, from)), foldError);
    }

    apply(events) {
      try {
        this.inner.apply(events);
      } catch (error) {
        throw foldError(error);
      }
    }

    decide(command) {
      try {
        return this.inner.decide(command);
      } catch (error) {
        throw decideError(error);
      }
    }

    snapshot() {
      return this.inner.snapshot();
    }

    view() {
      return this.inner.view();
    }
  }
  return { Aggregate, migrate: (old) => decider.migrate(old) };
}

function upcasterExports(upcasters) {
  return {
    steps: () => upcasters.described(),
    upcast: (step, events) => crossing(() => upcasters.upcast(step, events), foldError),
  };
}

function projectionExports(projections) {
  return {
    define: () => projections.list.map((each) => each.described()),
    keys: (name, events) =>
      crossing(() => events.map((event) => projections.named(name).keys(event)), foldError),
    apply: (name, work) =>
      crossing(() => work.map((each) => projections.named(name).apply(each)), foldError),
  };
}

function crossing(call, failure) {
  try {
    return call();
  } catch (error) {
    throw failure(error);
  }
}

function foldError(error) {
  const { tag, message } = error instanceof Fault ? error : internal('the guest', error);
  return { tag, val: bounded(message) };
}

function decideError(error) {
  if (!(error instanceof Rejection)) return foldError(error);
  try {
    return { tag: 'rejected', val: rejectionRecord(error) };
  } catch (failure) {
    return foldError(internal(`the details of rejection ${error.code}`, failure));
  }
}

function rejectionRecord({ code, message, details }) {
  const json = details === undefined || details === null ? null : write(details, 'details');
  return { code, message, details: json === null ? null : { tag: 'json', val: json } };
}
