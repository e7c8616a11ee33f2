// The client of one host.

import { callable, checkOptions, idempotencyKey, integer, segment, shown, start } from './check.js';
import { Consumer } from './consumer.js';
import { QuipuError, RejectionError } from './errors.js';
import { conditionsOf, FILTER_OPTIONS, filterOf } from './filter.js';
import { camelCased, eventOf, outcomeOf, snakeCased } from './names.js';
import { documentsOf, eventsOf, listOf } from './pages.js';
import { Subscription, SUBSCRIPTION_OPTIONS } from './subscription.js';
import { Transport } from './transport.js';

const COMMAND = ['type', 'data', 'schemaVersion', 'dataBase64', 'contentType'];
const EVENT = ['id', 'type', 'data', 'schemaVersion', 'dataBase64', 'contentType', 'metadata', 'tags'];
const TRACE = ['correlationId', 'causationId', 'traceparent'];
const EVENTS_PER_PAGE_MAX = 1000;
const PAGE_SIZE = 100;
const FRESHNESS_MS = 5000;

/** A client of one host. It holds no connection of its own, so nothing has to be closed. */
export class Quipu {
  #transport;

  constructor(options) {
    this.#transport = new Transport(options);
  }

  async execute(stream, command, options = {}) {
    checkOptions('execute', options, ['id', 'expectedVersion', 'metadata', 'signal', ...TRACE]);
    return this.#decide('commands', stream, command, options, options.id !== undefined);
  }

  async preview(stream, command, options = {}) {
    checkOptions('preview', options, ['expectedVersion', 'metadata', 'signal', ...TRACE]);
    // Nothing is stored, so it can be repeated.
    return this.#decide('preview', stream, command, options, true);
  }

  /** The stream is for the types: see `index.d.ts`. */
  rejectionOf(stream, error) {
    return error instanceof RejectionError ? error.rejection : undefined;
  }

  /** Sends a command to be executed or previewed. */
  async #decide(action, stream, command, options, isSafe) {
    checkOptions('command', command, COMMAND);
    const path = `/v1/streams/${segment('stream', stream)}/${action}`;
    const body = snakeCased({ ...command, metadata: options.metadata });
    const headers = { ...conditionOf(options.expectedVersion), ...writeHeaders(options) };
    return outcomeOf(await this.#transport.post(path, body, { headers, signal: options.signal, isSafe }));
  }

  async append(stream, events, options = {}) {
    checkOptions('append', options, ['id', 'expectedVersion', 'raw', 'signal', ...TRACE]);
    const path = `/v1/streams/${segment('stream', stream)}/events`;
    const body = { events: newEvents(events) };
    const headers = { ...conditionOf(options.expectedVersion), ...writeHeaders(options) };
    const isSafe = options.id !== undefined || haveIds(events);
    return this.#transport.post(path, body, { headers, signal: options.signal, isSafe });
  }

  async appendAll(parts, options = {}) {
    checkOptions('appendAll', options, ['id', 'raw', 'signal', ...TRACE]);
    if (!Array.isArray(parts)) throw new TypeError(`appendAll: expected a list of parts, found ${shown(parts)}`);
    const streams = parts.map((part) => {
      checkOptions('part', part, ['stream', 'expectedVersion', 'events']);
      const events = newEvents(part.events ?? []);
      return { stream: part.stream, expected_version: expected(part.expectedVersion) ?? 'any', events };
    });
    const isSafe = options.id !== undefined || haveIds(parts.flatMap((part) => part.events ?? []));
    return this.#transport.post('/v1/appends', { streams }, { headers: writeHeaders(options), signal: options.signal, isSafe });
  }

  readStream(stream, options = {}) {
    const known = ['from', 'to', 'limit', 'direction', 'form', 'pageSize', 'signal'];
    const { limit, pageSize, from, ...others } = checkOptions('readStream', options, known);
    // Now, and not when the first event is asked for.
    streamQuery({ ...others, from });
    segment('stream', stream);
    const read = (next, size) => this.readStreamPage(stream, { ...others, from: next ?? from, limit: size });
    return eventsOf(read, boundsOf(limit, pageSize));
  }

