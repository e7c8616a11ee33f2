// JSON with integers of any size: `JSON.parse` rounds those beyond 2^53.

import { randomId } from './ids.js';

/** Parses JSON. An integer that a number cannot hold exactly becomes a `BigInt`. */
export function parseExact(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  // Nobody can have written this prefix, so a text of the data is never taken for an integer.
  const prefix = `${randomId()}:`;
  const marked = markLongIntegers(text, prefix);
  return JSON.parse(marked, (_, value) => (typeof value === 'string' && value.startsWith(prefix) ? BigInt(value.slice(prefix.length)) : value));
}

/** Writes JSON. A `BigInt` becomes an integer with all of its digits. */
export function stringifyExact(value) {
  const prefix = `${randomId()}:`;
  let isMarked = false;
  const text = JSON.stringify(value, (_, member) => {
    if (typeof member !== 'bigint') return member;
    isMarked = true;
    return `${prefix}${member}`;
  });
  return isMarked ? text.replaceAll(new RegExp(`"${prefix}(-?\\d+)"`, 'g'), '$1') : text;
}

const NUMBER = /-?\d[\d.eE+-]*/y;

/** Writes each integer beyond 2^53 - 1 as a text with the prefix. */
function markLongIntegers(text, prefix) {
  const parts = [];
  let copied = 0;
  for (let at = 0; at < text.length; ) {
    const unit = text.charCodeAt(at);
    if (unit === 0x22) {
      at = endOfText(text, at);
      continue;
    }
    if (unit !== 0x2d && (unit < 0x30 || unit > 0x39)) {
      at += 1;
      continue;
    }
    NUMBER.lastIndex = at;
    const token = NUMBER.exec(text)?.[0] ?? text[at];
    if (/^-?(0|[1-9]\d*)$/.test(token) && !Number.isSafeInteger(Number(token))) {
      parts.push(text.slice(copied, at), `"${prefix}${token}"`);
      copied = at + token.length;
    }
    at += token.length;
  }
  parts.push(text.slice(copied));
  return parts.join('');
}

/** The index after the text that begins at `at`. */
function endOfText(text, at) {
  for (let end = at + 1; end < text.length; end += 1) {
    const unit = text.charCodeAt(end);
    if (unit === 0x5c) end += 1;
    else if (unit === 0x22) return end + 1;
  }
  return text.length;
}
