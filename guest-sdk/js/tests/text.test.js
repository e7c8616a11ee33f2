import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bounded, byteLength, quoted } from '../src/text.js';
import { choices } from './support/random.js';

test('the length in bytes is that of UTF-8', () => {
  choices((random) => {
    for (let run = 0; run < 500; run += 1) {
      const text = random.text(20).toWellFormed();
      assert.equal(byteLength(text), Buffer.byteLength(text), JSON.stringify(text));
    }
  });
});

test('a text is cut at a character and within its bytes', () => {
  assert.equal(bounded('abc', 3), 'abc');
  assert.equal(bounded('abcd', 5), 'abcd');
  assert.equal(bounded('abcdef', 5), 'ab…');
  assert.equal(bounded('ééé', 5), 'é…');
  choices((random) => {
    for (let run = 0; run < 500; run += 1) {
      const cut = bounded(random.text(40), 20);
      assert.ok(Buffer.byteLength(cut) <= 20 && cut.isWellFormed(), JSON.stringify(cut));
    }
  });
});

test('a text from outside is quoted and short', () => {
  assert.equal(quoted('a"\n\u0000'), '"a\\"\\n\\u0000"');
  assert.ok(quoted('x'.repeat(1000)).length < 100);
});
