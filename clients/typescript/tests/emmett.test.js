// The behaviours that Emmett expects of an event store. The package exports no suite for them, so
// each case also runs on Emmett's own store in memory, and both have to give the same result.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import {
  CommandHandler,
  ExpectedVersionConflictError,
  forwardToMessageBus,
  getInMemoryEventStore,
  getInMemoryMessageBus,
  isExpectedVersionConflictError,
  NO_CONCURRENCY_CHECK,
  STREAM_DOES_NOT_EXIST,
  STREAM_EXISTS,
} from '@event-driven-io/emmett';

import { getQuipuEventStore, QuipuEventStoreDefaultStreamVersion } from '../src/emmett.js';
import { Quipu } from '../src/index.js';
import { startHost } from './support/host.js';

let quipu;

before(async (t) => {
  const { url } = await startHost(t);
  quipu = new Quipu({ url });
});

const item = { productId: '123', quantity: 10, price: 3 };
const added = { type: 'ProductItemAdded', data: { item } };
const discount = { type: 'DiscountApplied', data: { percent: 10 } };
const initialState = () => ({ items: [], total: 0 });

function evolve(cart, { type, data }) {
  if (type === 'DiscountApplied') return { ...cart, total: cart.total * (1 - data.percent / 100) };
  return { items: [...cart.items, data.item], total: cart.total + data.item.quantity * data.item.price };
}

/** Also takes the metadata, which has to be there. */
function evolveWithMetadata(cart, event) {
  assert.equal(typeof event.metadata.streamPosition, 'bigint');
  assert.equal(typeof event.metadata.globalPosition, 'bigint');
  return evolve(cart, event);
}

let streams = 0;
const newStream = () => `cart-${(streams += 1)}`;

/** Runs a case on both stores. */
function behaves(rule, check) {
  test(`in memory: ${rule}`, () => check(getInMemoryEventStore()));
  test(`on a host: ${rule}`, () => check(getQuipuEventStore(quipu)));
}

for (const [name, fold] of Object.entries({ evolve, evolveWithMetadata })) {
  behaves(`aggregateStream with 'to' shows the past, with ${name}`, async (store) => {
    const stream = newStream();
    for (const event of [added, added, discount]) await store.appendToStream(stream, [event]);
    const at = (to) => store.aggregateStream(stream, { evolve: fold, initialState, read: { to } });
    const expected = [[1n, [item], 30], [2n, [item, item], 60], [3n, [item, item], 54]];
    for (const [version, items, total] of expected) {
      const { state, currentStreamVersion, streamExists } = await at(version);
      assert.deepEqual([state, currentStreamVersion, streamExists], [{ items, total }, version, true]);
    }
  });
}

behaves('a stream that does not exist is empty, at version 0', async (store) => {
  const stream = newStream();
  assert.equal(await store.streamExists(stream), false);
  const { events, currentStreamVersion, streamExists } = await store.readStream(stream);
  assert.deepEqual([events, currentStreamVersion, streamExists], [[], QuipuEventStoreDefaultStreamVersion, false]);
  const folded = await store.aggregateStream(stream, { evolve, initialState });
  assert.deepEqual([folded.state, folded.currentStreamVersion, folded.streamExists], [initialState(), 0n, false]);
});

behaves('an append returns the next expected version, and whether it created the stream', async (store) => {
  const stream = newStream();
  const { nextExpectedStreamVersion: first, createdNewStream } = await store.appendToStream(stream, [added, added]);
  assert.deepEqual([first, createdNewStream, await store.streamExists(stream)], [2n, true, true]);
  const second = await store.appendToStream(stream, [discount], { expectedStreamVersion: first });
  assert.deepEqual([second.nextExpectedStreamVersion, second.createdNewStream], [3n, false]);
});

behaves('events are read with type, data, metadata and place', async (store) => {
  const stream = newStream();
  await store.appendToStream(stream, [{ ...added, metadata: { by: 'ann' } }, discount]);
  const { events } = await store.readStream(stream);
  const found = events.map(({ type, data, kind, metadata: { by, streamName, streamPosition } }) => ({ type, data, kind, by, streamName, streamPosition }));
  assert.deepEqual(found, [
    { ...added, kind: 'Event', by: 'ann', streamName: stream, streamPosition: 1n },
    { ...discount, kind: 'Event', by: undefined, streamName: stream, streamPosition: 2n },
  ]);
  assert.ok(events[0].metadata.globalPosition < events[1].metadata.globalPosition);
  assert.equal(new Set(events.map(({ metadata }) => metadata.messageId)).size, 2);
});

behaves('each expected version is checked on append, and nothing is stored on a conflict', async (store) => {
  const stream = newStream();
  const append = async (expectedStreamVersion) => {
    try {
      return (await store.appendToStream(stream, [added], { expectedStreamVersion })).nextExpectedStreamVersion;
    } catch (error) {
      assert.ok(error instanceof ExpectedVersionConflictError && isExpectedVersionConflictError(error));
      return 'conflict';
    }
  };
  assert.deepEqual([await append(STREAM_EXISTS), await append(5n)], ['conflict', 'conflict']);
  assert.equal(await append(STREAM_DOES_NOT_EXIST), 1n);
  assert.deepEqual([await append(STREAM_DOES_NOT_EXIST), await append(0n), await append(2n)], ['conflict', 'conflict', 'conflict']);
  assert.deepEqual([await append(1n), await append(STREAM_EXISTS), await append(NO_CONCURRENCY_CHECK), await append(undefined)], [2n, 3n, 4n, 5n]);
  assert.equal((await store.readStream(stream)).events.length, 5);
});

