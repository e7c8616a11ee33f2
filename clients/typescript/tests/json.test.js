import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseExact, Quipu, stringifyExact } from '../src/index.js';
import { all } from './support/all.js';
import { startHost } from './support/host.js';
import { randomOf, seedOf } from './support/random.js';

test('integers beyond 2^53 become BigInt, everything else stays', () => {
  const text = '{"a":9007199254740993,"b":[-12345678901234567890,1,"9007199254740993"],"c":1e300,"d":12345678901234567.5,"e\\"9007199254740993":"x\\\\"}';
  assert.deepEqual(parseExact(text), { a: 9007199254740993n, b: [-12345678901234567890n, 1, '9007199254740993'], c: 1e300, d: 12345678901234567.5, 'e"9007199254740993': 'x\\' });
  assert.equal(parseExact('9007199254740992'), 9007199254740992n);
  assert.equal(parseExact('9007199254740991'), 9007199254740991);
  assert.equal(stringifyExact({ a: 9007199254740993n, b: '1', c: [-1n] }), '{"a":9007199254740993,"b":"1","c":[-1]}');
  for (const wrong of ['01234567890123456789', '{"a":1234567890123456789', '12345678901234567890x', '"1234567890123456']) assert.throws(() => parseExact(wrong), SyntaxError);
});

test('any value survives both directions', () => {
  const seed = seedOf();
  const random = randomOf(seed);
  const value = (depth) => {
    const kind = Math.floor(random() * (depth > 3 ? 4 : 6));
    const sign = random() < 0.5 ? -1n : 1n;
    if (kind === 0) return Math.floor(random() * 1e6) - 5e5;
    if (kind === 1) return sign * (2n ** 53n + BigInt(Math.floor(random() * 2 ** 52)));
    if (kind === 2) return ['', '"', '\\', '\\"', '9007199254740993', '{"a":12345678901234567890}', 'ü\u2028'][Math.floor(random() * 7)];
    if (kind === 3) return [true, false, null, 0.5][Math.floor(random() * 4)];
    if (kind === 4) return Array.from({ length: random() * 4 }, () => value(depth + 1));
    return Object.fromEntries(Array.from({ length: random() * 4 }, (_, at) => [`m${at}"\\`, value(depth + 1)]));
  };
  for (let round = 0; round < 500; round += 1) {
    const one = value(0);
    assert.deepEqual(parseExact(stringifyExact(one)), one, `seed ${seed}, round ${round}`);
  }
});

test('a client with these functions keeps every digit, the default rounds', async (t) => {
  const { url } = await startHost(t, { components: [] });
  const exact = new Quipu({ url, parse: parseExact, stringify: stringifyExact });
  const data = { amount: 12345678901234567890n };
  const { position } = await exact.append('note-1', [{ type: 'noted', data }]);
  assert.equal(typeof position, 'number');
  assert.deepEqual((await all(exact.readStream('note-1')))[0].data, data);
  for await (const event of exact.subscribe()) {
    assert.deepEqual(event.data, data);
    break;
  }
  const [rounded] = await all(new Quipu({ url }).readStream('note-1'));
  assert.equal(rounded.data.amount, 12345678901234567000);
});
