// A guest that was built to a component answers as the same guest does natively.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { guarded } from '../src/guard.js';
import { load } from './support/component.js';
import { answer, command, event, json, recorded, wide } from './support/crossing.js';
import { project, run } from './support/project.js';

let built;
let summary;
const cleanups = [];
before(async () => {
  const folder = project({ after: (call) => cleanups.push(call) }, 'account', { hasTypescript: true });
  const result = run(folder, 'build', '--json');
  assert.equal(result.status, 0, result.stderr);
  summary = JSON.parse(result.stdout);
  built = await load(path.join(folder, summary.out));
  cleanups.push(built.remove);
});
after(() => cleanups.forEach((call) => call()));

async function opened(log = []) {
  const { decider } = await built.start(log);
  const aggregate = decider.Aggregate.open('1', undefined);
  aggregate.apply(wide([event('opened', { owner: 'ann', at: '', number: '' }), event('deposited', { cents: 5 }, { schemaVersion: 2 })]));
  return aggregate;
}
const decide = (aggregate, ...args) => answer(() => aggregate.decide(wide(command(...args))));

test('the build names what the component has, and the log is its only import', () => {
  const { bytes, ...rest } = summary;
  assert.ok(bytes > 0);
  assert.deepEqual(rest, {
    out: 'account.wasm', name: 'account', version: '1.2.0',
    exports: ['manifest', 'decider', 'upcaster', 'projection'], imports: ['diagnostics'],
    commands: ['open', 'deposit', 'withdraw', 'try'], events: ['opened', 'deposited (version 2)', 'withdrawn'],
    projections: ['balances 1'], steps: ['account: deposited 1', 'account: corrected 1', 'account: noted 1'],
  });
  assert.deepEqual(built.imports, ['quipu:domain/diagnostics']);
});

test('the manifest has types, aliases, schemas and migrations', async () => {
  const { manifest } = await built.start();
  const { name, version, stateSchemaVersion, migrations, commands, events } = manifest.describe();
  assert.deepEqual([name, version, stateSchemaVersion, migrations], ['account', '1.2.0', 2, [[1, 2]]]);
  assert.deepEqual(commands.map(({ type, aliases }) => [type, aliases]), [['open', []], ['deposit', []], ['withdraw', ['take-out']], ['try', []]]);
  assert.deepEqual(JSON.parse(events[1].jsonSchema).required, ['cents']);
});

test('commands lead to events, rejections and bad commands', async () => {
  const aggregate = await opened();
  assert.deepEqual(decide(aggregate, 'take-out', { cents: 3 }).ok[0].body, json({ cents: 3 }));
  assert.deepEqual(decide(aggregate, 'withdraw', { cents: 9 }).error, {
    tag: 'rejected', val: { code: 'insufficient-funds', message: 'the balance is 5', details: json({ balance: 5 }) },
  });
  assert.equal(decide(aggregate, 'lost').error.tag, 'bad-command');
  const big = decide(aggregate, 'deposit', null, { body: { tag: 'json', val: '{"cents":9007199254740993}' } });
  assert.match(big.error.val, /^command deposit: body does not fit: the number 9007199254740993 does not fit a double exactly/);
  assert.equal(answer(() => aggregate.apply(wide([event('lost')]))).error.tag, 'unknown-event');
  assert.equal(answer(() => aggregate.apply(wide([event('withdrawn')]))).error.tag, 'bad-event');
  assert.equal(aggregate.view(), '{"balance":5,"owner":"ann"}');
});

test('time and ids are those of the command, in each instance', async () => {
  const seed = ['0xffffffffffffffff', '0x8000000000000001', 3, 4];
  const answers = [];
  for (let instance = 0; instance < 2; instance += 1) {
    const { decider } = await built.start();
    answers.push(decide(decider.Aggregate.open('1', undefined), 'open', { owner: 'bob' }, { seed }).ok[0]);
  }
  assert.deepEqual(answers[0], answers[1]);
  const { at, number } = JSON.parse(answers[0].body.val);
  assert.equal(at, '2023-11-14T22:13:20.123Z');
  // The native context gives the same id for the same seed.
  const { Context } = await import('../src/context.js');
  assert.equal(number, new Context('1', command('open', {}, { seed: seed.map(BigInt) })).uuid());
  assert.deepEqual(answers[0].tags, ['owner:bob']);
});

test('what depends on more than its arguments is a fault that names its replacement', async () => {
  const TIME = 'take the time from the command: ctx.acceptedAt';
  const CHANCE = 'take random numbers from the seed of the command: ctx.random() or ctx.uuid()';
  const cases = {
    'date-now': `Date.now() is not available in a guest: ${TIME}`,
    'new-date': `new Date() without an argument is not available in a guest: ${TIME}`,
    'date-call': `Date() is not available in a guest: ${TIME}`,
    'date-constructor': `new Date() without an argument is not available in a guest: ${TIME}`,
    random: `Math.random() is not available in a guest: ${CHANCE}`,
    'random-uuid': `crypto.randomUUID() is not available in a guest: ${CHANCE}`,
    'random-values': `crypto.getRandomValues() is not available in a guest: ${CHANCE}`,
    performance: `performance.now() is not available in a guest: ${TIME}`,
    timeout: 'setTimeout() is not available in a guest: a guest answers at once; it has no timers and no tasks',
    fetch: 'fetch() is not available in a guest: a guest has no I/O; pass what it needs in the command',
    weakref: 'WeakRef is not available in a guest: its result depends on when memory is freed',
  };
  const aggregate = await opened();
  for (const [what, sentence] of Object.entries(cases)) {
    const { error } = decide(aggregate, 'try', { what });
    assert.equal(error?.tag, 'internal', what);
    assert.equal(error.val.split('\n')[0], `decide of account on try: ImpureError: ${sentence}`);
  }
});

