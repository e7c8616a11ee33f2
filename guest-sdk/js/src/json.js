// JSON that crosses the border. A number in it is a double here, so a number whose digits a double
// cannot hold is refused: no digit is changed silently.

import { Unfit } from './errors.js';
import { bounded, quoted } from './text.js';

/** The deepest JSON that a host accepts. */
export const DEPTH_MAX = 128;

/** Values that were checked and frozen before. */
const settled = new WeakSet();

/** Returns the value of a JSON text. Throws `Unfit`. */
export function read(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Unfit(error.message);
  }
  if (MAYBE_INEXACT.test(text)) checkTokens(text);
  return value;
}

/** Returns the JSON text of plain data. Throws `Unfit` with the path of what JSON cannot hold. */
export function write(value, name) {
  check(value, name, 0);
  return JSON.stringify(value);
}

/**
 * Freezes plain data deeply and returns it. Throws `Unfit` with the path of what JSON cannot hold.
 * What was frozen by an earlier call is not visited.
 */
export function settle(value, name) {
  settleAt(value, name, 0);
  return value;
}

function settleAt(value, path, depth) {
  if (value === null || typeof value !== 'object') return checkLeaf(value, path);
  if (settled.has(value)) return;
  checkContainer(value, path, depth);
  each(value, path, (member, at) => settleAt(member, at, depth + 1));
  settled.add(Object.freeze(value));
}

function check(value, path, depth) {
  if (value === null || typeof value !== 'object') return checkLeaf(value, path);
  checkContainer(value, path, depth);
  each(value, path, (member, at) => check(member, at, depth + 1));
}

function each(value, path, visit) {
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      if (value[index] === undefined) throw new Unfit(`${path}[${index}] is undefined`);
      visit(value[index], `${path}[${index}]`);
    }
    return;
  }
  for (const name of Object.keys(value)) {
    // A member that is undefined is left out, as JSON.stringify does.
    if (value[name] === undefined) continue;
    if (!name.isWellFormed()) throw new Unfit(`${path} has a name with a lone surrogate`);
    visit(value[name], member(path, name));
  }
}

function checkLeaf(value, path) {
  switch (typeof value) {
    case 'number':
      return checkNumber(value, path);
    case 'string':
      if (!value.isWellFormed()) throw new Unfit(`${path} has a lone surrogate`);
      return;
    case 'boolean':
      return;
    case 'bigint':
      throw new Unfit(`${path} is a BigInt; write it as a string`);
    default:
      if (value !== null) throw new Unfit(`${path} is ${kind(value)}, which JSON cannot hold`);
  }
}

function checkNumber(value, path) {
  if (!Number.isFinite(value)) throw new Unfit(`${path} is ${value}, which JSON cannot hold`);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new Unfit(`${path} is ${value}, an integer beyond 2^53 - 1; write it as a string`);
  }
}

function checkContainer(value, path, depth) {
  if (depth >= DEPTH_MAX) throw new Unfit(`${path} is more than ${DEPTH_MAX} levels deep`);
  if (Array.isArray(value)) return;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return;
  // Plain objects of another realm, such as those of a test runner.
  if (Object.getPrototypeOf(prototype) === null && prototype.constructor?.name === 'Object') return;
  const remedy = 'use plain objects, arrays, strings, numbers, booleans and null';
  throw new Unfit(`${path} is a ${prototype.constructor?.name ?? 'class instance'}; ${remedy}`);
}

/** Matches each text in which a number may lose digits, or a string may have a lone surrogate. */
const MAYBE_INEXACT = /\d[\d.]{15}|\d[eE][-+\d]|\\u[dD][89a-fA-F]/;
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
  const isExact = Number.isFinite(value) && digits(token) === digits(String(value));
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

/** Returns the path of a member of the value at `path`. */
export function member(path, name) {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `${path}.${name}` : `${path}[${quoted(name)}]`;
}

/** Returns what kind of JSON value it is, for messages. */
export function kind(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'undefined') return 'undefined';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}
