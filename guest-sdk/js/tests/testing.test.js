import assert from 'node:assert/strict';
import { test } from 'node:test';

import { index, lift, message, projection, s, upcaster } from '../src/index.js';
import { checkHistories, checkHistory, given, givenEvents, lifted, migrated } from '../testing/index.js';
import { account } from './support/guests.js';

const deposited = { type: 'deposited', data: { cents: 5 } };
const fails = (call, pattern) => assert.throws(call, (error) => pattern.test(error.message) || assert.fail(error.message));

test('given events, when a command, then events and a state', () => {
  const after = given(account(), [deposited]).when({ type: 'withdraw', data: { cents: 2 } }).then({ type: 'withdrawn', data: { cents: 2 } });
  assert.deepEqual(after.state(), { balance: 3, isClosed: false });
  after.when({ type: 'close' }).then([{ type: 'closed' }]).when({ type: 'close' }).nothing();
  given(account(), [deposited]).when({ type: 'withdraw', data: { cents: 9 } }).rejected('insufficient-funds', { balance: 5 });
  given(account()).when({ type: 'lost' }).failed('bad-command', /no command "lost"/);
  given(account()).when({ type: 'deposit', data: { cents: 'x' } }).failed('bad-command', /expected an integer/);
});

test('given commands', () => {
  const commands = [{ type: 'deposit', data: { cents: 5 } }, { type: 'withdraw', data: { cents: 1 } }];
  assert.deepEqual(given(account()).commands(commands).state(), { balance: 4, isClosed: false });
  fails(() => given(account()).commands([{ type: 'withdraw', data: { cents: 1 } }]), /given command 1 \(withdraw\): rejected: insufficient-funds: the balance is 0/);
});

test('the context of a command is given', () => {
  const guest = account({
    decide: (_, __, ctx) => ({ type: 'closed', tags: [`id:${ctx.commandId}`, `at:${ctx.acceptedAt.toISOString()}`, `who:${ctx.annotation('actor')}`, `key:${ctx.key}`, `uuid:${ctx.uuid()}`] }),
  });
  const context = { commandId: 'c-7', acceptedAt: '2026-01-02T03:04:05Z', annotations: { actor: 'ann' }, seed: [1, 2, 3, 4] };
  const tags = ['id:c-7', 'at:2026-01-02T03:04:05.000Z', 'who:ann', 'key:1', 'uuid:f51ddc6c-8642-4bb8-bc57-1eed2dd0c5bd'];
  given(guest).when({ type: 'close' }, context).then({ type: 'closed', tags });
  given(guest).when({ type: 'close' }, context).then({ type: 'closed' });
  fails(() => given(guest).when({ type: 'close' }, { ...context, seed: [5, 6, 7, 8] }).then({ type: 'closed', tags }), /other events than expected/);
});

test('a failure shows both sides', () => {
  const outcome = () => given(account()).when({ type: 'deposit', data: { cents: 5 } });
  fails(() => outcome().then({ type: 'deposited', data: { cents: 6 } }), /- +"cents": 6\n\+ +"cents": 5/);
  fails(() => outcome().then([]), /other events than expected/);
  fails(() => outcome().rejected('no'), /accepted: .*\nexpected rejection no/);
  fails(() => outcome().failed('internal'), /expected internal/);
  const rejected = () => given(account()).when({ type: 'withdraw', data: { cents: 5 } });
  fails(() => rejected().then({ type: 'withdrawn', data: { cents: 5 } }), /rejected: insufficient-funds: the balance is 0 \{"balance":0\}\nexpected events/);
  fails(() => rejected().rejected('other'), /- "other"\n\+ "insufficient-funds"/);
  fails(() => rejected().rejected('insufficient-funds', { balance: 1 }), /- +"balance": 1\n\+ +"balance": 0/);
  fails(() => given(account(), [{ type: 'lost' }]), /given event: account has no event "lost"/);
  fails(() => given(account(), [{ type: 'deposited' }]), /given event deposited does not fit its schema: data.cents is missing/);
});

test('an outcome that is awaited by mistake says so', async () => {
  await assert.rejects(async () => given(account()).when({ type: 'close' }), /this outcome is not a promise/);
});

test('hidden state and impurity are found', () => {
  let count = 0;
  const hidden = account({ decide: () => ({ type: 'deposited', data: { cents: (count += 1) } }) });
  fails(() => given(hidden).when({ type: 'close' }), /decide of account on close gave two answers; it depends on something hidden/);
  given(account({ decide: () => ({ type: 'deposited', data: { cents: Date.now() } }) })).when({ type: 'close' }).failed('internal', /Date.now\(\) is not available in a guest/);
  given(account({ decide: (state) => { state.balance = 1; return []; } })).when({ type: 'close' }).failed('internal', /TypeError/);
});

test('a state that does not survive its snapshot is found', () => {
  // JSON has no -0 and no difference between missing and undefined; a schema that drops members has one.
  const stateSchema = s.object({ balance: s.integer() });
  fails(() => given(account({ stateSchema }), [deposited]), /state.isClosed is not a member that the schema names/);
});

