import assert from 'node:assert/strict';
import { test } from 'node:test';

import { messagesOf, Parser } from '../src/sse.js';
import { randomOf, seedOf } from './support/random.js';

const TEXT = [
  '\ufeff: a comment\n\nid: 1\nevent: event\ndata: {"a":\ndata:  1}\n\n',
  'event: caught-up\r\ndata: x\r\n\r\n',
  'data\rid:7\runknown: y\r\r',
  ':\n\nevent:heartbeat\nid\n\ndata: unfinished',
].join('');
const MESSAGES = [
  { id: '1', event: 'event', data: '{"a":\n 1}' },
  { id: undefined, event: 'caught-up', data: 'x' },
  { id: '7', event: 'message', data: '' },
  { id: '', event: 'heartbeat', data: '' },
];

test('messages are the same however the bytes are divided', () => {
  const seed = seedOf();
  const random = randomOf(seed);
  for (let round = 0; round < 300; round += 1) {
    const parser = new Parser(1000);
    const found = [];
    for (let at = 0; at < TEXT.length; ) {
      const size = round === 0 ? 1 : Math.floor(random() * 12);
      found.push(...parser.push(TEXT.slice(at, at + size)));
      at += size;
    }
    assert.deepEqual(found, MESSAGES, `seed ${seed}, round ${round}`);
  }
});

test('a message beyond the bound is an error, one within it is not', () => {
  const check = (lines, charsMax) => new Parser(charsMax).push(lines);
  assert.equal(check(`data: ${'x'.repeat(99)}\n\n`, 100).length, 1);
  const large = { code: 'answer-too-large', message: /more than 100 characters; raise answerBytesMax/ };
  assert.throws(() => check(`data: ${'x'.repeat(100)}\n\n`, 100), large);
  assert.throws(() => check('data: x\n'.repeat(60), 100), large);
  const parser = new Parser(100);
  assert.throws(() => { for (let n = 0; n < 101; n += 1) parser.push('x'); }, large);
});

test('a body is read no faster than its messages are taken', async () => {
  let pulled = 0;
  const body = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(new TextEncoder().encode(`id: ${pulled}\ndata: ü\n\n`));
    },
  }, { highWaterMark: 0 });
  const messages = messagesOf(body, { charsMax: 100, silenceMs: 60_000, silent: () => new Error('silent'), controller: new AbortController() });
  for (let n = 1; n <= 3; n += 1) {
    assert.deepEqual((await messages.next()).value, { id: String(n), event: 'message', data: 'ü' });
    assert.equal(pulled, n);
  }
  await messages.return();
});