  async readStreamPage(stream, options = {}) {
    const { signal, ...query } = checkOptions('readStreamPage', options, ['from', 'to', 'limit', 'direction', 'form', 'signal']);
    const path = `/v1/streams/${segment('stream', stream)}/events`;
    const page = camelCased(await this.#transport.get(path, { query: streamQuery(query), signal }));
    return { ...page, events: listOf(page, 'events').map(eventOf) };
  }

  readLog(options = {}) {
    const known = [...FILTER_OPTIONS, 'after', 'to', 'limit', 'direction', 'form', 'archived', 'pageSize', 'signal'];
    const { limit, pageSize, after, ...others } = checkOptions('readLog', options, known);
    logQuery({ ...others, after });
    const read = (next, size) => this.readLogPage({ ...others, after: next ?? after, limit: size });
    return eventsOf(read, boundsOf(limit, pageSize));
  }

  async readLogPage(options = {}) {
    const known = [...FILTER_OPTIONS, 'after', 'to', 'limit', 'direction', 'form', 'archived', 'signal'];
    const { signal, ...query } = checkOptions('readLogPage', options, known);
    const page = await this.#transport.get('/v1/events', { query: logQuery(query), signal });
    return { ...page, events: listOf(page, 'events').map(eventOf) };
  }

  async state(stream, options = {}) {
    const { signal, atVersion, atTime, module } = checkOptions('state', options, ['atVersion', 'atTime', 'module', 'signal']);
    const time = atTime instanceof Date ? atTime.toISOString() : atTime;
    const query = { at_version: integer('atVersion', atVersion, 0), at_time: time, module };
    return this.#transport.get(`/v1/streams/${segment('stream', stream)}/state`, { query, signal });
  }

  async document(projection, key, options = {}) {
    const { signal, after, timeout } = checkOptions('document', options, ['after', 'timeout', 'signal']);
    const path = `/v1/views/${segment('projection', projection)}/${segment('key', key)}`;
    const query = freshness(after, timeout);
    try {
      return camelCased(await this.#transport.get(path, { query, signal, waitMs: waitOf(query) }));
    } catch (error) {
      if (error instanceof QuipuError && error.code === 'document-not-found') return null;
      throw error;
    }
  }

  documents(projection, options = {}) {
    const known = ['where', 'order', 'limit', 'after', 'timeout', 'pageSize', 'signal'];
    const { where, order, limit, after, timeout, pageSize, signal } = checkOptions('documents', options, known);
    const path = `/v1/views/${segment('projection', projection)}`;
    const query = { where: conditionsOf(where), order, ...freshness(after, timeout) };
    const read = (cursor, size) => this.#transport.get(path, { query: { ...query, cursor, limit: size }, signal, waitMs: waitOf(query) });
    return documentsOf(read, boundsOf(limit, pageSize));
  }

  subscribe(options = {}) {
    checkOptions('subscribe', options, [...FILTER_OPTIONS, ...SUBSCRIPTION_OPTIONS, 'after', 'form']);
    const query = { ...filterOf(options), after: start('after', options.after, 0) ?? 0, form: options.form };
    return new Subscription(this.#transport, { path: '/v1/events/subscribe', query, unit: 'position', options });
  }

  subscribeStream(stream, options = {}) {
    checkOptions('subscribeStream', options, [...SUBSCRIPTION_OPTIONS, 'from', 'form']);
    const path = `/v1/streams/${segment('stream', stream)}/subscribe`;
    const query = { from: start('from', options.from, 1), form: options.form };
    return new Subscription(this.#transport, { path, query, unit: 'version', options });
  }

  async consume(name, handler, options = {}) {
    return new Consumer(this.#transport, name, callable('handler', handler), options).run();
  }
}

/** The expected version as the host writes it; undefined: none. */
function expected(version) {
  if (version === undefined || ['any', 'no-stream', 'stream-exists'].includes(version)) return version;
  if (typeof version === 'string') throw new TypeError(`expectedVersion: expected a version, any, no-stream or stream-exists, found ${shown(version)}`);
  return integer('expectedVersion', version, 0);
}

function conditionOf(version) {
  const wanted = expected(version);
  if (wanted === undefined || wanted === 'any') return {};
  if (wanted === 'no-stream') return { 'If-None-Match': '*' };
  return { 'If-Match': wanted === 'stream-exists' ? '*' : `"${wanted}"` };
}

function writeHeaders({ id, raw, correlationId, causationId, traceparent }) {
  return {
    'Idempotency-Key': idempotencyKey(id),
    'Quipu-Raw': raw ? 'allow' : undefined,
    'Quipu-Correlation-Id': correlationId,
    'Quipu-Causation-Id': causationId,
    traceparent,
  };
}

function newEvents(events) {
  if (!Array.isArray(events)) throw new TypeError(`events: expected a list, found ${shown(events)}`);
  return events.map((event) => snakeCased(checkOptions('event', event, EVENT)));
}

/** Whether the host recognizes the events by their ids. */
function haveIds(events) {
  return events.length > 0 && events.every(({ id }) => id !== undefined);
}

function streamQuery({ from, to, limit, direction, form }) {
  integer('from', from, 1);
  integer('to', to, 0);
  integer('limit', limit, 1, EVENTS_PER_PAGE_MAX);
  return { from, to, limit, direction, form };
}

function logQuery(options) {
  const { after, to, limit, direction, form, archived } = options;
  integer('after', after, 0);
  integer('to', to, 0);
  integer('limit', limit, 1, EVENTS_PER_PAGE_MAX);
  return { ...filterOf(options), after, to, limit, direction, form, archived };
}

function boundsOf(limit, pageSize) {
  return { limit: integer('limit', limit, 1), pageSize: integer('pageSize', pageSize, 1, EVENTS_PER_PAGE_MAX) ?? PAGE_SIZE };
}

function freshness(after, timeout) {
  if (after === undefined && timeout !== undefined) throw new TypeError('timeout: only together with after');
  return { after: integer('after', after, 0), timeout: integer('timeout', timeout, 0, 30_000) };
}

/** How long the host may wait before it answers. */
function waitOf({ after, timeout }) {
  return after === undefined ? 0 : timeout ?? FRESHNESS_MS;
}
