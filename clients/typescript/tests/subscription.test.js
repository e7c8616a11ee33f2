import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';

import { Quipu } from '../src/index.js';
import { all, gate, take } from './support/all.js';
import { emptyFolder, startHost } from './support/host.js';
import { randomOf, seedOf } from './support/random.js';
import { startServer } from './support/server.js';

const noted = (data) => ({ type: 'noted', data });
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const dataOf = (events) => events.map(({ data }) => data);

test('stored events come first, then new ones, with a filter', async (t) => {
  const { url } = await startHost(t, { components: [] });
  const quipu = new Quipu({ url });
  await quipu.append('a-1', numbers(1, 5).map(noted));
  await quipu.append('b-1', [noted('other')]);
  const { opened: caughtUp, open } = gate();
  const subscription = quipu.subscribe({ category: 'a', onCaughtUp: open });
  assert.equal(subscription.checkpoint, undefined);
  const taken = take(8, subscription);
  assert.equal(await caughtUp, 6);
  await quipu.append('b-1', [noted('other')]);
  await quipu.append('a-2', numbers(6, 10).map(noted));
  assert.deepEqual(dataOf(await taken), numbers(1, 8));
  assert.equal(subscription.checkpoint, 10);
  // A second loop continues, and so does another subscription.
  assert.deepEqual(dataOf(await take(1, subscription)), [9]);
  assert.deepEqual(dataOf(await take(1, quipu.subscribe({ category: 'a', after: subscription.checkpoint }))), [10]);
  assert.deepEqual(dataOf(await take(2, quipu.subscribe({ type: 'noted', prefix: 'a-2' }))), [6, 7]);
});

test('a subscription from now on has only new events', async (t) => {
  const { url } = await startHost(t, { components: [] });
  const quipu = new Quipu({ url });
  await quipu.append('a-1', [noted(1)]);
  for (const subscribe of [(options) => quipu.subscribe({ after: 'now', ...options }), (options) => quipu.subscribeStream('a-1', { from: 'now', ...options })]) {
    const { opened, open } = gate();
    const taken = take(1, subscribe({ onCaughtUp: open }));
    await opened;
    const { version } = await quipu.append('a-1', [noted('new')]);
    assert.deepEqual((await taken).map((event) => event.version), [version]);
  }
});

test('a stream is subscribed to before it exists, and continues from a version', async (t) => {
  const { url } = await startHost(t, { components: [] });
  const quipu = new Quipu({ url });
  const { opened, open } = gate();
  const taken = take(3, quipu.subscribeStream('a-1', { onCaughtUp: open }));
  await opened;
  await quipu.append('b-1', [noted('other')]);
  await quipu.append('a-1', numbers(1, 3).map(noted));
  assert.deepEqual(dataOf(await taken), [1, 2, 3]);
  assert.deepEqual(dataOf(await take(2, quipu.subscribeStream('a-1', { from: 2 }))), [2, 3]);
});

test('a signal ends a subscription with its reason, an error of the host with its code', async (t) => {
  const { url } = await startHost(t, { components: [] });
  const quipu = new Quipu({ url });
  const reason = new Error('enough');
  const controller = new AbortController();
  const ended = all(quipu.subscribe({ signal: controller.signal, onCaughtUp: () => controller.abort(reason) }));
  await assert.rejects(ended, reason);
  await assert.rejects(all(quipu.subscribe({ signal: AbortSignal.abort(reason) })), reason);
  await quipu.append('a-1', numbers(1, 50).map(noted));
  const early = new AbortController();
  const seen = [];
  const read = async () => {
    for await (const { data } of quipu.subscribe({ signal: early.signal })) {
      seen.push(data);
      if (data === 3) early.abort(reason);
    }
  };
  await assert.rejects(read(), reason);
  assert.deepEqual(seen, [1, 2, 3]);
  await assert.rejects(all(quipu.subscribe({ after: 99 })), { code: 'bad-request', status: 400 });
  const other = new AbortController();
  const subscription = quipu.subscribe({ after: 'now', signal: other.signal });
  const loop = subscription[Symbol.asyncIterator]().next();
  await assert.rejects(take(1, subscription), { name: 'TypeError', message: /read by another loop/ });
  other.abort(reason);
  await assert.rejects(loop, reason);
});

