// What a decision may depend on in addition to state and command.

import { keyOf, Random, seedWord } from './random.js';

/** The context of one command. It is the same on every attempt of the same request. */
export class Context {
  // One private member, because each of them costs as much as the rest of a small decision.
  #inner;

  constructor(key, command) {
    this.#inner = { key, command, annotations: null, random: null };
  }

  get key() {
    return this.#inner.key;
  }

  get commandId() {
    return this.#inner.command.id;
  }

  get acceptedAtMicros() {
    return this.#inner.command.acceptedAt;
  }

  get seed() {
    return Object.freeze(this.#inner.command.seed.map(seedWord));
  }

  get annotations() {
    this.#inner.annotations ??= named(this.#inner.command.annotations);
    return this.#inner.annotations;
  }

  /** When the host accepted the request. A new `Date` each time. */
  get acceptedAt() {
    return new Date(Math.floor(this.acceptedAtMicros / 1000));
  }

  /** Returns the annotation of that name, or undefined. */
  annotation(name) {
    return this.annotations[name];
  }

  /** Returns the next UUID of the seed. */
  uuid() {
    return this.#source().uuid();
  }

  /** Returns the next random number of the seed, from 0 to less than 1. */
  random() {
    return this.#source().fraction();
  }

  #source() {
    this.#inner.random ??= new Random(keyOf(this.seed));
    return this.#inner.random;
  }
}

/** Pairs as an object without a prototype. Of several values of one name, the first counts. */
export function named(pairs) {
  const members = Object.create(null);
  for (const [name, value] of pairs) if (!(name in members)) members[name] = value;
  return Object.freeze(members);
}