test('an exception is an internal fault with file and line of the author', async () => {
  const { error } = decide(await opened(), 'try', { what: 'throw' });
  assert.equal(error.tag, 'internal');
  const [title, first, ...frames] = error.val.split('\n');
  assert.match(title, /^decide of account on try: TypeError: .*member/);
  assert.match(first, /^ {4}at broken \(src\/index\.ts:\d+\)$/);
  assert.ok(frames.every((frame) => /\(src\/index\.ts:\d+\)$/.test(frame)), error.val);
  const text = decide(await opened(), 'try', { what: 'throw-text' }).error.val;
  assert.equal(text, 'decide of account on try: thrown: only a text');
});

test('a decision that changes the state fails and leaves it unchanged', async () => {
  const aggregate = await opened();
  assert.match(decide(aggregate, 'try', { what: 'mutate' }).error.val, /TypeError: .*read-only/);
  assert.equal(aggregate.view(), '{"balance":5,"owner":"ann"}');
});

test('console writes to the log of the host', async () => {
  const log = [];
  assert.deepEqual(decide(await opened(log), 'try', { what: 'console' }).ok, []);
  assert.deepEqual(log, ['warn: cents {"cents":5} Error: x']);
});

test('a native test has no global that a component does not have', async () => {
  const inComponent = new Set(decide(await opened(), 'try', { what: 'globals' }).error.val.match(/Error: (.*)/)[1].split(' '));
  const native = guarded(() => Object.getOwnPropertyNames(globalThis));
  // Names of Node itself, and classes that nobody uses in a decision.
  const known = /^(global|console|gc|Atomics|escape|unescape|Navigator)$|Stream|Controller|Reader|Strategy|Performance|Event|Crypto|Storage|URLPattern/;
  const more = native.filter((name) => !inComponent.has(name) && !known.test(name));
  assert.deepEqual(more, []);
});

test('snapshots are opened and migrated, and a failed migration is logged', async () => {
  const log = [];
  const { decider } = await built.start(log);
  const snapshot = decider.migrate({ stateSchemaVersion: 1, body: json({ euros: 3, owner: 'ann' }) });
  assert.deepEqual(snapshot, { stateSchemaVersion: 2, body: json({ balance: 300, owner: 'ann' }) });
  assert.deepEqual(decider.Aggregate.open('1', snapshot).snapshot(), snapshot);
  assert.equal(answer(() => decider.Aggregate.open('1', { ...snapshot, stateSchemaVersion: 1 })).error.tag, 'bad-event');
  assert.equal(decider.migrate({ stateSchemaVersion: 1, body: json(null) }), undefined);
  assert.match(log[0], /^warn: snapshot of account: migration from 1: TypeError/);
});

test('events are lifted and documents folded', async () => {
  const { upcaster, projection } = await built.start();
  assert.deepEqual(upcaster.steps()[0], { category: 'account', type: 'deposited', fromVersion: 1, to: [['deposited', 2]] });
  assert.deepEqual(upcaster.upcast(1, wide([event('corrected', { from: 1, to: 2 })])), [[
    { type: 'withdrawn', schemaVersion: 1, body: json({ cents: 1 }) },
    { type: 'deposited', schemaVersion: 2, body: json({ cents: 2 }) },
  ]]);
  assert.equal(answer(() => upcaster.upcast(0, wide([event('deposited')]))).error.tag, 'bad-event');
  assert.deepEqual(projection.define().map(({ name, detail }) => [name, detail]), [['balances', { tags: true, annotations: false }]]);
  const withdrawn = wide(recorded('account-1', 'withdrawn', { cents: 1 }));
  assert.deepEqual(projection.keys('balances', [withdrawn]), [['1']]);
  const work = { key: '1', document: '{"owner":"ann","cents":5,"deposits":1}', events: [withdrawn] };
  assert.deepEqual(projection.apply('balances', [work]), ['{"owner":"ann","cents":4,"deposits":1}']);
});

test('many aggregates share nothing', async () => {
  const { decider } = await built.start();
  const aggregates = Array.from({ length: 500 }, (_, n) => decider.Aggregate.open(`${n}`, undefined));
  aggregates.forEach((aggregate, n) => aggregate.apply(wide([event('deposited', { cents: n }, { schemaVersion: 2 })])));
  aggregates.forEach((aggregate, n) => assert.equal(JSON.parse(aggregate.view()).balance, n));
});