test('no event is lost or doubled when the host is killed and started on the same store', async (t) => {
  const store = `sqlite:${path.join(emptyFolder(t), 'log.db')}`;
  const host = await startHost(t, { store, components: [] });
  const quipu = new Quipu({ url: host.url, retry: { attemptsMax: 50, delayMsMax: 500, totalMsMax: 300_000 } });
  const count = 600;
  const reconnects = [];
  const subscription = quipu.subscribe({ category: 'a', onReconnect: ({ code }) => reconnects.push(code) });
  const inStream = quipu.subscribeStream('a-0', {});
  let received = 0;
  const log = (async () => {
    const events = [];
    for await (const event of subscription) {
      events.push(event);
      received += 1;
      if (received === count) return events;
    }
  })();
  const stream = take(count / 3, inStream);

  for (let n = 0; n < count; n += 1) {
    // Each append has an id, so the client repeats it until the host is back.
    await quipu.append(`a-${n % 3}`, [noted(n)], { id: `n-${n}` });
    if (n % 200 === 150) {
      await host.kill();
      // Started while the appends and the subscriptions retry.
      setTimeout(() => host.restart().catch(() => {}), 50);
    }
  }
  const events = await log;
  assert.deepEqual(dataOf(events), numbers(0, count - 1));
  assert.deepEqual(dataOf(await stream), numbers(0, count / 3 - 1).map((n) => 3 * n));
  assert.equal(subscription.checkpoint, events.at(-1).position);
  assert.ok(reconnects.length >= 3, `${reconnects}`);
});

test('a slow consumer gets every event although the host disconnects it', async (t) => {
  // One event is larger than what the host sends ahead, so it soon waits for this client.
  const { url } = await startHost(t, { components: [], config: '[http]\nslow_reader_max_ms = 1000\n' });
  const quipu = new Quipu({ url });
  const large = 'x'.repeat(800_000);
  for (const n of numbers(1, 40)) await quipu.append('a-1', [noted({ n, large })]);
  const { opened, open } = gate();
  let reconnected = 0;
  const seen = [];
  for await (const { data } of quipu.subscribe({ onReconnect: () => { reconnected += 1; } })) {
    seen.push(data.n);
    // Longer than the host waits for a reader.
    if (seen.length === 2) setTimeout(open, 4000);
    if (seen.length === 2) await opened;
    if (seen.length === 40) break;
  }
  assert.deepEqual(seen, numbers(1, 40));
  assert.ok(reconnected >= 1);
});

/** A scripted host: it sends the frames of one connection after the other, and then what `end` does. */
async function scripted(t, connections) {
  const lastIds = [];
  const server = await startServer(t, (request, response, count) => {
    lastIds.push(request.headers['last-event-id']);
    const { frames = [], end = (socket) => socket.destroy(), status = 200, type = 'text/event-stream' } = connections[count - 1] ?? {};
    response.writeHead(status, { 'Content-Type': type });
    response.flushHeaders();
    for (const frame of frames) response.write(frame);
    // Lets the frames arrive before the connection breaks.
    setTimeout(() => end(request.socket, response), 30);
  });
  return { ...server, lastIds, quipu: new Quipu({ url: server.url }) };
}

