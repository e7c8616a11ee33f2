// The snapshot has the form of `example-guests/loan`, so that snapshots stay usable when one guest
// replaces the other.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { given } from '@quipu/guest/testing';

import loan from '../src/index.ts';

test('a snapshot has the members of the other guest in their order', () => {
  const state = given(loan, [
    { type: 'application-submitted', data: { amount: 7 } },
    { type: 'work-scheduled', data: { item: 'b' } },
    { type: 'work-started', data: { item: 'b' } },
    { type: 'work-scheduled', data: { item: 'a' } },
    { type: 'offer-selected' },
  ]).state();
  assert.equal(
    JSON.stringify(state),
    '{"status":"submitted","amount":7,"approved":false,"registered":false,"activated":false,' +
      '"offers":{"selected":1,"created":0,"sent":0,"returned":0,"accepted":0,"cancelled":0,"declined":0},' +
      '"work":{"a":0,"b":1}}',
  );
});
