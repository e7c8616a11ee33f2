import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Context } from '../src/context.js';
import { chacha20, keyOf, Random } from '../src/random.js';

test('the key stream is that of RFC 8439, section 2.3.2', () => {
  const key = [0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c, 0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c];
  const block = chacha20(key, 1, [0x09000000, 0x4a000000, 0x00000000]);
  assert.deepEqual([...block], [
    0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
    0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9, 0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2,
  ]);
});

const context = (seed) => new Context('1', { id: 'c', acceptedAt: 1_700_000_000_123_456, seed, annotations: [['a', '1'], ['a', '2'], ['__proto__', 'x']] });

test('the same seed gives the same values, and another seed others', () => {
  const values = (seed) => {
    const ctx = context(seed);
    return [ctx.uuid(), ctx.random(), ctx.uuid()];
  };
  assert.deepEqual(values([1, 2, 3, 4]), values([1n, 2n, 3n, 4n]));
  assert.notDeepEqual(values([1, 2, 3, 4]), values([1, 2, 3, 5]));
  assert.notEqual(values([1, 2, 3, 4])[0], values([1, 2, 3, 4])[2]);
});

test('a word that arrives as negative is the word of 64 bits', () => {
  const words = [0xffff_ffff_ffff_f800n, 0x8000_0000_0000_0000n];
  assert.deepEqual(keyOf(words), keyOf(words.map((word) => Number(BigInt.asIntN(64, word)))));
});

test('a UUID has version 4 and fractions are below 1', () => {
  const random = new Random(keyOf([1, 2, 3, 4]));
  const seen = new Set();
  for (let run = 0; run < 1000; run += 1) {
    const uuid = random.uuid();
    assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    seen.add(uuid);
    const fraction = random.fraction();
    assert.ok(fraction >= 0 && fraction < 1);
  }
  assert.equal(seen.size, 1000);
});

test('the context has the time, and the first annotation of a name', () => {
  const ctx = context([1, 2, 3, 4]);
  assert.equal(ctx.acceptedAt.toISOString(), '2023-11-14T22:13:20.123Z');
  assert.equal(ctx.acceptedAtMicros, 1_700_000_000_123_456);
  assert.equal(ctx.annotation('a'), '1');
  assert.equal(ctx.annotation('__proto__'), 'x');
  assert.equal(ctx.annotation('toString'), undefined);
  assert.throws(() => (ctx.key = '2'), TypeError);
  ctx.acceptedAt.setTime(0);
  assert.equal(ctx.acceptedAt.getTime(), 1_700_000_000_123);
});
