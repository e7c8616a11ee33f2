// The package against the contract: its copy of the WIT, the exports, and the records that cross
// the border.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { component } from '../src/component.js';
import { decider, lift, message, projection, upcaster } from '../src/index.js';
import { command, event, recorded } from './support/crossing.js';
import { accountDefinition } from './support/guests.js';

const own = new URL('../wit/domain.wit', import.meta.url);
const shared = new URL('../../../wit/domain.wit', import.meta.url);
const text = readFileSync(own, 'utf8').replace(/\/\/.*$/gm, '');

test('the WIT of the package is that of the repository', { skip: !existsSync(shared) && 'not in the repository' }, () => {
  assert.equal(readFileSync(own, 'utf8'), readFileSync(shared, 'utf8'), 'copy wit/domain.wit into guest-sdk/js/wit');
});

const camel = (name) => name.replace('%', '').replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const body = (kind, name) => {
  const found = new RegExp(`\\b${kind} ${name} \\{([^}]*)\\}`).exec(text);
  assert.ok(found, `${kind} ${name} is not in the WIT`);
  return found[1];
};
const fields = (name) => [...body('record', name).matchAll(/(%?[a-z-]+):/g)].map(([, field]) => camel(field)).sort();
const keys = (value) => Object.keys(value).sort();

/** Functions of an interface, without those of its resource. */
function functions(name) {
  const start = text.indexOf(`interface ${name} {`);
  const end = text.indexOf('\n}', start);
  const inner = text.slice(start, end).replace(/resource \w+ \{[^]*?\n {2}\}/, '');
  return [...inner.matchAll(/([a-z-]+): func/g)].map(([, each]) => camel(each)).sort();
}

function guest() {
  const steps = upcaster({ category: 'account', steps: [lift('deposited', 1).to(2)] });
  const documents = projection({ name: 'documents', sources: { account: { closed: message() } }, keys: (e) => e.key, apply: () => ({}) });
  return component(decider(accountDefinition({ upcasters: steps, projections: documents })));
}

test('every function of the contract is exported, and no other', () => {
  const exports = guest();
  assert.deepEqual(keys(exports), ['decider', 'manifest', 'projection', 'upcaster']);
  for (const name of ['manifest', 'upcaster', 'projection']) assert.deepEqual(keys(exports[name]), functions(name));
  assert.deepEqual(keys(exports.decider), ['Aggregate', ...functions('decider')]);
  const { Aggregate } = exports.decider;
  const methods = Object.getOwnPropertyNames(Aggregate.prototype).filter((name) => name !== 'constructor');
  const resource = /resource aggregate \{([^]*?)\n {2}\}/.exec(text)[1];
  const names = [...resource.matchAll(/([a-z-]+): (static )?func/g)];
  assert.deepEqual(methods.sort(), names.filter((each) => !each[2]).map(([, name]) => name).sort());
  for (const [, name] of names.filter((each) => each[2])) assert.equal(typeof Aggregate[name], 'function');
});

test('every record that a guest returns has the fields of the contract', () => {
  const exports = guest();
  const info = exports.manifest.describe();
  assert.deepEqual(keys(info), fields('info'));
  assert.deepEqual(keys(info.commands[0]), fields('message-type'));
  const aggregate = exports.decider.Aggregate.open('1', null);
  assert.deepEqual(keys(aggregate.decide(command('deposit', { cents: 1 }))[0]), fields('new-event'));
  assert.deepEqual(keys(aggregate.snapshot()), fields('snapshot'));
  try {
    aggregate.decide(command('withdraw', { cents: 1 }));
    assert.fail('accepted');
  } catch (error) {
    assert.ok(body('variant', 'decide-error').includes(`${error.tag}(`));
    assert.deepEqual(keys(error.val), fields('rejection'));
  }
  assert.deepEqual(keys(exports.upcaster.steps()[0]), fields('step'));
  assert.deepEqual(keys(exports.upcaster.upcast(0, [event('deposited')])[0][0]), fields('upcasted'));
  const [definition] = exports.projection.define();
  assert.deepEqual(keys(definition), fields('definition'));
  assert.deepEqual(keys(definition.sources[0]), fields('source'));
});

test('every record that the tests pass to a guest has the fields of the contract', () => {
  assert.deepEqual(keys(command('deposit')), fields('command'));
  assert.deepEqual(keys(event('closed')), fields('event'));
  assert.deepEqual(keys(recorded('account-1', 'closed')), fields('recorded'));
  assert.deepEqual(fields('work'), ['document', 'events', 'key']);
});

test('every case of an error is one that the SDK knows', () => {
  const cases = (name) => [...body('variant', name).matchAll(/([a-z-]+)\(/g)].map(([, each]) => each);
  assert.deepEqual(cases('decide-error'), ['rejected', 'bad-command', 'internal']);
  assert.deepEqual(cases('fold-error'), ['unknown-event', 'bad-event', 'internal']);
  assert.deepEqual(cases('body'), ['json', 'binary']);
});
