import assert from 'node:assert/strict';
import { test } from 'node:test';

import { component } from '../src/component.js';
import { DefinitionError, every, index, message, projection, projections, s } from '../src/index.js';
import { answer, recorded } from './support/crossing.js';

const definition = (changes = {}) => ({
  name: 'balances',
  sources: { account: { opened: message({ owner: s.string() }), deposited: message({ cents: s.integer() }, { version: 2 }), closed: message({}, { version: 0 }) } },
  indexes: { owner: index.text('/owner'), cents: index.integer('/cents') },
  keys: (event) => event.key,
  apply(document, event) {
    if (event.type === 'opened') return { owner: event.data.owner, cents: 0 };
    if (event.type === 'closed') return null;
    return { ...document, cents: document.cents + event.data.cents };
  },
  ...changes,
});
const exported = (changes) => component(projections('views', projection(definition(changes)), { version: '1.0.0' })).projection;
const failed = (call) => answer(call).error;

test('a projection is defined as the contract has it', () => {
  assert.deepEqual(exported({ version: 3, tags: true }).define(), [{
    name: 'balances', version: 3,
    sources: [{ category: 'account', events: [['opened', 1], ['deposited', 2], ['closed', 0]] }],
    detail: { tags: true, annotations: false },
    indexes: [{ name: 'owner', pointer: '/owner', kind: 'text' }, { name: 'cents', pointer: '/cents', kind: 'integer' }],
  }]);
  const sources = exported({ sources: { '*': every, account: every } }).define()[0].sources;
  assert.deepEqual(sources, [{ category: '', events: [] }, { category: 'account', events: [] }]);
});

test('documents are folded, made and deleted', () => {
  const { keys, apply } = exported();
  const opened = recorded('account-7', 'opened', { owner: 'ann' });
  const deposited = recorded('account-7', 'deposited', { cents: 5 }, { schemaVersion: 2 });
  assert.deepEqual(keys('balances', [opened, deposited]), [['7'], ['7']]);
  const document = '{"owner":"ann","cents":5}';
  assert.deepEqual(apply('balances', [
    { key: '7', document: null, events: [opened, deposited] },
    { key: '7', document, events: [deposited] },
    { key: '7', document, events: [recorded('account-7', 'closed', {}, { schemaVersion: 4 })] },
  ]), [document, '{"owner":"ann","cents":10}', null]);
});

test('an event has its place in the log', () => {
  let seen;
  const changes = { sources: { account: { opened: message({ owner: s.string() }) }, '*': every }, tags: true, annotations: true, keys: (event) => { seen = event; return []; } };
  const event = { ...recorded('account-7-b', 'opened', { owner: 'ann' }, { version: 4 }), tags: ['a:b'], annotations: [['c', 'd']] };
  assert.deepEqual(exported(changes).keys('balances', [event]), [[]]);
  const { type, data, category, stream, key, version, position, recordedAt, part, tags, annotations } = seen;
  assert.deepEqual([type, data, category, stream, key, version, position], ['opened', { owner: 'ann' }, 'account', 'account-7-b', '7-b', 4, 9]);
  assert.deepEqual([recordedAt.toISOString(), part, tags, annotations.c], ['2023-11-14T22:13:20.000Z', 0, ['a:b'], 'd']);
  exported(changes).keys('balances', [recorded('loan', 'anything', { x: 1 })]);
  assert.deepEqual([seen.type, seen.data, seen.category, seen.key], ['anything', { x: 1 }, 'loan', '']);
});

test('an event that is not read is an error with its kind', () => {
  const keys = (...args) => failed(() => exported().keys('balances', [recorded(...args)]));
  assert.deepEqual(keys('loan-1', 'opened'), { tag: 'unknown-event', val: 'balances reads no events of loan' });
  assert.match(keys('account-1', 'lost').val, /^balances from account has no event "lost"/);
  assert.deepEqual(keys('account-1', 'deposited', { cents: 1 }), { tag: 'unknown-event', val: 'event deposited: schema version 1, expected 2' });
  assert.equal(keys('account-1', 'opened').tag, 'bad-event');
  assert.deepEqual(failed(() => exported().keys('other', [recorded('account-1', 'opened', { owner: 'a' })])), { tag: 'internal', val: 'no projection "other"' });
});