const frame = (kind, data, id = null) => `${id === null ? '' : `id: ${id}\n`}event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
const event = (position, more = {}, id = position) => frame('event', { stream: 'a-1', position, version: position, data: `${position}.${more.part ?? 0}`, ...more }, id);
const hang = () => {};

test('a subscription resumes after the last id, also in the middle of a split event', async (t) => {
  const { quipu, lastIds } = await scripted(t, [
    { frames: [event(1), event(2, { part: 0 }, null)] },
    { frames: [event(2, { part: 0 }, null), event(2, { part: 1 }, null)] },
    { frames: [event(2, { part: 0 }, null), event(2, { part: 1 }, null), event(2, { part: 2 }), frame('heartbeat', { position: 7 }, 7)] },
    { frames: [event(8), event(9).slice(0, -5)] },
    { frames: [event(9)], end: hang },
  ]);
  assert.deepEqual(dataOf(await take(6, quipu.subscribe())), ['1.0', '2.0', '2.1', '2.2', '8.0', '9.0']);
  assert.deepEqual(lastIds, [undefined, '1', '1', '7', '8']);
});

test('any way to cut the connection gives each event once', async (t) => {
  const seed = seedOf();
  const random = randomOf(seed);
  const total = 20;
  const server = await startServer(t, (request, response) => {
    let at = Number(request.headers['last-event-id'] ?? 0);
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const frames = [];
    while (at < total && random() < 0.8) frames.push(event((at += 1)));
    const text = frames.join('');
    const cut = random() < 0.5 ? text.length : Math.floor(random() * text.length);
    response.write(text.slice(0, cut) || ':\n');
    // Some connections end properly, others break.
    if (random() < 0.7) response.end();
    else setTimeout(() => request.socket.destroy(), 30);
  });
  const events = await take(total, new Quipu({ url: server.url }).subscribe());
  assert.deepEqual(events.map(({ position }) => position), numbers(1, total), `seed ${seed}`);
});

test('a connection without a heartbeat is given up, one with heartbeats is not', async (t) => {
  const beats = (socket, response) => {
    let n = 1;
    const timer = setInterval(() => {
      n += 1;
      if (n < 8) return response.write(frame('heartbeat', { position: n }, n));
      response.write(event(8));
      return clearInterval(timer);
    }, 300);
  };
  const { quipu, lastIds } = await scripted(t, [{ frames: [event(1)], end: hang }, { end: beats }]);
  const failures = [];
  const events = await take(2, quipu.subscribe({ silenceMs: 1500, onReconnect: (error) => failures.push(error) }));
  assert.deepEqual(dataOf(events), ['1.0', '8.0']);
  assert.deepEqual(failures.map(({ code }) => code), ['no-answer']);
  assert.match(failures[0].message, /not even a heartbeat for 1500 ms/);
  assert.deepEqual(lastIds, [undefined, '1']);
});

test('errors that pass are retried, others end the subscription', async (t) => {
  const problem = (code, status) => ({ type: `urn:quipu:problem:${code}`, title: code, status, detail: 'scripted', code });
  const { quipu } = await scripted(t, [
    { frames: [event(1), frame('error', problem('store-unavailable', 503))] },
    { frames: [frame('too-slow', {})] },
    { status: 502, type: 'text/html' },
    { frames: [event(2), frame('error', problem('unreadable-event', 409))] },
  ]);
  const seen = [];
  const read = async () => { for await (const { data } of quipu.subscribe()) seen.push(data); };
  await assert.rejects(read(), { code: 'unreadable-event', status: 409, detail: 'scripted' });
  assert.deepEqual(seen, ['1.0', '2.0']);
});

test('what a host would not send is refused', async (t) => {
  const cases = [
    [{ type: 'text/html' }, /expected text\/event-stream, found "text\/html"/],
    [{ frames: ['event: event\ndata: {"a"\n\n'] }, /event: expected JSON/],
    [{ frames: ['event: event\ndata: {}\n\n'] }, /an event without position/],
    [{ frames: ['id: x\nevent: heartbeat\ndata: {}\n\n'] }, /expected a position as id, found "x"/],
    [{ frames: [event(5), event(4)] }, /position 4 came after 5/],
  ];
  for (const [connection, message] of cases) {
    const { quipu } = await scripted(t, [connection]);
    await assert.rejects(all(quipu.subscribe()), { code: 'invalid-answer', message });
  }
});

test('a host that stays away is reported after the given time', async (t) => {
  const { quipu } = await scripted(t, []);
  let failures = 0;
  const ended = all(quipu.subscribe({ reconnectMsMax: 600, onReconnect: (_, n) => { failures = n; } }));
  await assert.rejects(ended, { code: 'unreachable' });
  assert.ok(failures >= 1);
});
