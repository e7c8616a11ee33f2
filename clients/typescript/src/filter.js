// The filters of the log, as options and as parameters of a query.

import { shown } from './check.js';
import { snakeCased } from './names.js';

export const FILTER_OPTIONS = ['category', 'type', 'tag', 'prefix', 'notCategory', 'notType', 'notTag', 'notPrefix'];

/** The parameters for the filters among the options. An empty list is refused: it would mean "all". */
export function filterOf(options) {
  const given = FILTER_OPTIONS.map((name) => [name, options[name]]).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    const texts = Array.isArray(value) && name !== 'prefix' ? value : [value];
    if (texts.length === 0) throw new TypeError(`${name}: the list is empty; leave it out to read everything`);
    const wrong = texts.find((text) => typeof text !== 'string');
    if (wrong !== undefined) throw new TypeError(`${name}: expected a text${name === 'prefix' ? '' : ' or a list of texts'}, found ${shown(wrong)}`);
  }
  return snakeCased(Object.fromEntries(given));
}

const OPERATORS = { eq: '=', lt: '<', lte: '<=', gt: '>', gte: '>=' };

/** The conditions of a query for documents: `{ owner: 'ann', balance: { gte: 100 } }`. */
export function conditionsOf(where = {}) {
  if (typeof where !== 'object' || where === null || Array.isArray(where)) throw new TypeError(`where: expected an object, found ${shown(where)}`);
  return Object.entries(where).flatMap(([index, value]) => {
    if (/[<>=]/.test(index)) throw new TypeError(`where: index ${shown(index)} has a comparison in its name; write { index: { gte: value } }`);
    if (typeof value !== 'object' || value === null) return [`${index}=${operand(index, value)}`];
    return Object.entries(value).map(([name, each]) => {
      if (!Object.hasOwn(OPERATORS, name)) throw new TypeError(`where.${index}: unknown comparison ${shown(name)}; expected ${Object.keys(OPERATORS).join(', ')}`);
      return `${index}${OPERATORS[name]}${operand(index, each)}`;
    });
  });
}

function operand(index, value) {
  const isInteger = typeof value === 'number' ? Number.isSafeInteger(value) : typeof value === 'bigint';
  if (typeof value !== 'string' && typeof value !== 'boolean' && !isInteger) {
    throw new TypeError(`where.${index}: expected a text, a boolean or an integer, found ${shown(value)}`);
  }
  return String(value);
}
