import { test } from 'node:test';
import { lifted } from '@quipu/guest/testing';
import { steps } from '../src/index{{extension}}';

test('amounts become cents', () => {
  lifted(steps, 'added', 1, { amount: 5 }).to({ type: 'added', version: 2, data: { cents: 500 } });
});
