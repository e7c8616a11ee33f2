// A consumer of a named subscription: claims the name, handles events in order, acknowledges them,
// renews the lease, and claims the name a second time when it was lost.

import { callable, checkOptions, integer, segment, start } from './check.js';
import { invalidAnswer, isTransient, QuipuError } from './errors.js';
import { FILTER_OPTIONS, filterOf } from './filter.js';
import { eventOf } from './names.js';
import { listOf } from './pages.js';
import { pauseMs, sleep } from './retry.js';

const OPTIONS = [...FILTER_OPTIONS, 'after', 'form', 'leaseMs', 'waitMs', 'batchSize', 'reconnectMsMax', 'onError', 'onReconnect', 'signal'];
const PAUSE = { delayMs: 100, delayMsMax: 5000 };
const RECONNECT_MS_MAX = 300_000;
/** The pause before a held name is claimed a second time, in seconds. */
const HELD_S = 1;

export class Consumer {
  #transport;
  #path;
  #handler;
  #options;
  #query;
  #failures = 0;
  #failedSince;

  constructor(transport, name, handler, options) {
    checkOptions('consume', options, OPTIONS);
    const { form, leaseMs, batchSize, waitMs, reconnectMsMax } = options;
    this.#transport = transport;
    this.#path = `/v1/subscriptions/${segment('subscription', name)}`;
    this.#handler = callable('handler', handler) ?? missing('handler');
    const lease = integer('leaseMs', leaseMs, 1000, 3_600_000) ?? 15_000;
    this.#options = {
      after: start('after', options.after, 0),
      leaseMs: lease,
      waitMs: integer('waitMs', waitMs, 0, Math.floor(lease / 2)) ?? Math.min(5000, Math.floor(lease / 3)),
      reconnectMsMax: reconnectMsMax === Infinity ? Infinity : integer('reconnectMsMax', reconnectMsMax, 0) ?? RECONNECT_MS_MAX,
      onError: callable('onError', options.onError) ?? (() => 'stop'),
      onReconnect: callable('onReconnect', options.onReconnect),
      signal: options.signal,
    };
    this.#query = { ...filterOf(options), form, limit: integer('batchSize', batchSize, 1, 1000) ?? 100 };
  }

  /** Runs until the signal is aborted, which is a normal end, or until an error is final. */
  async run() {
    const { signal } = this.#options;
    while (!signal?.aborted) {
      const claim = await this.#patient(() => this.#claim());
      if (claim === undefined) continue;
      checkNumbers('claim', claim.token, claim.position);
      const lease = new Lease(this.#transport, this.#path, claim, this.#options);
      try {
        await this.#own(lease);
      } finally {
        await lease.release();
      }
    }
  }

  /** Handles batches until the name is lost. */
  async #own(lease) {
    while (!this.#options.signal?.aborted && !lease.isLost) {
      const batch = await this.#patient(() => lease.read(this.#query), lease);
      if (batch !== undefined) await this.#handle(batch, lease);
    }
  }

  #claim() {
    const { after, leaseMs, signal } = this.#options;
    return this.#transport.post(`${this.#path}/claim`, { after, lease_ms: leaseMs }, { signal });
  }

  /** Calls, and waits after a failure that passes. Returns undefined when the caller has to look at its state. */
  async #patient(call, lease) {
    const { signal, onReconnect, reconnectMsMax } = this.#options;
    try {
      const answer = await call();
      this.#failures = 0;
      this.#failedSince = undefined;
      return answer;
    } catch (error) {
      if (signal?.aborted) return undefined;
      if (isClaimLost(error) && lease !== undefined) {
        lease.isLost = true;
        return undefined;
      }
      const isHeld = error instanceof QuipuError && error.code === 'subscription-held';
      if (!isHeld && !isTransient(error)) throw error;
      this.#failures = isHeld ? 1 : this.#failures + 1;
      this.#failedSince = isHeld ? undefined : this.#failedSince ?? performance.now();
      const pause = pauseMs(PAUSE, this.#failures, isHeld ? HELD_S : error.retryAfter);
      if (!isHeld && performance.now() - this.#failedSince + pause > reconnectMsMax) throw error;
      onReconnect?.(error, this.#failures);
      await sleep(pause, signal).catch(() => {});
      return undefined;
    }
  }

  async #handle(batch, lease) {
    const events = listOf(batch, 'events').map(eventOf);
    checkNumbers('read', batch.next);
    lease.startRenewal();
    let isWhole = true;
    try {
      for (const [at, event] of events.entries()) {
        if (lease.isLost || this.#options.signal?.aborted || !(await this.#handled(event, lease))) {
          isWhole = false;
          break;
        }
        // The parts of a split event share a position, which is handled with the last of them.
        if (events[at + 1]?.position !== event.position) lease.handled = event.position;
      }
    } catch (error) {
      // The error of the handler is the one to report.
      if (!lease.isLost && lease.handled > lease.acknowledged) await lease.acknowledge().catch(() => {});
      throw error;
    } finally {
      lease.endRenewal();
    }
    if (isWhole) lease.handled = Math.max(lease.handled, batch.next);
    await this.#acknowledge(lease);
  }

  /** Calls the handler until it succeeds or `onError` decides otherwise. False: the event is not handled. */
  async #handled(event, lease) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#handler(event, { token: lease.token, signal: lease.signal, attempt });
        return true;
      } catch (error) {
        // An event whose handler gave up because of the signal comes a second time.
        if (lease.signal.aborted) return false;
        const decision = await this.#options.onError(error, event, attempt);
        if (decision === 'skip') return true;
        if (decision !== 'retry') throw error;
        await sleep(pauseMs(PAUSE, attempt), lease.signal).catch(() => {});
        if (lease.signal.aborted) return false;
      }
    }
  }

  async #acknowledge(lease) {
    while (!lease.isLost && lease.handled > lease.acknowledged) {
      const answer = await this.#patient(() => lease.acknowledge(), lease);
      // After the signal one attempt is enough: what is not acknowledged comes a second time.
      if (answer === undefined && this.#options.signal?.aborted) return;
    }
  }
}

