// Forms of messages: a subset of JSON Schema, and the builder `s` that writes it.

import { DefinitionError, under, Unfit } from './errors.js';
import { checkContainer, kind } from './json.js';
import { quoted } from './text.js';

const OPTIONAL = Symbol('optional');

/** Builds JSON Schemas whose TypeScript types are known. */
export const s = Object.freeze({
  string: (bounds = {}) => ({ type: 'string', ...bounds }),
  integer: (bounds = {}) => ({ type: 'integer', ...bounds }),
  number: (bounds = {}) => ({ type: 'number', ...bounds }),
  boolean: () => ({ type: 'boolean' }),
  any: () => ({}),
  literal: (value) => ({ const: value }),
  oneOf: (...values) => ({ enum: values }),
  array: (items, bounds = {}) => ({ type: 'array', items, ...bounds }),
  record: (values, bounds = {}) => ({ type: 'object', additionalProperties: values, ...bounds }),
  nullable: (schema) => ({ anyOf: [schema, { type: 'null' }] }),
  union: (...schemas) => ({ anyOf: schemas }),
  optional: (schema) => ({ ...schema, [OPTIONAL]: true }),
  object,
});

function object(properties, bounds = {}) {
  const required = Object.keys(properties).filter((name) => !properties[name][OPTIONAL]);
  return { type: 'object', properties: { ...properties }, required, ...bounds };
}

/** Keywords that say nothing about which values fit. */
const COMMENTS = new Set([
  '$schema', '$id', '$comment', 'title', 'description', 'default', 'examples', 'deprecated',
  'readOnly', 'writeOnly', 'format',
]);

const TYPES = {
  string: (value) => typeof value === 'string' && value.isWellFormed(),
  integer: (value) => Number.isSafeInteger(value),
  number: (value) => Number.isFinite(value) && (Number.isSafeInteger(value) || !Number.isInteger(value)),
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
  array: (value) => Array.isArray(value),
  object: isObject,
};

/** Each keyword that is checked: from its argument to a check of values of that kind. */
const BOUNDS = {
  minimum: ['number', (value, bound) => value >= bound, (bound) => `at least ${bound}`],
  maximum: ['number', (value, bound) => value <= bound, (bound) => `at most ${bound}`],
  exclusiveMinimum: ['number', (value, bound) => value > bound, (bound) => `more than ${bound}`],
  exclusiveMaximum: ['number', (value, bound) => value < bound, (bound) => `less than ${bound}`],
  minLength: ['string', (value, bound) => length(value) >= bound, (n) => `at least ${n} characters`],
  maxLength: ['string', (value, bound) => length(value) <= bound, (n) => `at most ${n} characters`],
  minItems: ['array', (value, bound) => value.length >= bound, (n) => `at least ${n} elements`],
  maxItems: ['array', (value, bound) => value.length <= bound, (n) => `at most ${n} elements`],
  minProperties: ['object', (value, n) => members(value) >= n, (n) => `at least ${n} members`],
  maxProperties: ['object', (value, n) => members(value) <= n, (n) => `at most ${n} members`],
};

const OTHERS = new Set([
  'type', 'const', 'enum', 'pattern', 'anyOf', 'oneOf', 'properties', 'required',
  'additionalProperties', 'items',
]);

/**
 * Compiles a schema to a function (value, isStrict) that returns the value without members that the
 * schema does not name, or throws `Unfit`. When strict, such members are an error. Its member
 * `isTyped` says that a value that fits strictly is plain JSON data, `hasNumbers` that a value that
 * fits may have a number in it.
 */
export function compile(schema, what) {
  const check = compiled(schema, what);
  return Object.assign(check, { isTyped: isTyped(schema), hasNumbers: hasNumbers(schema) });
}

/** Whether the schema says of each value in it of which type it is. */
function isTyped(schema) {
  if (!isObject(schema)) return false;
  const { type, properties = {}, additionalProperties: more, items } = schema;
  if ('const' in schema) return !isContainer(schema.const);
  if (schema.enum) return schema.enum.every((value) => !isContainer(value));
  if (schema.anyOf && type === undefined) return schema.anyOf.every(isTyped);
  if (type === 'array') return isTyped(items);
  if (type !== 'object') return ['string', 'integer', 'number', 'boolean', 'null'].includes(type);
  return more !== true && (!isObject(more) || isTyped(more)) && Object.values(properties).every(isTyped);
}

