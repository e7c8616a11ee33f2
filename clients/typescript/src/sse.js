// Server-sent events: the messages of a stream of bytes, as the HTML standard defines them.

import { answerTooLarge } from './errors.js';

/** Collects chunks of text to messages. A message that is larger than the bound is an error. */
export class Parser {
  #charsMax;
  #partial = [];
  #partialChars = 0;
  #isAfterCarriageReturn = false;
  #isFirst = true;
  #id;
  #event;
  #data = [];
  #dataChars = 0;

  constructor(charsMax) {
    this.#charsMax = charsMax;
  }

  /** Returns the messages that end in this chunk: `{ id, event, data }`. */
  push(chunk) {
    const messages = [];
    let text = chunk;
    if (text !== '' && this.#isFirst) {
      this.#isFirst = false;
      if (text.startsWith('\ufeff')) text = text.slice(1);
    }
    // A line may end with CR and LF in two chunks.
    if (this.#isAfterCarriageReturn && text.startsWith('\n')) text = text.slice(1);
    if (chunk !== '') this.#isAfterCarriageReturn = text.endsWith('\r');
    let from = 0;
    for (const { 0: end, index } of text.matchAll(/\r\n|\n|\r/g)) {
      const message = this.#line(this.#whole(text.slice(from, index)));
      if (message !== undefined) messages.push(message);
      from = index + end.length;
    }
    this.#keep(text.slice(from));
    return messages;
  }

  #whole(end) {
    if (this.#partial.length === 0) return end;
    const line = this.#partial.join('') + end;
    this.#partial = [];
    this.#partialChars = 0;
    return line;
  }

  #keep(rest) {
    if (rest === '') return;
    this.#partial.push(rest);
    this.#partialChars += rest.length;
    this.#check();
  }

  #check() {
    if (this.#partialChars + this.#dataChars > this.#charsMax) {
      throw answerTooLarge(`an event of a subscription has more than ${this.#charsMax} characters; raise answerBytesMax`);
    }
  }

  #line(line) {
    if (line === '') return this.#message();
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'id') this.#id = value;
    else if (name === 'event') this.#event = value;
    else if (name === 'data') {
      this.#data.push(value);
      this.#dataChars += value.length + 1;
      this.#check();
    }
    return undefined;
  }

  #message() {
    const message = { id: this.#id, event: this.#event ?? 'message', data: this.#data.join('\n') };
    const isEmpty = this.#id === undefined && this.#event === undefined && this.#data.length === 0;
    this.#id = undefined;
    this.#event = undefined;
    this.#data = [];
    this.#dataChars = 0;
    return isEmpty ? undefined : message;
  }
}

/**
 * Yields the messages of a body. Reads on only when the next message is asked for, so a slow
 * consumer slows the host down. A body that is silent for `silenceMs` while it is read ends with
 * the error that `silent` makes.
 */
export async function* messagesOf(body, { charsMax, silenceMs, silent, controller }) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new Parser(charsMax);
  for (;;) {
    const timer = setTimeout(() => controller.abort(silent()), silenceMs);
    let chunk;
    try {
      chunk = await reader.read();
    } finally {
      clearTimeout(timer);
    }
    if (chunk.done) return;
    yield* parser.push(decoder.decode(chunk.value, { stream: true }));
  }
}