behaves('a conflict names the current version', async (store) => {
  const stream = newStream();
  await store.appendToStream(stream, [added, added]);
  await assert.rejects(store.appendToStream(stream, [added], { expectedStreamVersion: 7n }), { current: '2', expected: '7' });
  await assert.rejects(async () => store.readStream(stream, { expectedStreamVersion: 7n }), { current: '2', expected: '7' });
  await assert.rejects(store.aggregateStream(stream, { evolve, initialState, read: { expectedStreamVersion: STREAM_DOES_NOT_EXIST } }), ExpectedVersionConflictError);
  assert.equal((await store.readStream(stream, { expectedStreamVersion: 2n })).events.length, 2);
});

behaves('a command handler appends what the decision returns, on the state before it', async (store) => {
  const stream = newStream();
  const handle = CommandHandler({ evolve, initialState });
  const first = await handle(store, stream, () => added);
  assert.deepEqual([first.newState.total, first.nextExpectedStreamVersion, first.createdNewStream], [30, 1n, true]);
  const second = await handle(store, stream, ({ total }) => (total === 30 ? [added, discount] : []));
  assert.deepEqual([second.newState.total, second.nextExpectedStreamVersion], [54, 3n]);
  const third = await handle(store, stream, () => []);
  assert.deepEqual([third.newEvents, third.nextExpectedStreamVersion], [[], 3n]);
});

behaves('a command handler retries after a conflict', async (store) => {
  const stream = newStream();
  await store.appendToStream(stream, [added]);
  const handle = CommandHandler({ evolve, initialState, retry: { onVersionConflict: 2 } });
  const totals = [];
  await handle(store, stream, async ({ total }) => {
    totals.push(total);
    if (totals.length === 1) await store.appendToStream(stream, [added]);
    return discount;
  });
  assert.deepEqual(totals, [30, 60]);
  const once = CommandHandler({ evolve, initialState });
  const conflict = once(store, stream, async () => {
    await store.appendToStream(stream, [added]);
    return discount;
  });
  await assert.rejects(conflict, ExpectedVersionConflictError);
});

behaves('events are changed on their way to and from the store', async (store) => {
  const stream = newStream();
  const downcast = ({ type, data }) => ({ type, data: { cents: data.euros * 100 } });
  const upcast = ({ type, data }) => ({ type, data: { euros: data.cents / 100 } });
  await store.appendToStream(stream, [{ type: 'Paid', data: { euros: 5 } }], { schema: { versioning: { downcast } } });
  assert.deepEqual((await store.readStream(stream)).events[0].data, { cents: 500 });
  const { events: [event] } = await store.readStream(stream, { schema: { versioning: { upcast } } });
  assert.deepEqual([event.type, event.data, event.metadata.streamPosition], ['Paid', { euros: 5 }, 1n]);
});

test('a hook receives the events after the commit, once', async () => {
  const bus = getInMemoryMessageBus();
  const seen = [];
  bus.subscribe((event) => { seen.push([event.data, event.metadata.streamPosition]); }, 'DiscountApplied');
  const store = getQuipuEventStore(quipu, { hooks: { onAfterCommit: forwardToMessageBus(bus) } });
  const stream = newStream();
  await store.appendToStream(stream, [added, discount]);
  await assert.rejects(store.appendToStream(stream, [discount], { expectedStreamVersion: 9n }), ExpectedVersionConflictError);
  assert.deepEqual(seen, [[{ percent: 10 }, 2n]]);
});

test('a range is read by versions, its ends included', async () => {
  const store = getQuipuEventStore(quipu);
  const stream = newStream();
  const count = 2500;
  for (let n = 0; n < count; n += 500) {
    await store.appendToStream(stream, Array.from({ length: 500 }, (_, at) => ({ type: 'Counted', data: n + at + 1 })));
  }
  const read = async (options) => (await store.readStream(stream, options)).events.map(({ data }) => data);
  assert.equal((await read()).length, count);
  assert.deepEqual(await read({ from: 2499n }), [2499, 2500]);
  assert.deepEqual(await read({ from: 0n, to: 2n }), [1, 2]);
  assert.deepEqual(await read({ from: 5n, maxCount: 2n }), [5, 6]);
  assert.equal((await read({ maxCount: 1500n })).length, 1500);
  assert.deepEqual([await read({ maxCount: 0n }), await read({ to: 0n })], [[], []]);
  const { currentStreamVersion, state } = await store.aggregateStream(stream, { evolve: (sum, { data }) => sum + data, initialState: () => 0, read: { to: 0n } });
  assert.deepEqual([currentStreamVersion, state], [0n, 0]);
  await assert.rejects(store.readStream(stream, { from: 5 }), { name: 'TypeError', message: /from: expected a bigint/ });
  await assert.rejects(store.readStream(stream, { from: 2n ** 60n }), /from: expected a bigint from 0 to 9007199254740991/);
});

test('a category with a decider needs raw, and other errors keep their code', async () => {
  const events = [{ type: 'opened', data: { owner: 'ann' } }];
  await assert.rejects(getQuipuEventStore(quipu).appendToStream('account-1', events), { code: 'category-owned' });
  const store = getQuipuEventStore(quipu, { raw: true });
  const { nextExpectedStreamVersion, lastEventGlobalPosition } = await store.appendToStream('account-1', events);
  assert.deepEqual([nextExpectedStreamVersion, lastEventGlobalPosition > 0n], [1n, true]);
  const { lastEventGlobalPosition: last } = await store.aggregateStream('account-1', { evolve: (count) => count + 1, initialState: () => 0 });
  assert.equal(last, lastEventGlobalPosition);
  await assert.rejects(store.appendToStream('$streams', events), { code: 'bad-request' });
});
