import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';

import { Quipu } from '../src/index.js';
import { gate } from './support/all.js';
import { emptyFolder, startHost } from './support/host.js';
import { json, problem, startServer } from './support/server.js';

const noted = (data) => ({ type: 'noted', data });
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

let quipu;
let url;

before(async (t) => {
  ({ url } = await startHost(t, { components: [] }));
  quipu = new Quipu({ url });
});

const show = async (name, where = url) => (await fetch(`${where}/v1/subscriptions/${name}`)).json();
const post = async (where, body = {}) => (await fetch(url + where, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json();

/** A consumer that ends after a number of events, with what its handler received. */
function collect(name, count, options = {}, client = quipu) {
  const controller = new AbortController();
  const seen = [];
  const handler = (event) => {
    seen.push(event.data);
    if (seen.length === count) controller.abort();
  };
  return client.consume(name, handler, { waitMs: 500, signal: controller.signal, ...options }).then(() => seen);
}

test('events are handled in order, acknowledged, and the name is released', async () => {
  const { position } = await quipu.append('c1-1', numbers(1, 25).map(noted));
  await quipu.append('other-1', [noted('other')]);
  const options = { category: 'c1', batchSize: 4 };
  assert.deepEqual(await collect('first', 10, options), numbers(1, 10));
  const { held_ms: held, position: acknowledged } = await show('first');
  assert.deepEqual([held ?? null, acknowledged], [null, position - 15]);
  assert.deepEqual(await collect('first', 15, options), numbers(11, 25));
});

test('a new name begins where the options say, and waits for new events', async () => {
  await quipu.append('c2-1', numbers(1, 3).map(noted));
  const controller = new AbortController();
  const { opened, open } = gate();
  const ended = quipu.consume('fresh/ä', (event) => open(event.data), { after: 'now', category: 'c2', signal: controller.signal, waitMs: 200 });
  while ((await show(encodeURIComponent('fresh/ä'))).held_ms === undefined) await new Promise(setImmediate);
  await quipu.append('c2-1', [noted('new')]);
  assert.equal(await opened, 'new');
  controller.abort();
  await ended;
});

test('a handler that fails stops the consumer, and its event comes a second time', async () => {
  await quipu.append('c3-1', numbers(1, 5).map(noted));
  const options = { category: 'c3', waitMs: 0 };
  const failure = new Error('no mail today');
  const seen = [];
  const handler = ({ data }) => {
    seen.push(data);
    if (data === 3) throw failure;
  };
  await assert.rejects(quipu.consume('mailer', handler, options), failure);
  assert.deepEqual(seen, [1, 2, 3]);
  assert.deepEqual(await collect('mailer', 3, options), [3, 4, 5]);
});

test('onError retries or skips an event', async () => {
  await quipu.append('c4-1', numbers(1, 4).map(noted));
  const controller = new AbortController();
  const seen = [];
  const handler = ({ data }, { attempt }) => {
    seen.push(`${data}.${attempt}`);
    if (data === 4) return controller.abort();
    if (data === 2 || (data === 3 && attempt < 3)) throw new Error(`${data}`);
    return undefined;
  };
  const onError = async (error, event) => (event.data === 2 ? 'skip' : 'retry');
  await quipu.consume('careful', handler, { category: 'c4', onError, signal: controller.signal });
  assert.deepEqual(seen, ['1.1', '2.1', '3.1', '3.2', '3.3', '4.1']);
});

test('a handler that is slower than the lease keeps the name', async () => {
  await quipu.append('c5-1', [noted(1), noted(2)]);
  const controller = new AbortController();
  const tokens = [];
  const handler = async (event, { token }) => {
    tokens.push(token);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const { code } = await post('/v1/subscriptions/slow/claim');
    assert.equal(code, 'subscription-held');
    if (event.data === 2) controller.abort();
  };
  await quipu.consume('slow', handler, { category: 'c5', leaseMs: 1000, signal: controller.signal });
  assert.equal(tokens.length, 2);
  assert.equal(tokens[0], tokens[1]);
});

test('a consumer that loses the name stops its handler and claims the name a second time', async () => {
  const { position } = await quipu.append('c6-1', numbers(1, 3).map(noted));
  const controller = new AbortController();
  const deliveries = [];
  const handler = async (event, { token, signal }) => {
    deliveries.push([event.data, token]);
    if (deliveries.length === 2) {
      await post('/v1/subscriptions/moved/seek', { after: position - 3 });
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      throw signal.reason;
    }
    if (event.data === 3) controller.abort();
  };
  await quipu.consume('moved', handler, { category: 'c6', leaseMs: 1000, signal: controller.signal });
  assert.deepEqual(deliveries.map(([data]) => data), [1, 2, 1, 2, 3]);
  assert.ok(deliveries[2][1] > deliveries[0][1]);
});

test('several consumers of a name take turns, and together handle every event once', async () => {
  await quipu.append('c7-1', numbers(1, 30).map(noted));
  const seen = [];
  const consumer = async () => {
    const controller = new AbortController();
    let handled = 0;
    const handler = ({ data }) => {
      seen.push(data);
      handled += 1;
      // Each handles ten events and gives the name back.
      if (handled === 10) controller.abort();
    };
    await quipu.consume('shared', handler, { category: 'c7', signal: controller.signal, waitMs: 100 });
  };
  await Promise.all([consumer(), consumer(), consumer()]);
  assert.deepEqual(seen, numbers(1, 30));
});

test('no event is left out when the host is killed and started on the same store', async (t) => {
  const store = `sqlite:${path.join(emptyFolder(t), 'log.db')}`;
  const host = await startHost(t, { store, components: [] });
  const client = new Quipu({ url: host.url, retry: { attemptsMax: 50, delayMsMax: 500, totalMsMax: 300_000 } });
  await client.append('a-1', numbers(1, 60).map(noted), { id: 'all' });
  const controller = new AbortController();
  const seen = [];
  const handler = async ({ data }) => {
    seen.push(data);
    if (data === 20 && !seen.includes(21)) {
      await host.kill();
      setTimeout(() => host.restart().catch(() => {}), 50);
    }
    if (data === 60) controller.abort();
  };
  await client.consume('robust', handler, { batchSize: 7, signal: controller.signal, waitMs: 500 });
  assert.deepEqual([...new Set(seen)], numbers(1, 60));
  // Repeated events are those of the batch in which the host was killed.
  assert.ok(seen.length <= 67, `${seen}`);
  const { position } = await show('robust', host.url);
  assert.equal(position, 60);
});

test('an error that does not pass ends the consumer, and it releases the name', async (t) => {
  const calls = [];
  const server = await startServer(t, (request, response) => {
    const call = request.url.replace(/^.*\/|\?.*$/g, '');
    calls.push(call);
    if (call === 'claim') return json(response, { name: 'x', token: 5, position: 0, lease_ms: 1000 });
    if (call === 'release') return response.writeHead(204).end();
    return problem(response, 'unreadable-event', 409);
  });
  await assert.rejects(new Quipu({ url: server.url }).consume('x', () => {}), { code: 'unreadable-event' });
  assert.deepEqual(calls, ['claim', 'events', 'release']);
  await assert.rejects(new Quipu({ url: 'http://127.0.0.1:1', retry: false }).consume('x', () => {}, { reconnectMsMax: 300 }), { code: 'unreachable' });
});

test('an answer without numbers is refused', async (t) => {
  const server = await startServer(t, (request, response) => json(response, request.url.endsWith('claim') ? { token: 'x' } : {}));
  await assert.rejects(new Quipu({ url: server.url }).consume('x', () => {}), { code: 'invalid-answer', message: /claim: expected numbers/ });
  const later = await startServer(t, (request, response) => json(response, request.url.endsWith('claim') ? { token: 5, position: 0 } : { events: [], next: null }));
  await assert.rejects(new Quipu({ url: later.url }).consume('x', () => {}), { code: 'invalid-answer', message: /read: expected numbers/ });
});
