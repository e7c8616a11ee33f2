import assert from 'node:assert/strict';
import { test } from 'node:test';

import { component } from '../src/component.js';
import { DefinitionError, message, messageOf, rejection, s } from '../src/index.js';
import { setLog } from '../src/log.js';
import { answer, command, event, json } from './support/crossing.js';
import { account } from './support/guests.js';

const lines = [];
setLog((level, text) => lines.push(`${level}: ${text.split('\n', 1)[0]}`));

const opened = (changes, events = []) => {
  const aggregate = component(account(changes)).decider.Aggregate.open('1', null);
  aggregate.apply(events);
  return aggregate;
};
const decided = (changes, ...args) => answer(() => opened(changes).decide(command(...args)));
const internal = (changes, ...args) => {
  const { error } = decided(changes, ...args);
  assert.equal(error?.tag, 'internal', JSON.stringify(error));
  return error.val;
};

test('a decision is a list of events in the form of the contract', () => {
  assert.deepEqual(decided({}, 'deposit', { cents: 5 }).ok, [
    { type: 'deposited', schemaVersion: 2, body: json({ cents: 5 }), tags: [], annotations: [] },
  ]);
  assert.deepEqual(decided({}, 'close').ok, [
    { type: 'closed', schemaVersion: 1, body: json({}), tags: [], annotations: [] },
  ]);
  const labelled = { decide: () => ({ type: 'closed', tags: ['a:b'], annotations: { c: 'd' } }) };
  const [{ tags, annotations }] = decided(labelled, 'close').ok;
  assert.deepEqual([tags, annotations], [['a:b'], [['c', 'd']]]);
});

test('a rejection is returned or thrown', () => {
  const val = { code: 'no', message: 'not now', details: json([1]) };
  for (const decide of [() => rejection('no', 'not now', [1]), () => { throw rejection('no', 'not now', [1]); }]) {
    assert.deepEqual(decided({ decide }, 'close'), { error: { tag: 'rejected', val } });
  }
  const { error } = decided({ decide: () => rejection('no', 'x'.repeat(10_000)) }, 'close');
  assert.equal(Buffer.byteLength(error.val.message), 4096);
  assert.equal(error.val.details, null);
  assert.match(internal({ decide: () => rejection('no', 'x', { at: NaN }) }, 'close'), /details of rejection no: details.at is NaN/);
  assert.match(internal({ decide: () => rejection('', 'x') }, 'close'), /the code of a rejection/);
});

test('a command that can not be read is a bad command', () => {
  const bad = (...args) => {
    const { error } = decided({}, ...args);
    assert.equal(error?.tag, 'bad-command');
    return error.val;
  };
  assert.equal(bad('nothing'), 'account has no command "nothing"; it has deposit, withdraw, close');
  assert.equal(bad('toString'), 'account has no command "toString"; it has deposit, withdraw, close');
  assert.equal(bad('deposit', {}), 'command deposit: body does not fit: data.cents is missing');
  assert.equal(bad('deposit', { cents: 1 }, { schemaVersion: 2 }), 'command deposit: schema version 2, expected 1');
  assert.match(bad('close', { more: 1 }), /data.more is not a member that the schema names/);
  assert.match(bad('deposit', null, { body: { tag: 'binary', val: new Uint8Array(1) } }), /body is binary, expected JSON/);
  assert.match(bad('deposit', null, { body: { tag: 'json', val: '{' } }), /command deposit: body does not fit: /);
  assert.match(bad('deposit', null, { body: { tag: 'json', val: '{"cents":9007199254740993}' } }), /number 9007199254740993 does not fit/);
});

test('aliases and null for a message without content are read', () => {
  assert.equal(decided({}, 'close', null).ok.length, 1);
  const aggregate = opened({}, [event('deposited', { cents: 3 }, { schemaVersion: 2 }), event('taken-out', { cents: 1 })]);
  assert.equal(aggregate.decide(command('take-out', { cents: 2 }))[0].type, 'withdrawn');
  assert.equal(aggregate.view(), '{"balance":2,"isClosed":false}');
});