function hasNumbers(schema) {
  if (!isTyped(schema)) return true;
  const { type, properties = {}, additionalProperties: more, items } = schema;
  if ('const' in schema) return typeof schema.const === 'number';
  if (schema.enum) return schema.enum.some((value) => typeof value === 'number');
  if (type === 'array') return hasNumbers(items);
  if (schema.anyOf) return schema.anyOf.some(hasNumbers);
  if (type !== 'object') return type === 'integer' || type === 'number';
  return (isObject(more) && hasNumbers(more)) || Object.values(properties).some(hasNumbers);
}

function compiled(schema, what) {
  if (schema === true) return (value) => value;
  if (!isObject(schema)) throw new DefinitionError(`${what}: a schema is an object`);
  const checks = [];
  const add = (check) => check && checks.push(check);
  refuseUnknown(schema, what);
  if (schema.type !== undefined) add(typeCheck(schema.type, what));
  if ('const' in schema) add(enumCheck([schema.const]));
  if (schema.enum !== undefined) add(enumCheck(schema.enum));
  for (const name of Object.keys(BOUNDS)) add(boundCheck(schema, name, what));
  if (schema.pattern !== undefined) add(patternCheck(schema.pattern, what));
  if (schema.items !== undefined) add(itemsCheck(schema.items, what));
  if (schema.properties || schema.required || schema.additionalProperties !== undefined) {
    add(objectCheck(schema, what));
  }
  if (schema.anyOf) add(anyCheck(schema.anyOf, what));
  if (schema.oneOf) add(oneCheck(schema.oneOf, what));
  if (checks.length === 1) return checks[0];
  return (value, isStrict) => {
    let read = value;
    for (const check of checks) read = check(read, isStrict);
    return read;
  };
}

function refuseUnknown(schema, what) {
  for (const keyword of Object.keys(schema)) {
    if (COMMENTS.has(keyword) || OTHERS.has(keyword) || keyword in BOUNDS) continue;
    const remedy = 'write the check in `parse`';
    throw new DefinitionError(`${what}: the keyword ${keyword} is not supported; ${remedy}`);
  }
}

function typeCheck(type, what) {
  const types = [type].flat();
  for (const name of types) {
    if (!Object.hasOwn(TYPES, name)) throw new DefinitionError(`${what}: no type ${quoted(name)}`);
  }
  const tests = types.map((name) => TYPES[name]);
  const expected = types.map(article).join(' or ');
  if (tests.length === 1) {
    const [test] = tests;
    return (value) => {
      if (test(value)) return value;
      throw new Unfit(`: expected ${expected}, found ${found(value)}`);
    };
  }
  return (value) => {
    for (const test of tests) if (test(value)) return value;
    throw new Unfit(`: expected ${expected}, found ${found(value)}`);
  };
}

function enumCheck(values) {
  const texts = values.map((value) => JSON.stringify(value));
  const expected = texts.length > 8 ? `one of ${texts.length} values` : texts.join(' or ');
  const plain = new Set(values.filter((value) => !isContainer(value)));
  const others = new Set(texts.filter((_, index) => isContainer(values[index])));
  return (value) => {
    if (plain.has(value)) return value;
    if (isContainer(value) && others.has(JSON.stringify(value))) return value;
    throw new Unfit(`: expected ${expected}, found ${found(value)}`);
  };
}

function boundCheck(schema, name, what) {
  if (schema[name] === undefined) return null;
  const bound = schema[name];
  if (typeof bound !== 'number') throw new DefinitionError(`${what}: ${name} is a number`);
  const [type, test, text] = BOUNDS[name];
  const expected = text(bound);
  const applies = TYPES[type];
  return (value) => {
    if (!applies(value) || test(value, bound)) return value;
    throw new Unfit(`: expected ${expected}, found ${measured(value)}`);
  };
}

function patternCheck(pattern, what) {
  let expression;
  try {
    expression = new RegExp(pattern, 'u');
  } catch (error) {
    throw new DefinitionError(`${what}: pattern ${quoted(pattern)}: ${error.message}`);
  }
  return (value) => {
    if (typeof value !== 'string' || expression.test(value)) return value;
    throw new Unfit(`: expected a text like ${quoted(pattern)}, found ${quoted(value)}`);
  };
}

