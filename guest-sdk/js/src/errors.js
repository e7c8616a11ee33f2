// Errors that the host distinguishes, and the form in which they cross the border.

import { bounded, byteLength, quoted, TEXT_BYTES_MAX } from './text.js';
import { located } from './lines.js';

/** The domain said no. An answer for the caller; nothing is stored. */
export class Rejection extends Error {
  constructor(code, message, details) {
    if (typeof code !== 'string' || code === '' || byteLength(code) > 255) {
      throw new TypeError('the code of a rejection is a string of 1 to 255 bytes');
    }
    super(bounded(message));
    this.name = 'Rejection';
    this.code = code;
    this.details = details;
  }
}

/** Returns a rejection. Return it from `decide`, or throw it. */
export function rejection(code, message, details) {
  return new Rejection(code, message, details);
}

/** A definition that the host would refuse at upload. */
export class DefinitionError extends Error {
  constructor(text) {
    super(text);
    this.name = 'DefinitionError';
  }
}

/**
 * A value that does not have the expected form. The path to it is added on the way out, step by
 * step, so that a value that fits costs no text.
 */
export class Unfit extends Error {
  #path = '';
  #text;

  /** `text` follows the path, as in `: expected a string`. */
  constructor(text) {
    super();
    this.name = 'Unfit';
    this.#text = text;
  }

  get message() {
    return this.#path + this.#text;
  }

  /** Adds a member or an element in front of the path. */
  under(step) {
    this.#path = (typeof step === 'number' ? `[${step}]` : memberStep(step)) + this.#path;
    return this;
  }

  /** Adds the name of the whole value in front of the path. */
  within(root) {
    this.#path = root + this.#path;
    return this;
  }
}

/** Adds a step to the path of an error on its way out. */
export function under(error, step) {
  return error instanceof Unfit ? error.under(step) : error;
}

/** Names the whole value of an error on its way out. */
export function within(error, root) {
  return error instanceof Unfit ? error.within(root) : error;
}

function memberStep(name) {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${quoted(name)}]`;
}

/** An error with the case of the contract that it becomes. */
export class Fault extends Error {
  constructor(tag, text) {
    super(bounded(text));
    this.name = 'Fault';
    this.tag = tag;
  }
}

/** Returns the fault of the guest itself, with the author's own stack. */
export function internal(where, error) {
  if (error instanceof Fault) return error;
  if (error instanceof Unfit) return new Fault('internal', `${where}: ${error.message}`);
  return new Fault('internal', `${where}: ${described(error)}`);
}

/** Returns name, message and stack of whatever was thrown, in at most 4 KiB. */
export function described(error) {
  if (!(error instanceof Error)) return `thrown: ${printed(error)}`;
  const title = `${error.name}: ${bounded(error.message, TEXT_BYTES_MAX / 2)}`;
  return bounded([title, ...frames(error)].join('\n'));
}

function frames(error) {
  const lines = String(error.stack ?? '').split('\n');
  const frames = lines.filter((line) => /^\s+at /.test(line)).map((line) => located(line.trim()));
  // Frames of the SDK say nothing about the author's code.
  return frames.filter((line) => !line.includes('@quipu/guest/')).map((line) => `    ${line}`);
}

function printed(value) {
  try {
    return bounded(typeof value === 'string' ? value : JSON.stringify(value) ?? String(value), 1024);
  } catch {
    return typeof value;
  }
}
