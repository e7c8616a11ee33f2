import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DEPTH_MAX, read, settle, write } from '../src/json.js';
import { choices } from './support/random.js';

const unfit = (pattern) => ({ name: 'Unfit', message: pattern });

test('malformed JSON does not fit', () => {
  for (const text of ['', '{', '[1,]', '{"a":1,}', "{'a':1}", 'NaN', '-Infinity', '01', '1 2', '\u0000', '"\n"', 'undefined']) {
    assert.throws(() => read(text), { name: 'Unfit' }, JSON.stringify(text));
  }
  assert.deepEqual(read(' \n{"a": [1, null, true, "x"]}\t'), { a: [1, null, true, 'x'] });
});

test('what was read is written in the same order and with the same digits', () => {
  for (const text of ['{"b":1,"a":{"z":[],"y":{}}}', '[0.1,1e-7,-5,9007199254740991]', '"Zoë \\n 😀"', '{"__proto__":1}', 'null']) {
    assert.equal(write(read(text), 'data'), text);
  }
});

test('integers up to 2^53 - 1 are read and those beyond are refused', () => {
  assert.deepEqual(read('[9007199254740991,-9007199254740991]'), [9007199254740991, -9007199254740991]);
  for (const token of ['9007199254740992', '9007199254740993', '-9007199254740993', '123456789012345678901234567890', '1e300']) {
    assert.throws(() => read(`{"n":${token}}`), unfit(/does not fit a double exactly .*; use a string/), token);
  }
});

test('decimals are read when a double keeps all their digits', () => {
  assert.deepEqual(read('[0.1,1.50,-0.0,2.5e-7,1e3,0.30000000000000004]'), [0.1, 1.5, -0, 2.5e-7, 1000, 0.30000000000000004]);
  for (const token of ['0.12345678901234567890', '1234567890.123456789', '1e-400', '1e400']) {
    assert.throws(() => read(`[${token}]`), unfit(/does not fit a double exactly/), token);
  }
});

test('digits in strings and in names are not numbers', () => {
  const text = '{"12345678901234567890":"9007199254740993 \\" 1e400","a\\\\":"1234567890.1234567890"}';
  assert.deepEqual(read(text), JSON.parse(text));
});

test('a body of a megabyte is read in one pass', () => {
  const megabyte = 1 << 20;
  const zeros = '0'.repeat(megabyte);
  for (const token of [`1${zeros}1`, `0.${zeros}1`, `1e${'9'.repeat(megabyte)}`, `1.${zeros}`]) {
    assert.throws(() => read(`[${token}]`), unfit(/^the number .{1,84} does not fit a double exactly/));
  }
  for (const string of ['\\\\'.repeat(megabyte / 2), '\\"'.repeat(megabyte / 2), '1.5e5'.repeat(megabyte / 5)]) {
    const text = `{"a":"${string}","b":1e3}`;
    assert.deepEqual(read(text), JSON.parse(text));
  }
});

test('a random number is read with all its digits or refused', () => {
  choices((random) => {
    for (let run = 0; run < 2000; run += 1) {
      const digits = Array.from({ length: random.integer(1, 24) }, () => random.integer(0, 9)).join('').replace(/^0+(?=\d)/, '');
      const fraction = random.pick(['', `.${random.integer(0, 10 ** 9)}`]);
      const exponent = random.pick(['', '', `e${random.integer(-12, 12)}`]);
      const token = `${random.pick(['', '-'])}${digits}${fraction}${exponent}`;
      let value;
      try {
        value = read(`[${token}]`)[0];
      } catch (error) {
        assert.equal(error.name, 'Unfit');
        continue;
      }
      assert.equal(exact(String(value)), exact(token), token);
    }
  });
});

/** A number as a fraction of whole numbers, in lowest form of powers of ten. */
function exact(token) {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(token);
  let [digits, power] = [BigInt(whole + fraction), Number(exponent) - fraction.length];
  while (digits !== 0n && digits % 10n === 0n) [digits, power] = [digits / 10n, power + 1];
  return digits === 0n ? '0' : `${sign}${digits}e${power}`;
}

test('a lone surrogate is refused', () => {
  assert.equal(read('"\\ud83d\\ude00"'), '😀');
  assert.throws(() => read('"\\ud83d"'), unfit(/lone surrogate/));
  assert.throws(() => write({ a: ['\ud83d'] }, 'data'), unfit(/^data\.a\[0\] has a lone surrogate/));
  assert.throws(() => write({ '\ud83d': 1 }, 'data'), unfit(/lone surrogate/));
});

test('what JSON cannot hold is refused with its path', () => {
  const cases = [
    [{ a: NaN }, /^data\.a is NaN/],
    [{ a: [1, Infinity] }, /^data\.a\[1\] is Infinity/],
    [{ 'a b': 2 ** 53 }, /^data\["a b"\] is 9007199254740992, an integer beyond 2\^53 - 1; write it as a string/],
    [{ a: 1n }, /^data\.a is a BigInt/],
    [{ a: new Date(0) }, /^data\.a is a Date; use plain objects/],
    [{ a: new Map() }, /^data\.a is a Map/],
    [[undefined], /^data\[0\] is undefined/],
    [() => 1, /^data is a function/],
  ];
  for (const [value, pattern] of cases) {
    assert.throws(() => write(value, 'data'), unfit(pattern));
    assert.throws(() => settle(value, 'data'), unfit(pattern));
  }
  assert.equal(write({ a: undefined, b: 2 ** 53 - 1 }, 'data'), '{"b":9007199254740991}');
});

test('depth is bounded, also that of a circle', () => {
  const nested = (depth) => Array.from({ length: depth }).reduce((value) => [value], 1);
  assert.equal(write(nested(DEPTH_MAX), 'data').length, 2 * DEPTH_MAX + 1);
  assert.throws(() => write(nested(DEPTH_MAX + 1), 'data'), unfit(/more than 128 levels deep/));
  const circle = {};
  circle.self = circle;
  assert.throws(() => settle(circle, 'state'), unfit(/more than 128 levels deep/));
});

test('settled data is frozen at every depth', () => {
  const state = settle({ list: [{ n: 1 }] }, 'state');
  assert.throws(() => (state.list[0].n = 2), TypeError);
  assert.throws(() => state.list.push(1), TypeError);
  const next = settle({ ...state, more: { n: 2 } }, 'state');
  assert.throws(() => (next.more.n = 3), TypeError);
});
