// One request to a host: headers, time limit, size limit, and errors with a code.

import { callable, checkOptions, integer, shown } from './check.js';
import { answerTooLarge, errorOf, invalidAnswer, noAnswer, QuipuError, unreachable } from './errors.js';
import { isObject } from './names.js';
import { policyOf, retried } from './retry.js';

const OPTIONS = ['url', 'token', 'fetch', 'timeout', 'retry', 'headers', 'parse', 'stringify', 'answerBytesMax'];
/** More than the 30 s within which a host answers. */
const TIMEOUT_MS = 35_000;
const ANSWER_BYTES_MAX = 64 << 20;

export class Transport {
  #base;
  #headers;
  #fetch;
  #timeout;
  #policy;

  constructor(options) {
    checkOptions('Quipu', options, OPTIONS);
    this.#base = baseOf(options.url);
    // Reports values that no header can have now, and not as a failed connection later.
    this.#headers = new Headers(options.headers);
    if (options.token !== undefined) this.#headers.set('Authorization', `Bearer ${options.token}`);
    this.#fetch = callable('fetch', options.fetch) ?? ((...args) => globalThis.fetch(...args));
    this.#timeout = integer('timeout', options.timeout, 1, 0x7fffffff) ?? TIMEOUT_MS;
    this.#policy = policyOf(options.retry);
    this.parse = callable('parse', options.parse) ?? JSON.parse;
    this.stringify = callable('stringify', options.stringify) ?? JSON.stringify;
    this.answerBytesMax = integer('answerBytesMax', options.answerBytesMax, 1024) ?? ANSWER_BYTES_MAX;
  }

  /** Reads. A read is safe to send a second time. */
  get(path, { query, signal, waitMs = 0 } = {}) {
    return this.#json('GET', path, { query, signal, waitMs, isSafe: true });
  }

  /** Sends a body. `isSafe`: the host recognizes a second copy, so the request may be retried. */
  post(path, body, { headers, signal, isSafe = false } = {}) {
    return this.#json('POST', path, { body, headers, signal, isSafe });
  }

  #json(method, path, { query, body, headers, signal, waitMs = 0, isSafe }) {
    const url = this.#base + path + queryText(query);
    const init = { method, headers: this.#headersWith({ ...headers, Accept: 'application/json' }) };
    if (body !== undefined) {
      init.body = this.stringify(body);
      init.headers.set('Content-Type', 'application/json');
    }
    const attempt = () => this.#attempt(url, init, signal, this.#timeout + waitMs, (response) => this.#answer(response, method, url));
    return isSafe ? retried(this.#policy, signal, attempt) : attempt();
  }

  /** Opens a stream of server-sent events. The caller ends it with `controller`. */
  async stream(path, { query, headers, controller }) {
    const url = this.#base + path + queryText(query);
    const all = this.#headersWith({ ...headers, Accept: 'text/event-stream' });
    const timer = setTimeout(() => controller.abort(noAnswer(`GET ${url}: no answer within ${this.#timeout} ms`)), this.#timeout);
    try {
      const response = await this.#fetch(url, { headers: all, signal: controller.signal, cache: 'no-store' });
      if (!response.ok) throw await this.#problem(response, 'GET', url);
      const type = response.headers.get('Content-Type') ?? '';
      if (!type.startsWith('text/event-stream') || response.body === null) {
        throw invalidAnswer(`GET ${url}: expected text/event-stream, found ${shown(type)}; does a proxy answer in place of the host?`, { status: response.status });
      }
      return response.body;
    } catch (error) {
      throw failureOf(error, controller.signal, 'GET', url);
    } finally {
      clearTimeout(timer);
    }
  }

  async #attempt(url, init, signal, timeout, read) {
    if (signal?.aborted) throw signal.reason;
    const controller = new AbortController();
    const abort = () => controller.abort(signal.reason);
    signal?.addEventListener('abort', abort, { once: true });
    const late = () => controller.abort(noAnswer(`${init.method} ${url}: no answer within ${timeout} ms`));
    const timer = setTimeout(late, Math.min(timeout, 0x7fffffff));
    try {
      return await read(await this.#fetch(url, { ...init, signal: controller.signal }));
    } catch (error) {
      throw failureOf(error, controller.signal, init.method, url);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  async #answer(response, method, url) {
    if (!response.ok) throw await this.#problem(response, method, url);
    if (response.status === 204) return undefined;
    const value = this.#parsed(await this.#text(response, method, url), response, method, url);
    if (!isObject(value)) throw invalidAnswer(`${method} ${url}: expected a JSON object, found ${shown(value)}`, { status: response.status });
    return value;
  }

  async #problem(response, method, url) {
    const text = await this.#text(response, method, url);
    const options = { status: response.status, retryAfter: retryAfterOf(response) };
    let problem;
    try {
      problem = this.parse(text);
    } catch {
      // Reported below, with the text.
    }
    return errorOf(problem, options)
      ?? invalidAnswer(`${method} ${url}: status ${response.status} without a problem document: ${shown(text)}; does a proxy answer in place of the host?`, options);
  }

  #parsed(text, response, method, url) {
    try {
      return this.parse(text);
    } catch (cause) {
      throw invalidAnswer(`${method} ${url}: expected JSON, found ${shown(text)}`, { status: response.status, cause });
    }
  }

  async #text(response, method, url) {
    if (response.body === null) return '';
    const decoder = new TextDecoder();
    const parts = [];
    let bytes = 0;
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.byteLength;
      if (bytes > this.answerBytesMax) {
        reader.cancel().catch(() => {});
        throw answerTooLarge(`${method} ${url}: more than ${this.answerBytesMax} bytes; read smaller pages (pageSize), or raise answerBytesMax`);
      }
      parts.push(decoder.decode(value, { stream: true }));
    }
    parts.push(decoder.decode());
    return parts.join('');
  }

  #headersWith(more) {
    const headers = new Headers(this.#headers);
    for (const [name, value] of Object.entries(more)) {
      if (value !== undefined) headers.set(name, value);
    }
    return headers;
  }
}

/** The text of a query. A list repeats its name; `undefined` is left out. */
function queryText(query = {}) {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    const given = (Array.isArray(value) ? value : [value]).filter((each) => each !== undefined);
    return given.map((each) => `${name}=${encodeURIComponent(String(each))}`);
  });
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function baseOf(url) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new TypeError(`url: expected an address such as http://127.0.0.1:7878, found ${shown(url)}`);
  }
  if (!['http:', 'https:'].includes(parsed.protocol)) throw new TypeError(`url: expected http or https, found ${shown(parsed.protocol)}`);
  if (parsed.username !== '' || parsed.password !== '') throw new TypeError('url: credentials do not belong in an address; use the option token');
  if (parsed.search !== '' || parsed.hash !== '') throw new TypeError('url: expected an address without a query and a fragment');
  return parsed.href.replace(/\/+$/, '');
}

/** What a failed fetch means: the caller's abort, a time limit, an error with a code, or the network. */
function failureOf(error, signal, method, url) {
  if (signal.aborted) return signal.reason;
  if (error instanceof QuipuError) return error;
  const cause = error?.cause?.message ?? error?.cause?.code;
  return unreachable(`${method} ${url}: ${error?.message ?? error}${cause ? `: ${cause}` : ''}`, error);
}

function retryAfterOf(response) {
  const text = response.headers.get('Retry-After');
  if (text === null) return undefined;
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}
