import { deepEqual } from 'node:assert/strict';
import { test } from 'node:test';
import { projected } from '@quipu/guest/testing';
import { totals } from '../src/index{{extension}}';

test('a document has the total', () => {
  const documents = projected(totals)
    .event('{{category}}-1', { type: 'opened', data: { title: 'first' } })
    .event('{{category}}-1', { type: 'added', data: { amount: 5 } })
    .event('{{category}}-1', { type: 'added', data: { amount: 7 } });
  deepEqual(documents.document('1'), { title: 'first', total: 12 });
});
