// Given events, when a command, then events.

import { Fault, Rejection, Unfit } from '../src/errors.js';
import { guarded } from '../src/guard.js';
import { canonical, expectSame, fail, plain } from './diff.js';

const KEY = '1';

/** Starts a test with an aggregate after events. */
export function given(decider, events = []) {
  const aggregate = guarded(() => decider.open(KEY, null));
  fold(decider, aggregate, events);
  return new Given(decider, reopened(decider, aggregate));
}

/** Starts a test with a snapshot of an older version, through its migrations. */
export function migrated(decider, stateSchemaVersion, state) {
  let snapshot = { stateSchemaVersion, body: { tag: 'json', val: JSON.stringify(state) } };
  while (snapshot.stateSchemaVersion !== decider.stateSchemaVersion) {
    const { stateSchemaVersion: from } = snapshot;
    snapshot = guarded(() => decider.migrate(snapshot));
    if (snapshot === null) fail(`${decider.category}: the state of version ${from} can't be migrated`, state);
  }
  return new Given(decider, guarded(() => decider.open(KEY, snapshot)));
}

export class Given {
  constructor(decider, aggregate) {
    Object.assign(this, { decider, aggregate });
  }

  /** Executes commands one after the other. Each has to be accepted. */
  commands(list) {
    const aggregate = copyOf(this);
    list.forEach((command, index) => {
      const outcome = outcomeOf(this.decider, aggregate, command, {});
      if (!outcome.events) fail(`given command ${index + 1} (${command.type}): ${outcome.text}`, command);
      guarded(() => aggregate.apply(outcome.stored));
    });
    return new Given(this.decider, reopened(this.decider, aggregate));
  }

  /** Decides a command. Decides it twice, and checks that the state is unchanged. */
  when(command, context = {}) {
    const { decider, aggregate } = this;
    const before = canonical(aggregate.state);
    const first = outcomeOf(decider, aggregate, command, context);
    const second = outcomeOf(decider, aggregate, command, context);
    const title = `decide of ${decider.category} on ${command.type} gave two answers; it depends on something hidden`;
    expectSame(title, second.comparable, first.comparable);
    if (canonical(aggregate.state) !== before) fail(`decide of ${decider.category} changed the state`, aggregate.state);
    return new Outcome(this, first);
  }

  state() {
    return plain(this.aggregate.state);
  }

  view() {
    const view = guarded(() => this.aggregate.view());
    return view === null ? null : JSON.parse(view);
  }
}

/** The answer to a command. It is not a promise: do not await it. */
export class Outcome {
  constructor(given, outcome) {
    Object.assign(this, { given, outcome });
  }

  /** Expects exactly these events. Tags and annotations are compared where they are named. */
  then(expected, ...more) {
    if (typeof expected === 'function' || more.length > 0) {
      throw new TypeError('this outcome is not a promise: call .then([events]), and do not await or return it');
    }
    const events = [expected].flat();
    const { outcome } = this;
    if (!outcome.events) fail(`${outcome.text}\nexpected events:\n${canonical(events)}`, outcome.text, events);
    const found = outcome.events.map((event, index) => comparable(event, events[index]));
    expectSame('other events than expected', found, events.map((event) => comparable({ data: {}, ...event }, event)));
    return this.#after();
  }

  /** Expects acceptance without events. */
  nothing() {
    return this.then([]);
  }

  /** Expects a rejection with this code, and these details if they are given. Returns it. */
  rejected(code, details) {
    const { rejection, text } = this.outcome;
    if (!rejection) fail(`${text}\nexpected rejection ${code}`, text, code);
    expectSame(`other rejection than expected: ${text}`, rejection.code, code);
    if (details !== undefined) expectSame(`other details of ${code}`, rejection.details ?? null, details);
    return rejection;
  }

  /** Expects a fault: `bad-command` or `internal`. Returns its text. */
  failed(tag, pattern) {
    const { fault, text } = this.outcome;
    if (fault?.tag !== tag) fail(`${text}\nexpected ${tag}`, text, tag);
    if (pattern !== undefined && !pattern.test(fault.message)) {
      fail(`${text}\nexpected a text like ${pattern}`, fault.message, pattern);
    }
    return fault.message;
  }