test('an event that can not be read is unknown or bad', () => {
  const folded = (...args) => answer(() => opened().apply([event(...args)])).error;
  assert.deepEqual(folded('lost'), { tag: 'unknown-event', val: 'account has no event "lost"; it has deposited, withdrawn, closed' });
  assert.deepEqual(folded('deposited', { cents: 1 }), { tag: 'unknown-event', val: 'event deposited: schema version 1, expected 2' });
  const { tag, val } = folded('withdrawn', { cents: 'x' });
  assert.deepEqual([tag, val], ['bad-event', 'event withdrawn: body does not fit: data.cents: expected an integer, found "x"']);
});

test('an exception is an internal fault with the stack of the guest, in at most 4 KiB', () => {
  const text = internal({ decide: function inTheGuest() { return null.member; } }, 'close');
  assert.match(text, /^decide of account on close: TypeError: .*\n\s+at .*inTheGuest/);
  const deep = (n) => { if (n === 0) throw new Error('é'.repeat(10_000)); deep(n - 1); };
  assert.ok(Buffer.byteLength(internal({ decide: () => deep(9) }, 'close')) <= 4096);
  assert.match(internal({ decide: () => { throw { code: 7 }; } }, 'close'), /thrown: \{"code":7\}/);
  assert.match(internal({ decide: () => { throw undefined; } }, 'close'), /thrown: undefined/);
  const { error } = answer(() => opened({ evolve: () => null.member }).apply([event('closed')]));
  assert.match(error.val, /^evolve of account after closed: TypeError/);
});

test('a result that is not a decision is named', () => {
  const cases = [
    [undefined, /returned undefined; return an event, a list of events or a rejection/],
    [Promise.resolve([]), /returned a Promise; a decision is made at once, without await/],
    [[7], /returned a number as an event; expected \{ type, data \}/],
    [{ type: 'lost' }, /account has no event "lost"/],
    [{ type: 'deposited', data: { cents: -1 } }, /event deposited does not fit its schema: data.cents: expected at least 0, found -1/],
    [{ type: 'deposited', data: { cents: 1, more: 1 } }, /data.more is not a member that the schema names/],
    [{ type: 'deposited', cents: 1 }, /event deposited: unknown member "cents"; put it into data/],
    [{ type: 'closed', tags: ['plain'] }, /tag "plain", expected name:value of at most 255 bytes/],
    [{ type: 'closed', tags: Array(65).fill('a:b') }, /tags are a list of at most 64/],
    [{ type: 'closed', annotations: { 'quipu.x': '' } }, /annotation "quipu.x"; names are not empty and not in quipu\./],
    [{ type: 'closed', annotations: { a: 1 } }, /annotation a is a number, not a string/],
    [{ type: 'closed', annotations: { a: 'x'.repeat(256) } }, /longer than 255 bytes/],
  ];
  for (const [result, pattern] of cases) assert.match(internal({ decide: () => result }, 'close'), pattern);
  assert.deepEqual(decided({ decide: () => [] }, 'close').ok, []);
});

test('a state that is not JSON is named, and one that is missing', () => {
  const after = (evolve) => answer(() => opened({ evolve }).apply([event('closed')])).error.val;
  assert.match(after(() => undefined), /returned undefined; return the next state/);
  assert.match(after(async () => ({})), /returned a Promise/);
  assert.match(after(() => ({ items: new Map() })), /state.items is a Map/);
  assert.match(after(() => ({ sum: 2 ** 53 })), /state.sum is 9007199254740992, an integer beyond 2\^53 - 1/);
});

test('neither decide nor evolve can change the state', () => {
  const mutate = (state) => { state.balance = 7; return []; };
  assert.match(internal({ decide: mutate }, 'close'), /TypeError: .*(read only|read-only)/);
  const { error } = answer(() => opened({ evolve: (state) => { state.balance += 1; return state; } }).apply([event('closed')]));
  assert.match(error.val, /TypeError/);
});

