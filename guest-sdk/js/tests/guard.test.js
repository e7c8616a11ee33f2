import assert from 'node:assert/strict';
import { test } from 'node:test';

import { guarded } from '../src/guard.js';

const TIME = 'take the time from the command: ctx.acceptedAt';
const CHANCE = 'take random numbers from the seed of the command: ctx.random() or ctx.uuid()';

test('what depends on more than its arguments names its replacement', () => {
  const cases = [
    [() => Date.now(), 'Date.now()', TIME],
    [() => new Date(), 'new Date() without an argument', TIME],
    [() => Date(), 'Date()', TIME],
    [() => new (new Date(0).constructor)(), 'new Date() without an argument', TIME],
    [() => performance.now(), 'performance.now()', TIME],
    [() => Math.random(), 'Math.random()', CHANCE],
    [() => crypto.randomUUID(), 'crypto.randomUUID()', CHANCE],
    [() => crypto.getRandomValues(new Uint8Array(1)), 'crypto.getRandomValues()', CHANCE],
    [() => setTimeout(() => 1), 'setTimeout()', 'a guest answers at once; it has no timers and no tasks'],
    [() => queueMicrotask(() => 1), 'queueMicrotask()', 'a guest answers at once; it has no timers and no tasks'],
    [() => fetch('http://localhost'), 'fetch()', 'a guest has no I/O; pass what it needs in the command'],
    [() => new WeakRef({}), 'WeakRef', 'its result depends on when memory is freed'],
  ];
  for (const [call, name, remedy] of cases) {
    const message = `${name} is not available in a guest: ${remedy}`;
    assert.throws(() => guarded(call), { name: 'ImpureError', message });
  }
});

test('what the engine of a component does not have is missing natively', () => {
  const names = ['Buffer', 'Intl', 'TextEncoder', 'URL', 'process', 'structuredClone', 'WebAssembly'];
  const kinds = () => names.map((name) => typeof globalThis[name]);
  const before = kinds();
  assert.deepEqual(guarded(kinds), names.map(() => 'undefined'));
  assert.throws(() => guarded(() => structuredClone({})), { name: 'ReferenceError', message: 'structuredClone is not defined' });
  assert.deepEqual(kinds(), before);
});

test('dates made from data work as usual', () => {
  guarded(() => {
    const date = new Date(Date.UTC(2026, 0, 2));
    assert.ok(date instanceof Date);
    assert.equal(date.toISOString(), '2026-01-02T00:00:00.000Z');
    assert.equal(Date.parse('2026-01-02'), date.getTime());
    class Day extends Date {}
    assert.ok(new Day(0) instanceof Day);
    assert.throws(() => new Day(), { name: 'ImpureError' });
  });
});

test('everything is restored afterwards, also after an exception', () => {
  const before = [Date, Math.random, globalThis.crypto, globalThis.performance, setTimeout, Date.prototype.constructor];
  assert.throws(() => guarded(() => guarded(() => { throw new Error('x'); })));
  assert.deepEqual([Date, Math.random, globalThis.crypto, globalThis.performance, setTimeout, Date.prototype.constructor], before);
  assert.equal(typeof Date.now(), 'number');
});
