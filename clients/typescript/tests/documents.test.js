import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Quipu } from '../src/index.js';
import { all } from './support/all.js';
import { buildBalances, startHost } from './support/host.js';

const SLOW = '[guests]\ncompile_time_max_ms = 600000\n[http]\nrequest_time_max_ms = 600000\n';
const deposit = (amount) => ({ type: 'deposit', data: { amount } });

test('documents are read by key and by index, as fresh as asked for', async (t) => {
  // An unoptimized host needs long to compile a component with a JavaScript engine.
  const host = await startHost(t, { config: SLOW });
  await host.activate(buildBalances(t));
  const quipu = new Quipu({ url: host.url });
  for (const [key, amount] of [['d1', 10], ['d2', 30], ['d3', 20]]) {
    await quipu.execute(`account-${key}`, { type: 'open', data: { owner: `o&=${key}` } });
    await quipu.execute(`account-${key}`, deposit(amount));
  }
  const { position } = await quipu.execute('account-d3', deposit(5));
  const found = await quipu.document('balances', 'd3', { after: position, timeout: 20_000 });
  assert.deepEqual([found.key, found.document, found.position >= position], ['d3', { owner: 'o&=d3', balance: 25 }, true]);
  assert.equal(await quipu.document('balances', 'nobody'), null);
  await assert.rejects(quipu.document('other', '1'), { code: 'projection-not-found' });
  await assert.rejects(quipu.document('balances', 'd3', { after: position + 1000, timeout: 0 }), ({ code, problem }) => code === 'not-fresh' && problem.reason === 'lagging');

  const keys = async (options) => (await all(quipu.documents('balances', { pageSize: 1, ...options }))).map(({ key }) => key);
  assert.deepEqual(await keys({ where: { balance: { gte: 10 } } }), ['d1', 'd3', 'd2']);
  assert.deepEqual(await keys({ where: { balance: { gt: 10, lt: 30n } } }), ['d3']);
  assert.deepEqual(await keys({ where: { owner: 'o&=d2' } }), ['d2']);
  assert.deepEqual(await keys({ where: { balance: { gte: 10 } }, order: '-balance', limit: 2 }), ['d2', 'd3']);
  await assert.rejects(keys({ where: { color: 'red' } }), { code: 'bad-request' });
});