function itemsCheck(items, what) {
  const item = compile(items, what);
  return (value, isStrict) => {
    if (!Array.isArray(value)) return value;
    let read = value;
    let index = 0;
    try {
      for (; index < value.length; index += 1) {
        const element = item(value[index], isStrict);
        if (element === value[index]) continue;
        if (read === value) read = value.slice();
        read[index] = element;
      }
    } catch (error) {
      throw under(error, index);
    }
    return read;
  };
}

function objectCheck(schema, what) {
  const { properties = {}, required = [], additionalProperties: more } = schema;
  const known = new Map(
    Object.keys(properties).map((name) => [name, compile(properties[name], `${what}.${name}`)]),
  );
  const others = isObject(more) ? compile(more, what) : null;
  const rule = { keepsOthers: more === true, refusesOthers: more === false, others };
  return (value, isStrict) => {
    if (!isObject(value)) return value;
    if (isStrict) checkContainer(value, 0);
    for (const name of required) {
      if (value[name] === undefined || !Object.hasOwn(value, name)) throw new Unfit(' is missing').under(name);
    }
    return readMembers(value, isStrict, known, rule);
  };
}

/** Copies the object only if a member changes or is left out. */
function readMembers(value, isStrict, known, rule) {
  let copy = null;
  let name;
  try {
    for (name of Object.keys(value)) {
      const found = value[name];
      if (found === undefined) continue;
      const check = known.get(name) ?? rule.others;
      if (check === null && rule.keepsOthers) continue;
      if (check === null && (isStrict || rule.refusesOthers)) {
        throw new Unfit(' is not a member that the schema names');
      }
      const read = check === null ? undefined : check(found, isStrict);
      if (read === found) continue;
      copy ??= { ...value };
      if (read === undefined) delete copy[name];
      else define(copy, name, read);
    }
  } catch (error) {
    throw under(error, name);
  }
  return copy ?? value;
}

/** Sets a member that may be called `__proto__`. */
function define(object, name, value) {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
}

function anyCheck(schemas, what) {
  const checks = schemas.map((schema, index) => compile(schema, `${what}.anyOf[${index}]`));
  return (value, isStrict) => {
    const results = attempts(checks, value, isStrict);
    const fitting = results.find((result) => !('error' in result));
    if (fitting) return fitting.read;
    throw results.length === 1 ? results[0].error : noneFits(results);
  };
}

function oneCheck(schemas, what) {
  const checks = schemas.map((schema, index) => compile(schema, `${what}.oneOf[${index}]`));
  return (value, isStrict) => {
    const results = attempts(checks, value, isStrict);
    const fitting = results.filter((result) => !('error' in result));
    if (fitting.length === 1) return fitting[0].read;
    if (fitting.length === 0) throw noneFits(results);
    throw new Unfit(`: fits ${fitting.length} forms of oneOf, expected 1`);
  };
}

function attempts(checks, value, isStrict) {
  return checks.map((check) => {
    try {
      return { read: check(value, isStrict) };
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      return { error };
    }
  });
}

function noneFits(results) {
  const reasons = results.slice(0, 4).map(({ error }) => error.message.replace(/^: /, ''));
  return new Unfit(`: no form fits: ${reasons.join('; ')}`);
}

function isObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function isContainer(value) {
  return value !== null && typeof value === 'object';
}

/** The number of characters, as JSON Schema counts them. */
function length(text) {
  let characters = 0;
  for (const _ of text) characters += 1;
  return characters;
}

function members(value) {
  return Object.keys(value).length;
}

function measured(value) {
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return `${length(value)} characters`;
  if (Array.isArray(value)) return `${value.length} elements`;
  return `${members(value)} members`;
}

function found(value) {
  if (typeof value === 'string') return value.isWellFormed() ? quoted(value) : 'a string with a lone surrogate';
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return `${value}, which is beyond 2^53 - 1; use a string`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return kind(value);
}

function article(type) {
  return { null: 'null', integer: 'an integer', object: 'an object', array: 'an array' }[type] ?? `a ${type}`;
}
