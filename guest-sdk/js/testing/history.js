// Properties of a decider over whole histories.

import { guarded } from '../src/guard.js';
import { Random } from '../src/random.js';
import { expectSame, fail } from './diff.js';
import { outcomeOf, storedEvent } from './given.js';

const CUTS_MAX = 200;

/**
 * Checks that the state after a history is the same for any cut (snapshot in between) and any
 * batching, and that deciding leaves the state unchanged.
 */
export function checkHistory(decider, events, { commands = [], batchings = 20, seed = newSeed() } = {}) {
  repeatable(seed, (random) => check(decider, events.map((event) => storedEvent(decider, event)), commands, batchings, random));
}

/** Makes histories of random commands, and checks each as `checkHistory` does. */
export function checkHistories(decider, { command, histories = 20, length = 30, seed = newSeed() }) {
  repeatable(seed, (random) => {
    for (let run = 0; run < histories; run += 1) {
      const [events, commands] = history(decider, command, length, random);
      check(decider, events, commands.slice(-3), 5, random);
    }
  });
}

/** Random choices of a test. */
class Choices {
  #random;

  constructor(seed) {
    this.#random = new Random([seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, 0, 0, 0, 0, 0, 0]);
  }

  fraction() {
    return this.#random.fraction();
  }

  /** A whole number from `low` to `high`, both included. */
  integer(low, high) {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  pick(list) {
    return list[this.integer(0, list.length - 1)];
  }
}

function history(decider, command, length, random) {
  const aggregate = guarded(() => decider.open('1', null));
  const [events, commands] = [[], []];
  for (let number = 0; number < length; number += 1) {
    const next = command(random, aggregate.state);
    commands.push(next);
    const context = { commandId: `command-${number}`, seed: [number, 2, 3, 4], acceptedAt: number };
    const { stored, fault, text } = outcomeOf(decider, aggregate, next, context);
    if (fault?.tag === 'internal') fail(`command ${number + 1} (${JSON.stringify(next)}): ${text}`);
    if (!stored) continue;
    events.push(...stored);
    guarded(() => aggregate.apply(stored));
  }
  return [events, commands];
}

function check(decider, events, commands, batchings, random) {
  const states = statesOf(decider, events);
  const last = states.at(-1);
  expectSame('the state differs when all events are folded in one call', folded(decider, null, [events]).state, last);
  for (const cut of cuts(events.length, random)) {
    const rest = folded(decider, snapshot(decider, states[cut]), [events.slice(cut)]);
    expectSame(`the state differs after a snapshot at version ${cut} of ${events.length}`, rest.state, last);
    checkCommands(decider, states[cut], commands, cut);
  }
  for (let run = 0; run < batchings; run += 1) {
    const batches = split(events, random);
    const sizes = batches.map((batch) => batch.length).join(', ');
    expectSame(`the state differs for batches of ${sizes} events`, folded(decider, null, batches).state, last);
  }
}

/** The state after each number of events, folded one by one. */
function statesOf(decider, events) {
  const aggregate = guarded(() => decider.open('1', null));
  const states = [aggregate.state];
  for (const event of events) {
    guarded(() => aggregate.apply([event]));
    states.push(aggregate.state);
  }
  return states;
}

function folded(decider, from, batches) {
  const aggregate = guarded(() => decider.open('1', from));
  for (const batch of batches) guarded(() => aggregate.apply(batch));
  return aggregate;
}

function snapshot(decider, state) {
  const { stateSchemaVersion } = decider;
  return { stateSchemaVersion, body: { tag: 'json', val: JSON.stringify(state) } };
}

function checkCommands(decider, state, commands, cut) {
  for (const command of commands) {
    const aggregate = guarded(() => decider.open('1', snapshot(decider, state)));
    const first = outcomeOf(decider, aggregate, command, {});
    expectSame(`decide on ${command.type} changed the state of version ${cut}`, aggregate.state, state);
    const second = outcomeOf(decider, aggregate, command, {});
    expectSame(`decide on ${command.type} gave two answers at version ${cut}`, second.comparable, first.comparable);
  }
}

/** Every cut, or some of them when there are many. */
function cuts(length, random) {
  if (length < CUTS_MAX) return Array.from({ length: length + 1 }, (_, cut) => cut);
  return Array.from({ length: CUTS_MAX }, () => random.integer(0, length));
}

function split(events, random) {
  const batches = [];
  for (let at = 0; at < events.length; ) {
    const size = random.integer(1, events.length - at);
    batches.push(events.slice(at, at + size));
    at += size;
  }
  return batches;
}

function newSeed() {
  const { QUIPU_SEED: given } = process.env;
  return given === undefined ? Math.floor(Math.random() * 2 ** 48) : Number(given);
}

/** Names the seed when a property does not hold. */
function repeatable(seed, run) {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new TypeError(`the seed ${seed} is not a whole number`);
  try {
    run(new Choices(seed));
  } catch (error) {
    error.message = `${error.message}\n(seed ${seed}: QUIPU_SEED=${seed} repeats it)`;
    throw error;
  }
}
