import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Quipu } from '../src/index.js';
import { pauseMs } from '../src/retry.js';
import { all, gate } from './support/all.js';
import { json, problem, startServer } from './support/server.js';

const QUICK = { delayMs: 1, delayMsMax: 2 };
const OUTCOME = { stream: 'a-1', version: 1, position: 1, events: [], created: true, replayed: false };
const COMMAND = { type: 'open', data: {} };
const destroy = (request) => request.socket.destroy();

/** A client of a server that fails the first requests. */
async function failing(t, times, fail, options = {}) {
  const server = await startServer(t, (request, response, count) => (count <= times ? fail(request, response) : json(response, OUTCOME)));
  return { ...server, quipu: new Quipu({ url: server.url, retry: QUICK, ...options }) };
}

const TRANSIENT = {
  overloaded: (_, response) => problem(response, 'overloaded', 503, { 'Retry-After': '0' }),
  'rate-limited': (_, response) => problem(response, 'rate-limited', 429, { 'Retry-After': '0' }),
  'store-unavailable': (_, response) => problem(response, 'store-unavailable', 503),
  timeout: (_, response) => problem(response, 'timeout', 504),
  unreachable: destroy,
  'invalid-answer': (_, response) => response.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad Gateway'),
};

for (const [code, fail] of Object.entries(TRANSIENT)) {
  test(`${code} is retried with an id, and never without one`, async (t) => {
    const { quipu, requests } = await failing(t, 2, fail);
    assert.equal((await quipu.execute('a-1', COMMAND, { id: 'k-1' })).version, 1);
    assert.deepEqual(requests.map(({ headers }) => headers['idempotency-key']), ['k-1', 'k-1', 'k-1']);
    assert.equal(new Set(requests.map(({ text }) => text)).size, 1);

    const other = await failing(t, 2, fail);
    await assert.rejects(other.quipu.execute('a-1', COMMAND), { code });
    assert.equal(other.requests.length, 1);
  });
}

test('an append is retried if it has an id, or all of its events have', async (t) => {
  const id = crypto.randomUUID();
  const cases = [[[{ type: 'a', id }], {}, 2], [[{ type: 'a' }], { id: 'k' }, 2], [[{ type: 'a', id }, { type: 'b' }], {}, 1], [[], {}, 1]];
  for (const [events, options, sent] of cases) {
    const { quipu, requests } = await failing(t, 1, TRANSIENT.overloaded);
    await quipu.append('a-1', events, options).catch(() => {});
    assert.equal(requests.length, sent);
    const both = await failing(t, 1, TRANSIENT.overloaded);
    await both.quipu.appendAll([{ stream: 'a-1', events }], options).catch(() => {});
    assert.equal(both.requests.length, sent);
  }
});

test('a read is retried, an error that stays is not', async (t) => {
  const { quipu, requests } = await failing(t, 2, destroy);
  assert.equal((await quipu.state('a-1')).version, 1);
  assert.equal(requests.length, 3);
  for (const [code, status] of [['stream-not-found', 404], ['projection-failing', 503], ['not-fresh', 504], ['conflict', 409], ['internal', 500]]) {
    const final = await failing(t, 9, (_, response) => problem(response, code, status));
    await assert.rejects(final.quipu.state('a-1'), { code, status, detail: `scripted ${code}` });
    assert.equal(final.requests.length, 1);
  }
});

test('retries end after their number, and before a Retry-After that is too long', async (t) => {
  const many = await failing(t, 99, destroy, { retry: { ...QUICK, attemptsMax: 3 } });
  await assert.rejects(many.quipu.state('a-1'), { code: 'unreachable', status: 0 });
  assert.equal(many.requests.length, 3);
  const none = await failing(t, 99, destroy, { retry: false });
  await assert.rejects(none.quipu.state('a-1'), { code: 'unreachable' });
  assert.equal(none.requests.length, 1);
  const late = await failing(t, 99, (_, response) => problem(response, 'overloaded', 503, { 'Retry-After': '999999999' }));
  await assert.rejects(late.quipu.state('a-1'), { code: 'overloaded', retryAfter: 999999999 });
  assert.equal(late.requests.length, 1);
});