  #after() {
    const aggregate = copyOf(this.given);
    guarded(() => aggregate.apply(this.outcome.stored));
    return new Given(this.given.decider, reopened(this.given.decider, aggregate));
  }
}

/** Folds events of the author into an aggregate, in one call. */
export function fold(decider, aggregate, events) {
  const stored = events.map((event) => storedEvent(decider, event));
  try {
    guarded(() => aggregate.apply(stored));
  } catch (error) {
    if (error instanceof Fault) fail(`given events: ${error.message}`);
    throw error;
  }
}

/** An event in the form in which it crosses the border. */
export function storedEvent(decider, { type: name, data }) {
  const type = decider.events.byName.get(name);
  if (type === undefined) fail(`given event: ${decider.events.unknown(String(name))}`);
  try {
    const body = { tag: 'json', val: decider.events.write(type, data) };
    return { type: type.name, schemaVersion: type.version, version: 1, recordedAt: 0, body };
  } catch (error) {
    if (error instanceof Unfit) fail(`given ${error.message}`);
    throw error;
  }
}

/** What a command leads to: events, a rejection or a fault. */
export function outcomeOf(decider, aggregate, command, context) {
  const record = commandRecord(decider, command, context);
  try {
    const stored = guarded(() => aggregate.decide(record));
    const events = stored.map(({ type, body, tags, annotations }) => {
      const labels = { tags, annotations: Object.fromEntries(annotations) };
      return { type, data: JSON.parse(body.val), ...labels };
    });
    return { stored, events, comparable: { events }, text: `accepted: ${JSON.stringify(events)}` };
  } catch (error) {
    if (error instanceof Rejection) return rejectedOutcome(error);
    if (!(error instanceof Fault)) throw error;
    const { tag, message } = error;
    return { fault: error, comparable: { tag, message: message.split('\n', 1)[0] }, text: `${tag}: ${message}` };
  }
}

function rejectedOutcome(rejection) {
  const { code, message, details } = rejection;
  const shown = details === undefined ? '' : ` ${JSON.stringify(details)}`;
  return { rejection, comparable: { code, message, details }, text: `rejected: ${code}: ${message}${shown}` };
}

/** A command in the form in which it crosses the border. */
export function commandRecord(decider, command, context) {
  const { commandId = 'command-1', acceptedAt = 0, seed = [1, 2, 3, 4], annotations = {} } = context;
  const at = acceptedAt instanceof Date ? acceptedAt.getTime() : typeof acceptedAt === 'string' ? Date.parse(acceptedAt) : acceptedAt;
  if (!Number.isFinite(at)) throw new TypeError(`acceptedAt ${acceptedAt} is not a time`);
  return {
    id: commandId,
    type: command.type,
    schemaVersion: context.schemaVersion ?? decider.commands.byName.get(command.type)?.version ?? 1,
    body: { tag: 'json', val: JSON.stringify(command.data ?? {}) },
    acceptedAt: Math.round(at * 1000),
    seed,
    annotations: Object.entries(annotations),
  };
}

/** Opens the state from its snapshot, as a host may do at any time. */
export function reopened(decider, aggregate) {
  const snapshot = aggregate.snapshot();
  if (snapshot === null) return aggregate;
  const next = guarded(() => decider.open(aggregate.key, snapshot));
  expectSame(`the state of ${decider.category} differs after its snapshot`, next.state, aggregate.state);
  return next;
}

function copyOf({ decider, aggregate }) {
  const copy = guarded(() => decider.open(aggregate.key, null));
  copy.state = aggregate.state;
  return copy;
}

function comparable(event, expected) {
  const { type, data, tags, annotations } = event;
  return {
    type,
    data,
    ...(expected?.tags === undefined ? {} : { tags }),
    ...(expected?.annotations === undefined ? {} : { annotations }),
  };
}