test('a failed apply leaves the state unchanged', () => {
  const aggregate = opened({}, [event('deposited', { cents: 3 }, { schemaVersion: 2 })]);
  answer(() => aggregate.apply([event('withdrawn', { cents: 1 }), event('lost')]));
  assert.equal(aggregate.view(), '{"balance":3,"isClosed":false}');
});

test('a snapshot is opened when its version and form fit', () => {
  const stateSchema = s.object({ balance: s.integer(), isClosed: s.boolean() });
  const { decider } = component(account({ stateSchema }));
  const snapshot = { stateSchemaVersion: 1, body: json({ balance: 4, isClosed: false }) };
  const aggregate = decider.Aggregate.open('1', snapshot);
  assert.deepEqual(aggregate.snapshot(), snapshot);
  const opening = (changes) => answer(() => decider.Aggregate.open('1', { ...snapshot, ...changes })).error;
  assert.deepEqual(opening({ stateSchemaVersion: 2 }), { tag: 'bad-event', val: 'snapshot of account: state schema version 2, expected 1' });
  assert.match(opening({ body: json({ balance: 4 }) }).val, /snapshot of account: state.isClosed is missing/);
  assert.match(opening({ body: { tag: 'json', val: '{' } }).val, /^snapshot of account: /);
  assert.equal(component(account({ snapshots: false })).decider.Aggregate.open('1', null).snapshot(), null);
});

test('a snapshot is migrated step by step', () => {
  const migrations = [
    { from: 2, to: 3, migrate: (old) => ({ ...old, isClosed: false }) },
    { from: 1, to: 2, migrate: (old) => ({ balance: old.euros * 100 }) },
  ];
  const { migrate } = component(account({ stateSchemaVersion: 3, migrations })).decider;
  const second = migrate({ stateSchemaVersion: 1, body: json({ euros: 2 }) });
  assert.deepEqual(second, { stateSchemaVersion: 2, body: json({ balance: 200 }) });
  assert.deepEqual(migrate(second), { stateSchemaVersion: 3, body: json({ balance: 200, isClosed: false }) });
  assert.equal(migrate({ stateSchemaVersion: 3, body: json({}) }), null);
  assert.equal(migrate({ stateSchemaVersion: 1, body: json(null) }), null);
  assert.match(lines.pop(), /^warn: snapshot of account: migration from 1: TypeError/);
});

test('the view is the state, another value, or not shown', () => {
  assert.equal(opened().view(), '{"balance":0,"isClosed":false}');
  assert.equal(opened({ view: (state) => ({ cents: state.balance }) }).view(), '{"cents":0}');
  for (const view of [() => null, () => undefined, () => { throw new Error('x'); }]) assert.equal(opened({ view }).view(), null);
  assert.equal(lines.pop(), 'error: view of account: Error: x');
});

test('the manifest names what the definition declares', () => {
  const manifest = component(account({ annotations: { team: 'core' } }), { version: '1.2.3' }).manifest.describe();
  const { commands, events, ...rest } = manifest;
  assert.deepEqual(rest, {
    name: 'account', version: '1.2.3', stateSchemaVersion: 1, migrations: [],
    annotations: [['unchanged.deposited', '1'], ['team', 'core']],
  });
  assert.deepEqual(commands.map(({ type, schemaVersion, aliases }) => [type, schemaVersion, aliases]), [
    ['deposit', 1, []], ['withdraw', 1, ['take-out']], ['close', 1, []],
  ]);
  assert.deepEqual(events[0], {
    type: 'deposited', schemaVersion: 2, aliases: [], contentType: 'application/json',
    jsonSchema: '{"type":"object","properties":{"cents":{"type":"integer","minimum":0}},"required":["cents"]}',
  });
  assert.equal(component(account({ version: '2.0.0' }), { version: '1.2.3' }).manifest.describe().version, '2.0.0');
});

