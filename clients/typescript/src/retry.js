// When and after which pause a failed request is sent a second time.

import { checkOptions, integer } from './check.js';
import { isTransient } from './errors.js';

const DEFAULTS = { attemptsMax: 5, delayMs: 100, delayMsMax: 5000, totalMsMax: 30_000 };

/** Reads the option `retry`; `false` turns retries off. */
export function policyOf(retry = {}) {
  if (retry === false) return { ...DEFAULTS, attemptsMax: 1 };
  checkOptions('retry', retry, Object.keys(DEFAULTS));
  const policy = { ...DEFAULTS };
  for (const [name, value] of Object.entries(retry)) {
    if (value !== undefined) policy[name] = integer(`retry.${name}`, value, name === 'attemptsMax' ? 1 : 0, 3_600_000);
  }
  return policy;
}

/** Runs `attempt` until it succeeds, fails for good, or the policy ends. */
export async function retried(policy, signal, attempt) {
  const begin = performance.now();
  for (let n = 1; ; n += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (n >= policy.attemptsMax || !isTransient(error)) throw error;
      const pause = pauseMs(policy, n, error.retryAfter);
      if (performance.now() - begin + pause > policy.totalMsMax) throw error;
      await sleep(pause, signal);
    }
  }
}

/** The pause after the `n`th failure: it doubles, with full jitter, and starts after `Retry-After`. */
export function pauseMs({ delayMs, delayMsMax }, n, retryAfter = 0) {
  const most = Math.min(delayMsMax, delayMs * 2 ** Math.min(n - 1, 30));
  return retryAfter * 1000 + Math.random() * most;
}

/** Waits; rejects with the reason of the signal when it is aborted. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
