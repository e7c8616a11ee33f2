import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { Quipu, QuipuError, RejectionError } from '../src/index.js';
import { all, take } from './support/all.js';
import { startHost } from './support/host.js';

let quipu;

before(async (t) => {
  const { url } = await startHost(t);
  quipu = new Quipu({ url });
});

const open = { type: 'open', data: { owner: 'ann' } };
const deposit = (amount) => ({ type: 'deposit', data: { amount } });
const noted = (data, more) => ({ type: 'noted', data, ...more });

test('a command returns its outcome', async () => {
  const outcome = await quipu.execute('account-1', open, { id: 'o-1', metadata: { source: 'test' } });
  const { events, module, fuel, ...others } = outcome;
  assert.deepEqual(others, { stream: 'account-1', version: 1, position: outcome.position, created: true, replayed: false });
  assert.ok(Number.isSafeInteger(fuel) && /^[0-9a-f]{64}$/.test(module));
  assert.deepEqual(events.map(({ type, version, data }) => ({ type, version, data })), [{ type: 'opened', version: 1, data: { owner: 'ann' } }]);
  const [event] = await all(quipu.readStream('account-1'));
  assert.deepEqual([event.metadata.source, event.commit.commandId, event.commit.module], ['test', 'o-1', module]);
});

test('a preview has the outcome of a command and stores nothing', async () => {
  await quipu.execute('account-9', open);
  const { events, version, stateBefore, stateAfter, command, ...others } = await quipu.preview('account-9', deposit(5));
  assert.deepEqual([version, command, stateBefore.balance, stateAfter.balance], [1, 'deposit', 0, 5]);
  assert.deepEqual(events, [{ type: 'deposited', schemaVersion: 1, data: { amount: 5 } }]);
  assert.match(others.module, /^[0-9a-f]{64}$/);
  await assert.rejects(quipu.preview('account-9', { type: 'withdraw', data: { amount: 20 } }), { code: 'rejected', status: 422 });
  await assert.rejects(quipu.preview('account-9', deposit(5), { expectedVersion: 7 }), { status: 412 });
  await assert.rejects(quipu.preview('account-9', deposit(5), { id: 'd-1' }), /preview: unknown member "id"/);
  assert.equal((await all(quipu.readStream('account-9'))).length, 1);
});

test('a second copy of a command gets the first outcome', async () => {
  const first = await quipu.execute('account-2', open, { id: 'o-1' });
  const second = await quipu.execute('account-2', open, { id: 'o-1' });
  assert.deepEqual(second, { ...first, replayed: true });
  await assert.rejects(quipu.execute('account-2', deposit(1), { id: 'o-1' }), { code: 'idempotency-key-reused', status: 422 });
});

test('a rejection is an error of its own, with code and details', async () => {
  await quipu.execute('account-3', open);
  await quipu.execute('account-3', deposit(5));
  const error = await quipu.execute('account-3', { type: 'withdraw', data: { amount: 20 } }).catch((thrown) => thrown);
  assert.ok(error instanceof RejectionError && error instanceof QuipuError && error instanceof Error);
  assert.deepEqual(error.rejection, { code: 'insufficient-funds', message: 'balance 5, withdrawal 20', details: { balance: 5 } });
  assert.deepEqual([error.code, error.status, error.detail, error.retryAfter], ['rejected', 422, 'balance 5, withdrawal 20', undefined]);
  assert.equal(quipu.rejectionOf('account-3', error), error.rejection);
  const conflict = await quipu.execute('account-3', deposit(5), { expectedVersion: 9 }).catch((thrown) => thrown);
  assert.equal(conflict.code, 'wrong-expected-version');
  for (const other of [conflict, new Error('rejected'), undefined]) assert.equal(quipu.rejectionOf('account-3', other), undefined);
});