test('a reader of the author replaces the schema', () => {
  const parse = (data) => {
    if (data.iban?.length !== 4) throw new Error('iban: expected 4 characters');
    return { iban: data.iban.toUpperCase() };
  };
  const changes = {
    commands: { name: messageOf({ $ref: 'elsewhere' }, { parse }) },
    decide: (_, { data }) => ({ type: 'named', data }),
    events: { named: messageOf() },
  };
  assert.deepEqual(decided(changes, 'name', { iban: 'abcd' }).ok[0].body, json({ iban: 'ABCD' }));
  assert.match(decided(changes, 'name', {}).error.val, /command name: body does not fit: iban: expected 4 characters/);
});

test('a definition that a host would refuse is refused', () => {
  const cases = [
    [{ category: 'Account' }, /the category is "Account", expected 1 to 64/],
    [{ category: undefined }, /the category is "undefined"/],
    [{ version: '1.2' }, /the version is "1.2", expected a semantic version/],
    [{ evolve: 1 }, /evolve of account is not a function/],
    [{ decide: undefined }, /decide of account is not a function/],
    [{ view: {} }, /view of account is not a function/],
    [{ inital: {} }, /the decider: unknown option "inital"; it has category, version/],
    [{ initial: undefined }, /initial of account is missing/],
    [{ initial: { at: new Date(0) } }, /initial of account: state.at is a Date/],
    [{ stateSchemaVersion: 0 }, /stateSchemaVersion of account is 0; versions are whole numbers from 1/],
    [{ migrations: [{ from: 1, to: 2, migrate() {} }] }, /migration of account from 1 to 2: the chain ends at 2, expected stateSchemaVersion 1/],
    [{ stateSchemaVersion: 4, migrations: [{ from: 1, to: 2, migrate() {} }, { from: 3, to: 4, migrate() {} }] }, /the chain continues at 3/],
    [{ stateSchemaVersion: 2, migrations: [1, 1].map((from) => ({ from, to: 2, migrate() {} })) }, /two migrations of account from 1/],
    [{ stateSchemaVersion: 3, migrations: [{ from: 2, to: 2, migrate() {} }] }, /leads to a later version/],
    [{ stateSchemaVersion: 2, migrations: [{ from: 1, to: 2 }] }, /migrate of the migration .* is not a function/],
    [{ commands: { a: {} } }, /account: command "a": declare it with `message\(…\)`/],
    [{ commands: { a: message({}, { version: 0 }) } }, /command "a": schema version 0; versions begin at 1/],
    [{ commands: { a: message({}, { alias: 'b' }) } }, /command "a": unknown option "alias"/],
    [{ events: { a: message(), b: message({}, { aliases: ['a'] }) } }, /event "a": two events have this name/],
    [{ events: { a: message({}, { version: 2, unchangedSince: 3 }) } }, /unchangedSince 3, expected 1 to 2/],
    [{ events: { ['x'.repeat(256)]: message() } }, /a name has 1 to 255 bytes/],
  ];
  for (const [changes, pattern] of cases) {
    assert.throws(() => account(changes), (error) => error instanceof DefinitionError && pattern.test(error.message), String(pattern));
  }
});

test('the declared initial state is not frozen, and each aggregate has its own', () => {
  const initial = { balance: 0, list: [] };
  account({ initial });
  initial.list.push(1);
  assert.deepEqual(initial, { balance: 0, list: [1] });
});

test('declared codes of rejections are in the manifest, and must be words', () => {
  const declared = (rejections) => component(account({ rejections })).manifest.describe().annotations;
  assert.deepEqual(declared(['not-open', 'closed']).at(-1), ['rejections', 'not-open closed']);
  assert.ok(declared([]).every(([name]) => name !== 'rejections'));
  assert.throws(() => declared(['not open']), /"not open" is no code/);
  assert.throws(() => declared(['a', 'a']), /a is there twice/);
});
