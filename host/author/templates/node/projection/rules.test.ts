import { test } from 'node:test';
import { givenEvents } from '@quipu/guest/testing';
import { totals } from '../src/index{{extension}}';

test('a document has the total', () => {
  givenEvents(totals, [
    { stream: '{{category}}-1', type: 'opened', data: { title: 'first' } },
    { stream: '{{category}}-1', type: 'added', data: { amount: 5 } },
    { stream: '{{category}}-1', type: 'added', data: { amount: 7 } },
  ]).then({ 1: { title: 'first', total: 12 } });
});
