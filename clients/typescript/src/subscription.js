// A subscription over server-sent events that resumes after a broken connection.

import { callable, integer, shown } from './check.js';
import { errorOf, invalidAnswer, isTransient, noAnswer, QuipuError, unreachable } from './errors.js';
import { eventOf, isObject } from './names.js';
import { pauseMs, sleep } from './retry.js';
import { messagesOf } from './sse.js';

/** Options that every subscription has. */
export const SUBSCRIPTION_OPTIONS = ['signal', 'silenceMs', 'reconnectMsMax', 'onCaughtUp', 'onReconnect'];
/** Three heartbeats. */
const SILENCE_MS = 45_000;
const RECONNECT_MS_MAX = 300_000;
const PAUSE = { delayMs: 100, delayMsMax: 10_000 };

/**
 * The events of the log, or of a stream, in order, each once. Iterate over it with `for await`. A
 * second loop continues after the last event that was delivered.
 */
export class Subscription {
  #transport;
  #path;
  #query;
  /** `position` in the log, `version` in a stream. */
  #unit;
  #options;
  /** The last id from the host: everything up to it was delivered, or is left out by the filter. */
  #lastId;
  /** The last delivered event. A split event can be resumed in its middle. */
  #last = { at: 0, part: -1 };
  #isRunning = false;

  constructor(transport, { path, query, unit, options }) {
    this.#transport = transport;
    this.#path = path;
    this.#query = query;
    this.#unit = unit;
    this.#options = {
      signal: options.signal,
      silenceMs: integer('silenceMs', options.silenceMs, 1, 0x7fffffff) ?? SILENCE_MS,
      reconnectMsMax: options.reconnectMsMax === Infinity ? Infinity : integer('reconnectMsMax', options.reconnectMsMax, 0) ?? RECONNECT_MS_MAX,
      onCaughtUp: callable('onCaughtUp', options.onCaughtUp),
      onReconnect: callable('onReconnect', options.onReconnect),
    };
  }

  /** The position or version after which a later subscription continues; undefined before the first one is known. */
  get checkpoint() {
    return this.#lastId;
  }

  async *[Symbol.asyncIterator]() {
    if (this.#isRunning) throw new TypeError('the subscription is read by another loop; subscribe a second time');
    this.#isRunning = true;
    try {
      yield* this.#events();
    } finally {
      this.#isRunning = false;
    }
  }

  async *#events() {
    const { signal, reconnectMsMax, onReconnect } = this.#options;
    let failures = 0;
    let failedSince;
    for (;;) {
      let failure;
      try {
        for await (const message of this.#connection()) {
          failures = 0;
          failedSince = undefined;
          // One chunk may bring several messages.
          if (signal?.aborted) throw signal.reason;
          const event = this.#received(message);
          if (event !== undefined) yield event;
        }
        failure = unreachable(`GET ${this.#path}: the host ended the connection`);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (!isTransient(error)) throw error;
        failure = error;
      }
      failures += 1;
      failedSince ??= performance.now();
      const pause = pauseMs(PAUSE, failures, failure.retryAfter);
      if (performance.now() - failedSince + pause > reconnectMsMax) throw failure;
      onReconnect?.(failure, failures);
      await sleep(pause, signal);
    }
  }

  /** The messages of one connection. */
  async *#connection() {
    const { signal, silenceMs } = this.#options;
    if (signal?.aborted) throw signal.reason;
    const controller = new AbortController();
    const abort = () => controller.abort(signal.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const headers = this.#lastId === undefined ? {} : { 'Last-Event-ID': String(this.#lastId) };
      const body = await this.#transport.stream(this.#path, { query: this.#query, headers, controller });
      const silent = () => noAnswer(`GET ${this.#path}: not even a heartbeat for ${silenceMs} ms`);
      yield* messagesOf(body, { charsMax: this.#transport.answerBytesMax, silenceMs, silent, controller });
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      if (error instanceof QuipuError) throw error;
      throw unreachable(`GET ${this.#path}: ${error?.message ?? error}`, error);
    } finally {
      signal?.removeEventListener('abort', abort);
      // Ends the connection, also when the loop was left. Nobody waits for the reason.
      controller.abort();
    }
  }

  /** Takes a message, and returns the event that it carries, unless it was delivered before. */
  #received({ id, event: kind, data }) {
    const at = this.#idOf(id);
    if (kind === 'error') {
      const problem = this.#parsed(kind, data);
      throw errorOf(problem) ?? invalidAnswer(`GET ${this.#path}: expected a problem document, found ${shown(data)}`);
    }
    const event = kind === 'event' ? this.#fresh(this.#parsed(kind, data)) : undefined;
    if (at !== undefined) this.#lastId = at;
    if (kind === 'caught-up') this.#options.onCaughtUp?.(this.#lastId);
    return event;
  }

  #fresh(wire) {
    const at = wire[this.#unit];
    if (!Number.isSafeInteger(at)) throw invalidAnswer(`GET ${this.#path}: an event without ${this.#unit}`);
    const part = wire.part ?? 0;
    const { at: lastAt, part: lastPart } = this.#last;
    if (at === lastAt && part <= lastPart) return undefined;
    if (at < lastAt) throw invalidAnswer(`GET ${this.#path}: ${this.#unit} ${at} came after ${lastAt}`);
    this.#last = { at, part };
    return eventOf(wire);
  }

  #idOf(id) {
    if (id === undefined) return undefined;
    const at = Number(id);
    if (!/^\d+$/.test(id) || !Number.isSafeInteger(at)) throw invalidAnswer(`GET ${this.#path}: expected a ${this.#unit} as id, found ${shown(id)}`);
    return at;
  }

  #parsed(kind, data) {
    let value;
    try {
      value = this.#transport.parse(data);
    } catch (cause) {
      throw invalidAnswer(`GET ${this.#path}: ${kind}: expected JSON, found ${shown(data)}`, { cause });
    }
    if (!isObject(value)) throw invalidAnswer(`GET ${this.#path}: ${kind}: expected an object, found ${shown(data)}`);
    return value;
  }
}