test('a pause doubles up to its bound, and begins after Retry-After', () => {
  const policy = { delayMs: 100, delayMsMax: 1000 };
  for (const [n, most] of [[1, 100], [2, 200], [4, 800], [5, 1000], [99, 1000]]) {
    const pauses = Array.from({ length: 200 }, () => pauseMs(policy, n));
    assert.ok(pauses.every((pause) => pause >= 0 && pause <= most) && Math.max(...pauses) > most / 2, `${n}`);
  }
  assert.ok(pauseMs(policy, 1, 3) >= 3000);
});

test('a host that does not answer is given up', async (t) => {
  const { quipu, requests } = await failing(t, 99, () => {}, { timeout: 50, retry: { ...QUICK, attemptsMax: 2 } });
  await assert.rejects(quipu.state('a-1'), { code: 'no-answer', message: /GET http.*state: no answer within 50 ms/ });
  assert.equal(requests.length, 2);
  const stalled = await failing(t, 99, (_, response) => response.writeHead(200).write('{"stream":'), { timeout: 50, retry: false });
  await assert.rejects(stalled.quipu.state('a-1'), { code: 'no-answer' });
});

test('a signal ends a request, a pause and a read of pages with its reason', async (t) => {
  const reason = new Error('enough');
  const { opened, open } = gate();
  const hanging = await failing(t, 99, open);
  const during = new AbortController();
  const request = hanging.quipu.state('a-1', { signal: during.signal });
  await opened;
  during.abort(reason);
  await assert.rejects(request, reason);

  const paused = new AbortController();
  const failed = await failing(t, 99, (_, response) => {
    problem(response, 'overloaded', 503, { 'Retry-After': '20' });
    response.on('close', () => setImmediate(() => paused.abort(reason)));
  });
  await assert.rejects(failed.quipu.execute('a-1', COMMAND, { id: 'k', signal: paused.signal }), reason);
  await assert.rejects(all(failed.quipu.readStream('a-1', { signal: AbortSignal.abort(reason) })), reason);
  assert.equal(failed.requests.length, 1);
});

test('an answer that is not a host\'s answer is an error that says so', async (t) => {
  const answers = {
    '[]': /expected a JSON object, found an array/,
    '{"a"': /expected JSON, found "{\\"a\\""/,
    '{}': /expected a list events/,
    '{"events":[],"next":5}': /next is 5/,
  };
  for (const [text, message] of Object.entries(answers)) {
    const server = await startServer(t, (_, response) => response.end(text));
    await assert.rejects(all(new Quipu({ url: server.url }).readLog()), { code: 'invalid-answer', message });
    assert.ok(server.requests.length <= 2);
  }
  const html = await failing(t, 9, (_, response) => response.writeHead(404).end('<html>'));
  await assert.rejects(html.quipu.state('a-1'), { code: 'invalid-answer', status: 404, message: /without a problem document: "<html>"/ });
  const odd = await failing(t, 9, (_, response) => response.writeHead(400).end('{"code":5}'));
  await assert.rejects(odd.quipu.state('a-1'), { code: 'invalid-answer', status: 400 });
});

test('an answer beyond the bound is given up while it comes', async (t) => {
  const { quipu } = await failing(t, 9, (_, response) => {
    const more = () => { while (!response.destroyed && response.write('x'.repeat(1000))); };
    response.on('drain', more);
    more();
  }, { answerBytesMax: 2000 });
  await assert.rejects(quipu.state('a-1'), { code: 'answer-too-large', message: /more than 2000 bytes; read smaller pages/ });
});

test('the token, the headers and the base of the address are sent', async (t) => {
  const { url, requests } = await failing(t, 0);
  await new Quipu({ url: `${url}/base/`, token: 'secret', headers: { 'X-Tenant': 'a' } }).state('a/b-1');
  assert.equal(requests[0].url, '/base/v1/streams/a%2Fb-1/state');
  assert.deepEqual([requests[0].headers.authorization, requests[0].headers['x-tenant']], ['Bearer secret', 'a']);
});

test('a fetch of the caller is used', async () => {
  const seen = [];
  const fetch = async (url, init) => {
    seen.push([init.method, String(url), init.body]);
    return Response.json(OUTCOME);
  };
  const quipu = new Quipu({ url: 'http://host.example', fetch });
  await quipu.execute('a-1', { type: 'open', schemaVersion: 2 }, { expectedVersion: 0 });
  assert.deepEqual(seen, [['POST', 'http://host.example/v1/streams/a-1/commands', '{"type":"open","schema_version":2}']]);
});
