// JSON that crosses the border. A number in it is a double here, so a number whose digits a double
// cannot hold is refused: no digit is changed silently.

import { under, Unfit, within } from './errors.js';
import { bounded } from './text.js';

/** The deepest JSON that a host accepts. */
export const DEPTH_MAX = 128;

/** Values that were checked and frozen before. */
const settled = new WeakSet();

/** Returns the value of a JSON text, in which every number and string is exact. Throws `Unfit`. */
export function read(text) {
  const value = parse(text);
  checkExact(text);
  return value;
}

/** Returns the value of a JSON text. Throws `Unfit`. */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Unfit(error.message);
  }
}

/** Throws `Unfit` for a number whose digits a double cannot hold, and for a lone surrogate. */
export function checkExact(text) {
  if (MAYBE_INEXACT.test(text) || text.includes('\\u')) checkTokens(text);
}

/** Returns the JSON text of plain data. Throws `Unfit` with the path of what JSON cannot hold. */
export function write(value, name) {
  try {
    check(value, 0);
  } catch (error) {
    throw within(error, name);
  }
  return JSON.stringify(value);
}

/**
 * Freezes plain data deeply and returns it. Throws `Unfit` with the path of what JSON cannot hold.
 * What was frozen by an earlier call is not visited.
 */
export function settle(value, name) {
  try {
    freeze(value, 0);
  } catch (error) {
    throw within(error, name);
  }
  return value;
}

function freeze(value, depth) {
  if (value === null || typeof value !== 'object') return checkLeaf(value);
  if (settled.has(value)) return;
  visit(value, depth, freeze);
  settled.add(Object.freeze(value));
}

function check(value, depth) {
  if (value === null || typeof value !== 'object') return checkLeaf(value);
  visit(value, depth, check);
}

/** Calls a function for each member or element. */
function visit(value, depth, call) {
  checkContainer(value, depth);
  let step;
  try {
    if (Array.isArray(value)) {
      for (step = 0; step < value.length; step += 1) {
        if (value[step] === undefined) throw new Unfit(' is undefined');
        call(value[step], depth + 1);
      }
      return;
    }
    for (step of Object.keys(value)) {
      const member = value[step];
      // A member that is undefined is left out, as JSON.stringify does.
      if (member === undefined) continue;
      if (!step.isWellFormed()) throw new Unfit(' is a name with a lone surrogate');
      // The frequent kinds first: this runs for each member of each state.
      if (typeof member === 'boolean' || Number.isSafeInteger(member)) continue;
      call(member, depth + 1);
    }
  } catch (error) {
    throw under(error, step);
  }
}

function checkLeaf(value) {
  switch (typeof value) {
    case 'number':
      return checkNumber(value);
    case 'string':
      if (!value.isWellFormed()) throw new Unfit(' has a lone surrogate');
      return;
    case 'boolean':
      return;
    case 'bigint':
      throw new Unfit(' is a BigInt; write it as a string');
    default:
      if (value !== null) throw new Unfit(` is ${kind(value)}, which JSON cannot hold`);
  }
}

function checkNumber(value) {
  if (Number.isSafeInteger(value)) return;
  if (!Number.isFinite(value)) throw new Unfit(` is ${value}, which JSON cannot hold`);
  if (Number.isInteger(value)) throw new Unfit(` is ${value}, an integer beyond 2^53 - 1; write it as a string`);
}

/** Refuses what is not a plain object or an array. */
export function checkContainer(value, depth) {
  if (depth >= DEPTH_MAX) throw new Unfit(` is more than ${DEPTH_MAX} levels deep`);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === Array.prototype || prototype === null) return;
  // Plain data of another realm, such as that of a test runner.
  if (Array.isArray(value)) return;
  if (Object.getPrototypeOf(prototype) === null && prototype.constructor?.name === 'Object') return;
  const remedy = 'use plain objects, arrays, strings, numbers, booleans and null';
  throw new Unfit(` is a ${prototype.constructor?.name ?? 'class instance'}; ${remedy}`);
}

/** Matches each text in which a number may lose digits. */
const MAYBE_INEXACT = /\d(?:[\d.]{15}|[eE][-+\d])/;
/** No double needs a longer token, except for zeros that say nothing. */
const TOKEN_LENGTH_MAX = 400;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

function checkTokens(text) {
  let at = 0;
  while (at < text.length) {
    const quote = text.indexOf('"', at);
    const end = quote < 0 ? text.length : quote;
    for (const [token] of text.slice(at, end).matchAll(NUMBER)) checkToken(token);
    if (quote < 0) return;
    at = endOfString(text, quote);
    const string = text.slice(quote, at);
    if (string.includes('\\u') && !JSON.parse(string).isWellFormed()) {
      throw new Unfit('a string has a lone surrogate');
    }
  }
}

function endOfString(text, quote) {
  let at = quote + 1;
  for (;;) {
    at = text.indexOf('"', at);
    let slashes = 0;
    while (text[at - 1 - slashes] === '\\') slashes += 1;
    at += 1;
    if (slashes % 2 === 0) return at;
  }
}

function checkToken(token) {
  const value = Number(token);
  const isShort = token.length <= TOKEN_LENGTH_MAX;
  const isExact = isShort && Number.isFinite(value) && digits(token) === digits(String(value));
  if (isExact && (!Number.isInteger(value) || Number.isSafeInteger(value))) return;
  const rule = 'integers go up to 2^53 - 1, and a decimal has the digits of a double';
  throw new Unfit(`the number ${bounded(token, 80)} does not fit a double exactly (${rule}); use a string`);
}

/** The significant digits and the exponent of a number, in one form for all spellings. */
function digits(token) {
  const [mantissa, exponent = '0'] = token.toLowerCase().replace('-', '').split(/e(?=[-+\d])/);
  const [whole, fraction = ''] = mantissa.split('.');
  const all = (whole + fraction).replace(/^0+/, '');
  if (all === '') return '0';
  const zeros = whole.length + fraction.length - all.length;
  return `${all.replace(/0+$/, '')}e${Number(exponent) + whole.length - zeros}`;
}

/** Returns what kind of JSON value it is, for messages. */
export function kind(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'undefined') return 'undefined';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}
