// Positions of a bundle as positions in the author's files.

let table = null;

/**
 * Sets the table of a bundle: its file names, and for each line of the bundle the index of the
 * file and the line there. The build command writes it.
 */
export function setLines(lines) {
  table = lines;
}

/** Returns a frame of a stack with the place in the author's file, if it is known. */
export function located(frame) {
  if (table === null) return frame;
  return frame.replace(/\(?[^\s()]*user\.js:(\d+):\d+\)?$/, (place, line) => {
    const found = find(Number(line));
    return found === null ? place : `(${found})`;
  });
}

/** `lines` is a list of [first line of the bundle, file, line of the file], ascending. */
function find(line) {
  const { files, lines } = table;
  let [low, high] = [0, lines.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines[middle][0] <= line) low = middle;
    else high = middle - 1;
  }
  const entry = lines[low];
  if (entry === undefined || entry[0] > line) return null;
  return `${files[entry[1]]}:${entry[2] + line - entry[0]}`;
}
