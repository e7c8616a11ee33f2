// Reads a source map (version 3) for the lines of the author's files.

import path from 'node:path';

const SDK = '@quipu/guest/sdk.js';
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/**
 * Returns the table of `src/lines.js`: files, and for each run of lines of the bundle its first
 * line, the index of the file, and the line there. Lines of the SDK are one run, whatever its file.
 */
export function lineTable({ sources, mappings }, folder, sdk) {
  const files = sources.map((source) => shown(path.resolve(folder, source), folder, sdk));
  const isSdk = files.map((file) => file.startsWith(SDK));
  const lines = [];
  let [source, line] = [0, 0];
  mappings.split(';').forEach((row, index) => {
    let first = null;
    for (const segment of row.split(',').filter((part) => part !== '')) {
      const [, sourceStep = 0, lineStep = 0] = decode(segment);
      source += sourceStep;
      line += lineStep;
      first ??= [index + 1, source, line + 1];
    }
    if (first === null) return;
    const last = lines.at(-1);
    const continues = isSdk[first[1]] ? isSdk[last?.[1]] : isNext(last, first);
    if (!continues) lines.push(first);
  });
  return { files, lines };
}

/** Whether a run of lines covers this line already. */
function isNext(run, [bundleLine, source, line]) {
  return run !== undefined && run[1] === source && run[2] + bundleLine - run[0] === line;
}

function shown(file, folder, sdk) {
  const inSdk = path.relative(sdk, file);
  if (!inSdk.startsWith('..') && !inSdk.startsWith('tests')) return SDK;
  return path.relative(folder, file);
}

/** Decodes the numbers of a segment (base 64, variable length). */
function decode(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}
