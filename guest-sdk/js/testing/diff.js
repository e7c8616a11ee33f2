// Comparison of JSON data, with a difference that people can read.

import { AssertionError } from 'node:assert';

/** Data as it is after JSON: without members that are undefined. */
export function plain(value) {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

/** A text that is equal for equal JSON data, whatever the order of members. */
export function canonical(value) {
  return JSON.stringify(sorted(plain(value)), null, 2) ?? 'undefined';
}

/** Throws an `AssertionError` unless both are equal as JSON data. */
export function expectSame(title, actual, expected) {
  const [found, wanted] = [canonical(actual), canonical(expected)];
  if (found === wanted) return;
  fail(`${title}\n${difference(wanted, found)}`, actual, expected);
}

/** Throws an `AssertionError`. */
export function fail(message, actual, expected) {
  throw new AssertionError({ message, actual, expected, operator: 'same', stackStartFn: expectSame });
}

/** Lines of both texts: `-` is only expected, `+` is only found. */
export function difference(expected, found) {
  const [before, after] = [expected.split('\n'), found.split('\n')];
  if (before.length * after.length > 1_000_000) return `- ${expected}\n+ ${found}`;
  const lengths = commonLengths(before, after);
  const lines = ['  (- expected, + found)'];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push(`  ${before[i]}`);
      i += 1;
      j += 1;
    } else if (i < before.length && (j === after.length || lengths[i + 1][j] >= lengths[i][j + 1])) {
      lines.push(`- ${before[i]}`);
      i += 1;
    } else {
      lines.push(`+ ${after[j]}`);
      j += 1;
    }
  }
  return lines.join('\n');
}

/** For each pair of places the length of the longest common sequence of lines after them. */
function commonLengths(before, after) {
  const lengths = Array.from({ length: before.length + 1 }, () => new Array(after.length + 1).fill(0));
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      const longer = Math.max(lengths[i + 1][j], lengths[i][j + 1]);
      lengths[i][j] = before[i] === after[j] ? lengths[i + 1][j + 1] + 1 : longer;
    }
  }
  return lengths;
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}