/** The claim of a name. */
class Lease {
  #transport;
  #path;
  #options;
  #controller = new AbortController();
  #abort;
  #timer;
  #renewal;
  #isLost = false;
  /** Everything up to here is handled, and acknowledged at the host. */
  handled;
  acknowledged;

  constructor(transport, path, claim, options) {
    this.#transport = transport;
    this.#path = path;
    this.#options = options;
    this.token = claim.token;
    this.handled = claim.position;
    this.acknowledged = claim.position;
    const { signal } = options;
    this.#abort = () => this.#controller.abort(signal.reason);
    if (signal?.aborted) this.#abort();
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Aborted when the name is lost, or the consumer is to end. */
  get signal() {
    return this.#controller.signal;
  }

  get isLost() {
    return this.#isLost;
  }

  set isLost(value) {
    this.#isLost = value;
    if (value) this.#controller.abort(new QuipuError({ code: 'claim-lost', detail: 'another client has claimed the name, or it was moved' }));
  }

  read(query) {
    const { waitMs, leaseMs } = this.#options;
    const all = { ...query, token: this.token, wait_ms: waitMs, lease_ms: leaseMs };
    return this.#transport.get(`${this.#path}/events`, { query: all, signal: this.signal, waitMs });
  }

  /** Not under the signal: what is handled is acknowledged also at the end. */
  async acknowledge() {
    const position = this.handled;
    const body = { token: this.token, position, lease_ms: this.#options.leaseMs };
    const answer = await this.#transport.post(`${this.#path}/acknowledge`, body, { isSafe: !this.signal.aborted });
    this.acknowledged = Math.max(this.acknowledged, position);
    return answer;
  }

  /** Acknowledges what is handled, three times in a lease, as long as a batch is handled. */
  startRenewal() {
    this.#timer = setTimeout(async () => {
      const timer = this.#timer;
      this.#renewal = this.#renew();
      await this.#renewal;
      if (this.#timer === timer && !this.#isLost) this.startRenewal();
    }, this.#options.leaseMs / 3);
  }

  async #renew() {
    try {
      await this.acknowledge();
    } catch (error) {
      // Other failures: the next renewal, or the acknowledgement of the batch, finds out.
      if (isClaimLost(error)) this.isLost = true;
    }
  }

  endRenewal() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async release() {
    this.endRenewal();
    this.#options.signal?.removeEventListener('abort', this.#abort);
    // A renewal after the release would take the name a second time.
    await this.#renewal;
    if (this.#isLost) return;
    // Without it the lease ends by itself.
    await this.#transport.post(`${this.#path}/release`, { token: this.token }).catch(() => {});
  }
}

function isClaimLost(error) {
  return error instanceof QuipuError && error.code === 'claim-lost';
}

function checkNumbers(what, ...numbers) {
  if (!numbers.every((number) => Number.isSafeInteger(number))) throw invalidAnswer(`${what}: expected numbers in the answer`);
}

function missing(what) {
  throw new TypeError(`${what}: expected a function`);
}