test('keys are checked', () => {
  const keys = (value) => answer(() => exported({ keys: () => value }).keys('balances', [recorded('account-1', 'closed')]));
  assert.deepEqual(keys(undefined).ok, [[]]);
  assert.deepEqual(keys(['a', 'b']).ok, [['a', 'b']]);
  assert.deepEqual(keys('x'.repeat(255)).ok[0].length, 1);
  const cases = [
    [[1], /a key is a number, not a string/],
    ['', /the key "", expected 1 to 255 bytes/],
    ['x'.repeat(256), /expected 1 to 255 bytes/],
    ['a\nb', /without control characters/],
    [['a', 'a'], /the key "a" is there twice/],
    [Array.from({ length: 257 }, (_, n) => `${n}`), /257 keys, at most 256/],
  ];
  for (const [value, pattern] of cases) {
    const { tag, val } = keys(value).error;
    assert.equal(tag, 'internal');
    assert.match(val, pattern);
    assert.match(val, /^keys of balances for closed \(account-1, version 1\): /);
  }
});

test('a fold that fails names document and event', () => {
  const closed = recorded('account-1', 'closed');
  const work = (document) => [{ key: '1', document, events: [closed] }];
  const apply = (changes, document = null) => failed(() => exported(changes).apply('balances', work(document)));
  assert.match(apply({ apply: () => null.x }).val, /^apply of balances to 1 after closed \(account-1, version 1\): TypeError/);
  assert.match(apply({ apply: () => ({ n: NaN }) }).val, /document.n is NaN/);
  assert.match(apply({ apply: async () => ({}) }).val, /returned a Promise/);
  assert.match(apply({}, '{').val, /^document 1 of balances: /);
});

test('a definition that a host would refuse is refused', () => {
  const cases = [
    [{ name: 'Balances' }, /the name of the projection is "Balances", expected 1 to 48/],
    [{ version: 0 }, /the version of balances is 0/],
    [{ sources: {} }, /balances: no source; it would never receive an event/],
    [{ sources: { Account: every } }, /the category is "Account"/],
    [{ sources: { '*': { opened: message() } } }, /the source "\*" takes `every`/],
    [{ sources: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`a${n}`, every])) }, /65 sources, at most 64/],
    [{ indexes: { owner: index.text('owner') } }, /"owner" is not a JSON pointer/],
    [{ indexes: { Owner: index.text('/owner') } }, /the name of an index of balances is "Owner"/],
    [{ indexes: { owner: { pointer: '/owner' } } }, /index owner has no kind/],
    [{ indexes: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`a${n}`, index.text('/a')])) }, /17 indexes, at most 16/],
    [{ keys: undefined }, /keys of balances is not a function/],
    [{ fold: () => 1 }, /unknown option "fold"/],
  ];
  for (const [changes, pattern] of cases) {
    assert.throws(() => projection(definition(changes)), (error) => error instanceof DefinitionError && pattern.test(error.message), String(pattern));
  }
  const one = projection(definition());
  assert.throws(() => projections('views', [one, one]), /two projections have the same name/);
  assert.throws(() => projections('views', [{}]), /declare each with `projection\(\{…\}\)`/);
});

test('the schema of the documents is in the manifest, and documents have to fit', () => {
  const document = s.object({ owner: s.string(), cents: s.integer({ maximum: 5 }) });
  const views = component(projections('views', projection(definition({ document })), { version: '1.0.0' }));
  const { annotations } = views.manifest.describe();
  assert.deepEqual(annotations, [['document-schema.balances', JSON.stringify(document)]]);
  const fold = (cents) => views.projection.apply('balances', [{
    key: '7', document: '{"owner":"ann","cents":0}', events: [recorded('account-7', 'deposited', { cents }, { schemaVersion: 2 })],
  }]);
  assert.deepEqual(fold(5), ['{"owner":"ann","cents":5}']);
  const { tag, val } = failed(() => fold(6));
  assert.equal(tag, 'internal');
  assert.match(val, /cents: expected at most 5, found 6/);
  assert.throws(() => projection(definition({ document: { type: 'text' } })), DefinitionError);
  const long = { description: 'x'.repeat(64 << 10) };
  assert.throws(() => projection(definition({ document: long })), /more than 65536 bytes/);
});
