import assert from 'node:assert/strict';
import { test } from 'node:test';

import { component } from '../src/component.js';
import { decider, DefinitionError, lift, s, upcaster, upcasters } from '../src/index.js';
import { answer, event, json } from './support/crossing.js';
import { accountDefinition } from './support/guests.js';

const cents = s.integer();
const steps = () => [
  lift('deposited', 1, { schema: s.object({ amount: s.integer() }) }).to(2, (old) => ({ cents: old.amount * 100 })),
  lift('created', 1).to('opened', 1),
  lift('corrected', 1, { schema: s.object({ from: cents, to: cents }) }).split({ withdrawn: 1, deposited: 2 }, (old) =>
    old.from === old.to ? [] : [
      { type: 'withdrawn', data: { cents: old.from } },
      { type: 'deposited', version: 2, data: { cents: old.to } },
    ]),
  lift('noted', 1).drop(),
];
const exported = (list = steps()) =>
  component(upcasters('account-steps', upcaster({ category: 'account', steps: list }), { version: '1.0.0' }));

test('the steps are described as the contract has them', () => {
  const { manifest, upcaster: exports, ...others } = exported();
  assert.deepEqual(others, {});
  assert.deepEqual(exports.steps(), [
    { category: 'account', type: 'deposited', fromVersion: 1, to: [['deposited', 2]] },
    { category: 'account', type: 'created', fromVersion: 1, to: [['opened', 1]] },
    { category: 'account', type: 'corrected', fromVersion: 1, to: [['withdrawn', 1], ['deposited', 2]] },
    { category: 'account', type: 'noted', fromVersion: 1, to: [] },
  ]);
  const { name, version, stateSchemaVersion, commands, events } = manifest.describe();
  assert.deepEqual([name, version, stateSchemaVersion, commands, events], ['account-steps', '1.0.0', 0, [], []]);
});

test('an event becomes one event, several or none', () => {
  const { upcast } = exported().upcaster;
  assert.deepEqual(upcast(0, [event('deposited', { amount: 3 }), event('deposited', { amount: 4 })]), [
    [{ type: 'deposited', schemaVersion: 2, body: json({ cents: 300 }) }],
    [{ type: 'deposited', schemaVersion: 2, body: json({ cents: 400 }) }],
  ]);
  assert.deepEqual(upcast(1, [event('created', { owner: 'ann' })]), [[{ type: 'opened', schemaVersion: 1, body: json({ owner: 'ann' }) }]]);
  assert.deepEqual(upcast(2, [event('corrected', { from: 1, to: 1 }), event('corrected', { from: 5, to: 7 })]), [
    [],
    [{ type: 'withdrawn', schemaVersion: 1, body: json({ cents: 5 }) }, { type: 'deposited', schemaVersion: 2, body: json({ cents: 7 }) }],
  ]);
  // The body of a dropped event is not read.
  assert.deepEqual(upcast(3, [{ ...event('noted'), body: { tag: 'binary', val: new Uint8Array(2) } }]), [[]]);
});

test('an event that can not be lifted is named with its type and version', () => {
  const failed = (step, ...args) => answer(() => exported().upcaster.upcast(step, [event(...args)])).error;
  assert.deepEqual(failed(0, 'deposited', { amount: 'x' }), {
    tag: 'bad-event',
    val: 'event deposited of schema version 1: body does not fit: data.amount: expected an integer, found "x"',
  });
  assert.deepEqual(failed(9, 'deposited'), { tag: 'internal', val: 'no step 9; there are 4' });
  const broken = (list, ...args) => answer(() => exported(list).upcaster.upcast(0, [event(...args)])).error;
  const split = (parts) => broken([lift('a', 1).split({ b: 1 }, () => parts)], 'a');
  assert.match(split([{ type: 'c' }]).val, /event a of schema version 1: the step made event "c" .* which it does not declare; add it to `split`/);
  assert.match(split([{ type: 'b', version: 2 }]).val, /the step made event "b" of schema version 2/);
  assert.match(split({ type: 'b' }).val, /returned an object, expected a list of parts/);
  assert.match(split([{ type: 'b', data: NaN }]).val, /data is NaN/);
  assert.match(broken([lift('a', 1).to(2, () => null.x)], 'a').val, /event a of schema version 1: TypeError/);
});

test('steps that a host would refuse are refused', () => {
  const cases = [
    [() => [lift('a', 0).to(1)], /the version of the step from a is 0/],
    [() => [lift('a', 2).to(2)], /the step from a of schema version 2 to version 2: it leads to a later version/],
    [() => [lift('a', 1).to('b', 0)], /to b: the version is 0/],
    [() => [lift('a', 1).to(2), lift('a', 1).to(3)], /steps of account: two of the step from a of schema version 1/],
    [() => [lift('a', 1).to('b', 1), lift('b', 1).to('a', 1)], /leads back to itself/],
    [() => [lift('a', 1)], /a step ends with `to`, `split` or `drop`/],
    [() => [lift('a', 1).to(2, 3)], /the change of the step from a is not a function/],
    [() => [lift('a', 1, { scheme: {} }).to(2)], /unknown option "scheme"/],
  ];
  for (const [list, pattern] of cases) {
    assert.throws(() => upcaster({ category: 'account', steps: list() }), (error) => error instanceof DefinitionError && pattern.test(error.message), String(pattern));
  }
  const loan = upcaster({ category: 'loan', steps: [] });
  assert.throws(() => decider({ ...accountDefinition(), upcasters: loan }), /the decider account has steps of loan; put steps of other categories/);
  const own = () => upcaster({ category: 'account', steps: steps() });
  assert.throws(() => upcasters('both', [own(), own()]), /two upcasters have account: the step from deposited/);
  assert.throws(() => upcasters('Both', []), /the name is "Both"/);
});
