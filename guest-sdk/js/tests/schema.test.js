import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checkAs } from '../src/message.js';
import { compile, s } from '../src/schema.js';

const check = (schema, value, isStrict = false) => checkAs('data', compile(schema, 'the schema'), value, isStrict);

/** Expects that the value does not fit, with that text. */
function refuses(schema, value, text) {
  assert.throws(() => check(schema, value), { name: 'Unfit', message: text });
}

test('each keyword is obeyed and violated', () => {
  const cases = [
    [s.string(), 'a', 1, 'data: expected a string, found 1'],
    [s.integer(), 1, 1.5, 'data: expected an integer, found 1.5'],
    [s.number(), 1.5, '1', 'data: expected a number, found "1"'],
    [s.boolean(), false, null, 'data: expected a boolean, found null'],
    [s.literal('a'), 'a', 'b', 'data: expected "a", found "b"'],
    [s.oneOf('a', 1), 1, 'b', 'data: expected "a" or 1, found "b"'],
    [s.integer({ minimum: 0 }), 0, -1, 'data: expected at least 0, found -1'],
    [s.integer({ maximum: 3 }), 3, 4, 'data: expected at most 3, found 4'],
    [s.number({ exclusiveMinimum: 0 }), 0.1, 0, 'data: expected more than 0, found 0'],
    [s.number({ exclusiveMaximum: 1 }), 0.9, 1, 'data: expected less than 1, found 1'],
    [s.string({ minLength: 1 }), 'a', '', 'data: expected at least 1 characters, found 0 characters'],
    [s.string({ maxLength: 2 }), '😀😀', 'abc', 'data: expected at most 2 characters, found 3 characters'],
    [s.string({ pattern: '^a+$' }), 'aa', 'b', 'data: expected a text like "^a+$", found "b"'],
    [s.array(s.integer()), [1], ['a'], 'data[0]: expected an integer, found "a"'],
    [s.array(s.any(), { minItems: 1 }), [1], [], 'data: expected at least 1 elements, found 0 elements'],
    [s.array(s.any(), { maxItems: 1 }), [1], [1, 2], 'data: expected at most 1 elements, found 2 elements'],
    [s.record(s.integer()), { a: 1 }, { a: 'b' }, 'data.a: expected an integer, found "b"'],
    [s.record(s.any(), { maxProperties: 1 }), { a: 1 }, { a: 1, b: 1 }, 'data: expected at most 1 members, found 2 members'],
    [s.nullable(s.string()), null, 1, 'data: no form fits: expected a string, found 1; expected null, found 1'],
    [s.object({ a: s.string() }), { a: '' }, {}, 'data.a is missing'],
    [s.object({ a: s.optional(s.string()) }), {}, { a: null }, 'data.a: expected a string, found null'],
    [s.object({}), {}, [], 'data: expected an object, found an array'],
    [{ oneOf: [{ type: 'number' }, { minimum: 5 }] }, 4, 6, 'data: fits 2 forms of oneOf, expected 1'],
    [{ type: ['string', 'null'] }, null, 1, 'data: expected a string or null, found 1'],
    [{ const: { a: 1 } }, { a: 1 }, { a: 2 }, 'data: expected {"a":1}, found an object'],
  ];
  for (const [schema, fitting, other, text] of cases) {
    assert.deepEqual(check(schema, fitting), fitting);
    refuses(schema, other, text);
  }
});

test('members without a schema are dropped on reading and refused on writing', () => {
  const schema = s.object({ a: s.object({ b: s.integer() }) });
  const value = { a: { b: 1, c: 2 }, d: 3 };
  assert.deepEqual(check(schema, value), { a: { b: 1 } });
  assert.deepEqual(value, { a: { b: 1, c: 2 }, d: 3 });
  assert.throws(() => check(schema, value, true), { message: 'data.a.c is not a member that the schema names' });
  assert.deepEqual(check({ ...schema, additionalProperties: true }, { a: { b: 1 }, d: 3 }), { a: { b: 1 }, d: 3 });
  refuses({ ...schema, additionalProperties: false }, { a: { b: 1 }, d: 3 }, 'data.d is not a member that the schema names');
});

test('a member called __proto__ stays a member', () => {
  const value = JSON.parse('{"__proto__":{"b":1,"c":2}}');
  const read = check(s.record(s.object({ b: s.integer() })), value);
  assert.equal(Object.getPrototypeOf(read), Object.prototype);
  assert.equal(JSON.stringify(read), '{"__proto__":{"b":1}}');
  refuses(s.object({ toString: s.string() }), {}, 'data.toString is missing');
});

test('a schema that is not understood is refused when it is declared', () => {
  const cases = [
    [{ $ref: '#/a' }, /the keyword \$ref is not supported; write the check in `parse`/],
    [{ allOf: [] }, /the keyword allOf is not supported/],
    [{ type: 'text' }, /no type "text"/],
    [{ pattern: '(' }, /pattern "\("/],
    [{ minimum: '1' }, /minimum is a number/],
    [null, /a schema is an object/],
  ];
  for (const [schema, message] of cases) {
    assert.throws(() => compile(schema, 'the schema'), { name: 'DefinitionError', message });
  }
});
