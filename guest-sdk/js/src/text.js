// Text bounded in UTF-8 bytes. The engine of a component has no TextEncoder.

/** The longest text for people that crosses the border, in bytes. */
export const TEXT_BYTES_MAX = 4096;

/** Returns the length of a text in UTF-8, in bytes. */
export function byteLength(text) {
  let bytes = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (isPair(text, index)) {
      // Two units of UTF-16 are four bytes.
      bytes += 2;
      index += 1;
    } else bytes += 2;
  }
  return bytes;
}

/** Returns the text, cut to `max` bytes of UTF-8 with `…` at the end. Replaces lone surrogates. */
export function bounded(text, max = TEXT_BYTES_MAX) {
  const whole = String(text).toWellFormed();
  // A unit of UTF-16 has at most 3 bytes.
  if (whole.length * 3 <= max || (whole.length <= max && byteLength(whole) <= max)) return whole;
  const mark = '…';
  let room = max - byteLength(mark);
  let end = 0;
  for (const character of whole) {
    room -= byteLength(character);
    if (room < 0) break;
    end += character.length;
  }
  return whole.slice(0, end) + mark;
}

/** Returns a text from outside in quotes, without control characters and cut to 80 bytes. */
export function quoted(text) {
  return JSON.stringify(bounded(text, 80));
}

function isPair(text, index) {
  const [high, low] = [text.charCodeAt(index), text.charCodeAt(index + 1)];
  return high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000;
}
