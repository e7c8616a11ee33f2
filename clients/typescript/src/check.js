// Checks of arguments. A wrong argument is a `TypeError` before anything is sent.

/** Refuses options that a function does not know: a misspelled one would be without effect. */
export function checkOptions(what, options, known) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${what}: expected an object, found ${shown(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${what}: unknown member "${name}"; expected ${known.join(', ')}`);
  }
  return options;
}

/** A name that becomes one segment of a path. */
export function segment(what, name) {
  if (typeof name !== 'string' || name === '') throw new TypeError(`${what}: expected a text that is not empty, found ${shown(name)}`);
  // URLs resolve these two, also when they are percent-encoded.
  if (name === '.' || name === '..') throw new TypeError(`${what} "${name}": no URL can name it`);
  try {
    return encodeURIComponent(name);
  } catch {
    throw new TypeError(`${what}: a surrogate without its other half is not text`);
  }
}

/** An integer within bounds; `undefined` stays. */
export function integer(what, value, min, max = Number.MAX_SAFE_INTEGER) {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new TypeError(`${what}: expected an integer from ${min} to ${max}, found ${shown(value)}`);
  }
  return value;
}

/** Where a reader starts: an integer, or `now`. */
export function start(what, value, min) {
  return value === 'now' ? value : integer(what, value, min);
}

/** The id of a command or an append, as a header carries it. */
export function idempotencyKey(id) {
  if (id === undefined) return undefined;
  if (typeof id !== 'string' || !/^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(id)) {
    throw new TypeError(`id: expected 1 to 255 printable ASCII characters, found ${shown(id)}`);
  }
  return id;
}

export function callable(what, value) {
  if (value !== undefined && typeof value !== 'function') throw new TypeError(`${what}: expected a function, found ${shown(value)}`);
  return value;
}

/** A value in a message, in at most 100 characters. */
export function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
  if (['number', 'bigint', 'boolean', 'undefined'].includes(typeof value) || value === null) return String(value);
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