test('each form of an expected version is checked', async () => {
  const at = (expectedVersion) => quipu.append('check-1', [noted(1)], { expectedVersion }).then(({ version }) => version, ({ code }) => code);
  const wrong = 'wrong-expected-version';
  assert.deepEqual([await at('stream-exists'), await at(1)], [wrong, wrong]);
  assert.deepEqual([await at(0), await at('no-stream'), await at(0)], [1, wrong, wrong]);
  assert.deepEqual([await at(1), await at(1), await at('stream-exists'), await at('any')], [2, wrong, 3, 4]);
  const error = await quipu.execute('account-1', deposit(1), { expectedVersion: 7 }).catch((thrown) => thrown);
  assert.deepEqual([error.code, error.problem.expected, error.problem.found], [wrong, 7, 1]);
});

test('events of a category with a decider are appended only with raw', async () => {
  const opened = [{ type: 'opened', data: { owner: 'bob' } }];
  await assert.rejects(quipu.append('account-4', opened), { code: 'category-owned' });
  assert.equal((await quipu.append('account-4', opened, { raw: true })).version, 1);
});

test('an append keeps ids, tags, metadata and bytes', async () => {
  const id = crypto.randomUUID();
  const events = [
    noted({ text: 'ä' }, { id, tags: ['room:7'], metadata: { by: 'me' }, schemaVersion: 2 }),
    { type: 'scanned', dataBase64: 'AAEC', contentType: 'image/png' },
  ];
  await quipu.append('keep-1', events, { correlationId: 'c-1', causationId: 'c-0' });
  const [first, second] = await all(quipu.readStream('keep-1'));
  assert.deepEqual([first.id, first.data, first.tags, first.metadata.by, first.schemaVersion], [id, { text: 'ä' }, ['room:7'], 'me', 2]);
  assert.deepEqual([first.commit.correlationId, first.commit.causationId], ['c-1', 'c-0']);
  assert.deepEqual([second.data, second.dataBase64, second.contentType], [undefined, 'AAEC', 'image/png']);
});

test('an append to several streams writes all or none', async () => {
  const part = (stream, expectedVersion, events) => ({ stream, expectedVersion, events });
  await assert.rejects(quipu.appendAll([part('both-1', 'no-stream', [noted(1)]), part('both-2', 5)]), { code: 'wrong-expected-version' });
  await assert.rejects(all(quipu.readStream('both-1')), { code: 'stream-not-found', status: 404 });
  const parts = [part('both-1', 'no-stream', [noted(1)]), part('both-2', undefined, [noted(2), noted(3)])];
  const first = await quipu.appendAll(parts, { id: 'b-1' });
  assert.deepEqual(first.streams.map(({ stream, version }) => [stream, version]), [['both-1', 1], ['both-2', 2]]);
  assert.equal((await quipu.appendAll(parts, { id: 'b-1' })).replayed, true);
});

test('a stream is read in pages, in both directions and within bounds', async () => {
  await quipu.append('pages-1', Array.from({ length: 25 }, (_, at) => noted(at + 1)));
  const versions = async (options) => (await all(quipu.readStream('pages-1', options))).map(({ version }) => version);
  const range = (from, to) => Array.from({ length: Math.abs(to - from) + 1 }, (_, at) => from + (to < from ? -at : at));
  for (const pageSize of [1, 7, 25, 1000]) {
    assert.deepEqual(await versions({ pageSize }), range(1, 25));
    assert.deepEqual(await versions({ pageSize, direction: 'backward' }), range(25, 1));
    assert.deepEqual(await versions({ pageSize, from: 5, to: 15 }), range(5, 15));
    assert.deepEqual(await versions({ pageSize, from: 20, limit: 3 }), range(20, 22));
  }
  assert.deepEqual((await take(2, quipu.readStream('pages-1', { pageSize: 1 }))).map(({ version }) => version), [1, 2]);
  const page = await quipu.readStreamPage('pages-1', { limit: 10 });
  assert.deepEqual([page.version, page.events.length, page.next], [25, 10, 11]);
});

