import { test } from 'node:test';
import { given } from '@quipu/guest/testing';
import guest from '../src/index{{extension}}';

const opened = { type: 'opened', data: { title: 'first' } }{{typed}} as const{{/typed}};

test('an amount is added', () => {
  given(guest, [opened])
    .when({ type: 'add', data: { amount: 5 } })
    .then({ type: 'added', data: { amount: 5 } });
});

test('the total has a limit', () => {
  given(guest, [opened, { type: 'added', data: { amount: 999 } }])
    .when({ type: 'add', data: { amount: 2 } })
    .rejected('limit-exceeded');
});
