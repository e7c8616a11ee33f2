// Types of the testing helpers, written by hand.

import type {
  Commands, Decider, Messages, MessagesOf, NewEvents, Projection, Rejection, Sources, Upcaster,
} from '../src/index.js';

/** What a decision sees in addition to state and command. */
export interface GivenContext {
  /** `command-1` by default. */
  commandId?: string;
  /** 1970-01-01T00:00:00Z by default. A number is milliseconds. */
  acceptedAt?: Date | string | number;
  /** Four words, `[1, 2, 3, 4]` by default. */
  seed?: readonly (number | bigint)[];
  annotations?: Readonly<Record<string, string>>;
  /** The schema version of the command; by default the one that the decider names. */
  schemaVersion?: number;
}

export interface Given<C extends Messages, E extends Messages, S> {
  /** Executes commands one after the other. Each has to be accepted. */
  commands(list: readonly Commands<C>[]): Given<C, E, S>;
  /** Decides a command twice, and checks that both answers are equal and the state is unchanged. */
  when(command: Commands<C>, context?: GivenContext): Outcome<C, E, S>;
  state(): S;
  view(): any;
}

/** The answer to a command. It is not a promise: do not await it. */
export interface Outcome<C extends Messages, E extends Messages, S> {
  /** Expects exactly these events. Tags and annotations are compared where they are named. */
  then(expected: NewEvents<E> | readonly NewEvents<E>[]): Given<C, E, S>;
  /** Expects acceptance without events. */
  nothing(): Given<C, E, S>;
  /** Expects a rejection with this code, and with these details if they are given. */
  rejected(code: string, details?: unknown): Rejection;
  /** Expects a fault, and returns its text. */
  failed(tag: 'bad-command' | 'internal', pattern?: RegExp): string;
}

/** Starts a test with an aggregate after events. */
export declare function given<C extends Messages, E extends Messages, S>(
  decider: Decider<C, E, S>,
  events?: readonly NewEvents<E>[],
): Given<C, E, S>;

/** Starts a test with a snapshot of an older version, through its migrations. */
export declare function migrated<C extends Messages, E extends Messages, S>(
  decider: Decider<C, E, S>,
  stateSchemaVersion: number,
  state: unknown,
): Given<C, E, S>;

export interface HistoryOptions<C extends Messages> {
  /** Commands that are decided at each cut. */
  commands?: readonly Commands<C>[];
  /** How many random batchings are tried: 20 by default. */
  batchings?: number;
  /** QUIPU_SEED, or a random one, by default. A failure names it. */
  seed?: number;
}

/**
 * Checks that the state after these events is the same for any cut and any batching, and that
 * deciding leaves it unchanged.
 */
export declare function checkHistory<C extends Messages, E extends Messages, S>(
  decider: Decider<C, E, S>,
  events: readonly NewEvents<E>[],
  options?: HistoryOptions<C>,
): void;

/** Random choices of a test. */
export interface Choices {
  /** From 0 to less than 1. */
  fraction(): number;
  /** From `low` to `high`, both included. */
  integer(low: number, high: number): number;
  pick<T>(list: readonly T[]): T;
}

/** Makes histories of random commands, and checks each as `checkHistory` does. */
export declare function checkHistories<C extends Messages, E extends Messages, S>(
  decider: Decider<C, E, S>,
  options: {
    command(random: Choices, state: Readonly<S>): Commands<C>;
    /** 20 by default. */
    histories?: number;
    /** Commands of each history: 30 by default. */
    length?: number;
    seed?: number;
  },
): void;

export interface LiftedEvent {
  type: string;
  /** 1 by default. */
  version?: number;
  data?: unknown;
}

export interface Lifted {
  events(): { type: string; version: number; data: any }[];
  /** Expects exactly these events; no event: it is dropped. */
  to(expected: LiftedEvent | readonly LiftedEvent[]): void;
  /** Expects exactly these events of the decider that reads them. */
  readBy<E extends Messages>(
    decider: Decider<any, E, any>,
    expected: MessagesOf<E> | readonly MessagesOf<E>[],
  ): void;
  /** Expects that the event can't be lifted, and returns the text. */
  failed(tag: 'bad-event' | 'internal'): string;
}

/** Lifts a stored event as far as the steps lead. `data` that is a string is JSON text. */
export declare function lifted(upcaster: Upcaster, type: string, version: number, data?: unknown): Lifted;

export interface LogEvent {
  stream: string;
  type: string;
  data?: unknown;
  /** By default the one that the projection names. */
  schemaVersion?: number;
  recordedAt?: Date | string | number;
  tags?: readonly string[];
  annotations?: Readonly<Record<string, string>>;
  part?: number;
}

export interface Documents<D> {
  /** Folds more events. */
  and(events: readonly LogEvent[]): Documents<D>;
  /** The document of a key; null: there is none. */
  document(key: string): D | null;
  documents(): Record<string, D>;
  /** Expects exactly these documents. */
  then(expected: Record<string, D>): void;
}

/** Folds a log of events into documents. */
export declare function givenEvents<So extends Sources, D>(
  projection: Projection<So, D>,
  events: readonly LogEvent[],
): Documents<D>;