test('snapshots of older versions are migrated', () => {
  const guest = account({ stateSchemaVersion: 2, migrations: [{ from: 1, to: 2, migrate: (old) => ({ balance: old.euros * 100, isClosed: false }) }] });
  const after = migrated(guest, 1, { euros: 3 });
  assert.deepEqual(after.state(), { balance: 300, isClosed: false });
  after.when({ type: 'withdraw', data: { cents: 300 } }).then({ type: 'withdrawn', data: { cents: 300 } });
  fails(() => migrated(guest, 7, {}), /the state of version 7 can't be migrated/);
});

const events = [deposited, deposited, { type: 'withdrawn', data: { cents: 1 } }, { type: 'closed' }];

test('a history gives the same state for any cut and any batching', () => {
  checkHistory(account(), events, { commands: [{ type: 'withdraw', data: { cents: 3 } }, { type: 'close' }] });
  checkHistory(account({ snapshots: false }), events);
  checkHistory(account(), []);
});

test('a state that depends on the cut is found, with the seed', () => {
  const before = new WeakSet();
  // Counts an event twice when the state is not the one that it made itself.
  const evolve = (state, event) => {
    const next = { ...state, balance: state.balance + (before.has(state) ? 1 : 2), isClosed: event.type === 'closed' };
    before.add(next);
    return next;
  };
  fails(() => checkHistory(account({ evolve }), events, { seed: 7 }), /after a snapshot at version 1 of 4[^]*- +"balance": \d[^]*\(seed 7: QUIPU_SEED=7 repeats it\)/);
});

test('a state that depends on the batches is found', () => {
  let calls = 0;
  const evolve = (state) => ({ ...state, balance: (calls += 1) });
  fails(() => checkHistory(account({ evolve }), events, { seed: 7 }), /differs when all events are folded in one call/);
});

test('random histories find a rule that breaks', () => {
  const command = (random) => random.pick([
    { type: 'deposit', data: { cents: random.integer(0, 9) } },
    { type: 'withdraw', data: { cents: random.integer(0, 20) } },
  ]);
  checkHistories(account(), { command });
  const evolve = (state, event) => {
    if (event.type === 'withdrawn' && state.balance === event.data.cents) throw new Error('the last cent');
    return { ...state, balance: state.balance + (event.type === 'deposited' ? 1 : -1) * event.data.cents };
  };
  fails(() => checkHistories(account({ evolve }), { command, seed: 3 }), /the last cent[^]*QUIPU_SEED=3/);
});

const steps = upcaster({
  category: 'account',
  steps: [
    lift('paid', 1).to('deposited', 1),
    lift('deposited', 1, { schema: s.object({ amount: s.integer() }) }).to(2, (old) => ({ cents: old.amount * 100 })),
    lift('noted', 1).drop(),
  ],
});

test('stored events are lifted as far as the steps lead', () => {
  lifted(steps, 'paid', 1, { amount: 3 }).to({ type: 'deposited', version: 2, data: { cents: 300 } });
  lifted(steps, 'paid', 1, { amount: 3 }).readBy(account(), { type: 'deposited', data: { cents: 300 } });
  lifted(steps, 'noted', 1).to([]);
  lifted(steps, 'closed', 1).readBy(account(), { type: 'closed' });
  assert.match(lifted(steps, 'deposited', 1, '{"amount":9007199254740993}').failed('bad-event'), /number 9007199254740993/);
  fails(() => lifted(steps, 'noted', 1).to({ type: 'noted' }), /other events than expected/);
  fails(() => lifted(steps, 'deposited', 1, {}).to([]), /not lifted: bad-event/);
  fails(() => lifted(steps, 'lost', 1).readBy(account(), []), /not read: account has no event "lost"/);
  fails(() => lifted(steps, 'noted', 1).failed('bad-event'), /expected bad-event/);
});

const balances = (changes = {}) => projection({
  name: 'balances',
  sources: { account: { deposited: message({ cents: s.integer() }, { version: 2 }), closed: message() } },
  tags: true,
  indexes: { cents: index.integer('/cents') },
  keys: (event) => [event.key, ...event.tags],
  apply: (document, event) => (event.type === 'closed' ? null : { cents: (document?.cents ?? 0) + event.data.cents, at: event.position }),
  ...changes,
});
const deposit = (stream, cents, more) => ({ stream, type: 'deposited', data: { cents }, ...more });

test('given events, then documents', () => {
  const documents = givenEvents(balances(), [deposit('account-1', 5), deposit('account-2', 7, { tags: ['a:b'] })]);
  assert.deepEqual(documents.document('1'), { cents: 5, at: 1 });
  assert.equal(documents.document('3'), null);
  documents.and([deposit('account-1', 1), { stream: 'account-2', type: 'closed' }]).then({ 1: { cents: 6, at: 3 }, 'a:b': { cents: 7, at: 2 } });
  fails(() => documents.then({}), /other documents than expected/);
  fails(() => givenEvents(balances(), [{ stream: 'loan-1', type: 'x' }]), /event x of loan-1: unknown-event/);
});

test('a document that depends on the batches is found', () => {
  let calls = 0;
  const apply = () => ({ calls: (calls += 1) });
  fails(() => givenEvents(balances({ apply }), [deposit('account-1', 1), deposit('account-1', 1)]), /the document 1 differs when its events are folded in one call/);
});