test('the log is read with filters, in both directions', async () => {
  await quipu.append('left-1', [noted('a', { tags: ['x:1'] }), noted('b')]);
  await quipu.append('right-1', [noted('c', { tags: ['x:1'] }), { type: 'other', data: 'd' }]);
  const data = async (options) => (await all(quipu.readLog({ pageSize: 1, ...options }))).map((event) => event.data);
  const category = ['left', 'right'];
  assert.deepEqual(await data({ category }), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await data({ category, direction: 'backward', limit: 2 }), ['d', 'c']);
  assert.deepEqual(await data({ category: 'left' }), ['a', 'b']);
  assert.deepEqual(await data({ tag: 'x:1' }), ['a', 'c']);
  assert.deepEqual(await data({ category, type: 'other' }), ['d']);
  assert.deepEqual(await data({ category, notType: ['other'], notPrefix: 'left' }), ['c']);
  assert.deepEqual(await data({ prefix: 'right-' }), ['c', 'd']);
  const { events: [last], head } = await quipu.readLogPage({ direction: 'backward', limit: 1 });
  assert.equal(last.position, head);
  assert.deepEqual(await data({ after: last.position - 1 }), ['d']);
});

test('a state is shown now, at a version and at a time', async () => {
  await quipu.execute('account-5', open);
  await quipu.execute('account-5', deposit(5));
  const { events } = await quipu.readStreamPage('account-5');
  const balance = async (options) => (await quipu.state('account-5', options)).state.balance;
  assert.equal(await balance(), 5);
  assert.equal(await balance({ atVersion: 1 }), 0);
  assert.equal(await balance({ atTime: events[0].recordedAt }), 0);
  assert.equal((await quipu.state('account-5', { atVersion: 0 })).state.status, 'none');
  assert.equal(await balance({ atTime: new Date() }), 5);
});

test('names of all kinds are passed on, and those without a URL are refused', async () => {
  for (const stream of ['a/b-1', 'ü-%2F', 'x y-?#&+', 'a-..', '-']) {
    await quipu.append(stream, [noted(stream)], { expectedVersion: 'no-stream' });
    assert.deepEqual((await all(quipu.readStream(stream))).map((event) => [event.stream, event.data]), [[stream, stream]]);
    assert.deepEqual((await all(quipu.readLog({ prefix: stream }))).map((event) => event.stream), [stream]);
  }
  for (const stream of ['', '.', '..', '\ud800', 7, undefined]) assert.throws(() => quipu.subscribeStream(stream), TypeError);
});

test('wrong arguments are refused by name before anything is sent', async () => {
  const silent = new Quipu({ url: 'http://127.0.0.1:1', retry: false });
  const check = async (call, message) => assert.rejects(async () => call(), { name: 'TypeError', message });
  await check(() => silent.execute('a-1', open, { expectedversion: 1 }), /execute: unknown member "expectedversion"; expected id, expectedVersion/);
  await check(() => silent.execute('a-1', { ...open, date: 1 }), /command: unknown member "date"/);
  await check(() => silent.execute('a-1', open, { expectedVersion: 'none' }), /expectedVersion: .*found "none"/);
  await check(() => silent.execute('a-1', open, { expectedVersion: 1.5 }), /expectedVersion: expected an integer/);
  await check(() => silent.execute('a-1', open, { id: 'ä' }), /id: expected 1 to 255 printable ASCII characters, found "ä"/);
  await check(() => silent.execute('a-1', open, { id: 'x'.repeat(256) }), /id: expected/);
  await check(() => silent.append('a-1', {}), /events: expected a list/);
  await check(() => silent.readLog({ category: [] }), /category: the list is empty/);
  await check(() => silent.documents('p', { where: { a: { above: 1 } } }), /unknown comparison "above"/);
  await check(() => silent.documents('p', { where: { a: 1.5 } }), /where.a: expected a text, a boolean or an integer/);
  await check(() => silent.document('p', '1', { timeout: 5 }), /timeout: only together with after/);
  await check(() => silent.consume('n', null), /handler: expected a function/);
  for (const url of [undefined, 'localhost', 'ftp://a', 'http://u:p@a', 'http://a/?x']) await check(() => new Quipu({ url }), /^url: /);
  await check(() => new Quipu({ url: 'http://a', retries: 1 }), /Quipu: unknown member "retries"/);
  await check(() => new Quipu({ url: 'http://a', token: 'a\nb' }), /./);
});
