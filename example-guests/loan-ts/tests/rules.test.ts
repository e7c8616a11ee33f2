// The rules of an application, as `example-guests/loan/tests/rules.rs` has them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checkHistories, given } from '@quipu/guest/testing';

import { ITEM_BYTES_MAX } from '../src/decide.ts';
import loan from '../src/index.ts';
import { commands, type NewEvent } from '../src/messages.ts';

const STEPS: NewEvent[] = [
  { type: 'application-submitted', data: { amount: 5000 } },
  { type: 'application-partly-submitted' },
  { type: 'application-preaccepted' },
  { type: 'application-accepted' },
  { type: 'application-finalized' },
];
const [SUBMITTED, PARTLY_SUBMITTED, ACCEPTED, FINALIZED] = [1, 2, 4, 5] as const;
const ITEM = 'call-about-offer';

const selected: NewEvent = { type: 'offer-selected' };
const created: NewEvent = { type: 'offer-created' };
const sent: NewEvent = { type: 'offer-sent' };
const returned: NewEvent = { type: 'offer-returned' };

/** An application after this many steps and some more events. */
function after(steps: number, ...more: NewEvent[]) {
  return given(loan, [...STEPS.slice(0, steps), ...more]);
}

test('submit comes first and once', () => {
  const submit = { type: 'submit', data: { amount: 0 } } as const;
  after(0).when(submit).then({ type: 'application-submitted', data: { amount: 0 } });
  after(SUBMITTED).when(submit).rejected('already-submitted');
  for (const type of ['partly-submit', 'cancel', 'select-offer', 'accept-offer'] as const) {
    after(0).when({ type }).rejected('not-submitted');
  }
  after(0).when({ type: 'schedule-work', data: { item: ITEM } }).rejected('not-submitted');
});

test('each step follows on the one before', () => {
  (['partly-submit', 'preaccept', 'accept', 'finalize'] as const).forEach((type, index) => {
    for (let steps = 1; steps <= FINALIZED; steps += 1) {
      const outcome = after(steps).when({ type });
      if (steps === index + 1) outcome.then(STEPS[steps]!);
      else outcome.rejected('wrong-status');
    }
  });
});

test('a misplaced step says where the application is', () => {
  const rejection = after(SUBMITTED).when({ type: 'accept' }).rejected('wrong-status', { status: 'submitted' });
  assert.equal(rejection.message, 'application is submitted, needed preaccepted');
});

test('approve, register and activate come once in any order after finalize', () => {
  const all = [
    ['approve', { type: 'application-approved', data: { amount: 5000 } }],
    ['register', { type: 'application-registered' }],
    ['activate', { type: 'application-activated' }],
  ] as const;
  for (const [type, event] of all) {
    after(ACCEPTED).when({ type }).rejected('wrong-status');
    after(FINALIZED).when({ type }).then(event);
    for (const [, first] of all) {
      const outcome = after(FINALIZED, first).when({ type });
      if (first === event) outcome.rejected('already-done');
      else outcome.then(event);
    }
  }
});

test('decline and cancel are possible from partly submitted until an end', () => {
  const all = [
    ['decline', { type: 'application-declined' }],
    ['cancel', { type: 'application-cancelled' }],
  ] as const;
  for (const [type, event] of all) {
    after(SUBMITTED).when({ type }).rejected('wrong-status');
    for (let steps: number = PARTLY_SUBMITTED; steps <= FINALIZED; steps += 1) after(steps).when({ type }).then(event);
    for (const end of ['application-declined', 'application-cancelled', 'application-registered'] as const) {
      after(FINALIZED, { type: end }).when({ type }).rejected('ended');
    }
  }
});

test('nothing leads on from declined or cancelled', () => {
  for (const end of ['application-declined', 'application-cancelled'] as const) {
    for (const type of ['finalize', 'approve', 'select-offer'] as const) {
      after(ACCEPTED, { type: end }).when({ type }).rejected('ended');
    }
  }
});

test('selecting an offer needs accept and the rest finalize', () => {
  after(ACCEPTED - 1).when({ type: 'select-offer' }).rejected('wrong-status');
  after(ACCEPTED).when({ type: 'select-offer' }).then(selected);
  after(FINALIZED).when({ type: 'select-offer' }).then(selected);
  after(ACCEPTED, selected).when({ type: 'create-offer' }).rejected('wrong-status');
  after(FINALIZED, selected).when({ type: 'create-offer' }).then(created);
  after(ACCEPTED, selected, created).when({ type: 'send-offer' }).rejected('wrong-status');
  after(FINALIZED, selected, created).when({ type: 'send-offer' }).then(sent);
});

test('an offer passes its stages in order', () => {
  after(FINALIZED).when({ type: 'create-offer' }).rejected('no-offer-selected');
  after(FINALIZED, selected).when({ type: 'send-offer' }).rejected('no-offer-created');
  const out = [selected, created, sent];
  after(FINALIZED, ...out).when({ type: 'create-offer' }).rejected('no-offer-selected');
  after(FINALIZED, ...out).when({ type: 'send-offer' }).rejected('no-offer-created');
  after(FINALIZED, selected).when({ type: 'return-offer' }).rejected('no-offer-sent');
  after(FINALIZED, ...out).when({ type: 'return-offer' }).then(returned);
  for (const name of ['accept', 'cancel', 'decline'] as const) {
    const type = `${name}-offer` as const;
    const event = { type: `offer-${name === 'cancel' ? 'cancelled' : name === 'accept' ? 'accepted' : 'declined'}` } as const;
    const ended: NewEvent[] = [...out, returned, { type: 'application-cancelled' }];
    after(FINALIZED, selected).when({ type }).rejected('no-offer-sent');
    after(FINALIZED, ...out).when({ type }).then(event);
    after(FINALIZED, ...out, returned).when({ type }).then(event);
    after(FINALIZED, ...ended).when({ type }).then(event);
    after(FINALIZED, ...ended, event).when({ type }).rejected('no-offer-sent');
  }
});

test('of several offers a returned one is settled first', () => {
  const offer = [selected, created, sent];
  const application = after(FINALIZED, ...offer, ...offer, returned, { type: 'offer-accepted' });
  const { offers } = application.view();
  assert.deepEqual([offers.sent, offers.returned, offers.accepted], [1, 0, 1]);
  application.when({ type: 'return-offer' }).then(returned);
});

test('work is started only when scheduled and then any number of times', () => {
  const start = { type: 'start-work', data: { item: ITEM } } as const;
  const scheduled: NewEvent = { type: 'work-scheduled', data: { item: ITEM } };
  const started: NewEvent = { type: 'work-started', data: { item: ITEM } };
  after(SUBMITTED).when(start).rejected('work-not-scheduled');
  after(SUBMITTED, { type: 'work-scheduled', data: { item: 'handle-lead' } }).when(start).rejected('work-not-scheduled');
  after(SUBMITTED, scheduled).when(start).then(started);
  after(SUBMITTED, scheduled, started).when(start).then(started);
});

test('an item may be called as a member of every object', () => {
  for (const item of ['constructor', '__proto__', 'toString']) {
    after(SUBMITTED).when({ type: 'start-work', data: { item } }).rejected('work-not-scheduled');
    const events: NewEvent[] = [{ type: 'work-scheduled', data: { item } }, { type: 'work-started', data: { item } }];
    after(SUBMITTED, ...events).when({ type: 'complete-work', data: { item } }).then({ type: 'work-completed', data: { item } });
  }
});

test('work is completed as often as started', () => {
  const complete = { type: 'complete-work', data: { item: ITEM } } as const;
  const scheduled: NewEvent = { type: 'work-scheduled', data: { item: ITEM } };
  const started: NewEvent = { type: 'work-started', data: { item: ITEM } };
  const completed: NewEvent = { type: 'work-completed', data: { item: ITEM } };
  after(SUBMITTED).when(complete).rejected('work-not-scheduled');
  after(SUBMITTED, scheduled).when(complete).rejected('work-not-started');
  after(SUBMITTED, scheduled, started, started, completed).when(complete).then(completed);
  after(SUBMITTED, scheduled, started, completed).when(complete).rejected('work-not-started');
});

test('work goes on after an end', () => {
  const event: NewEvent = { type: 'work-scheduled', data: { item: ITEM } };
  after(FINALIZED, { type: 'application-declined' }).when({ type: 'schedule-work', data: { item: ITEM } }).then(event);
});

test('the name of a work item is bounded', () => {
  const schedule = (item: string) => after(SUBMITTED).when({ type: 'schedule-work', data: { item } });
  schedule('').rejected('invalid-item');
  schedule('x'.repeat(ITEM_BYTES_MAX)).then({ type: 'work-scheduled', data: { item: 'x'.repeat(ITEM_BYTES_MAX) } });
  const { message } = schedule('é'.repeat(33)).rejected('invalid-item');
  assert.equal(message, 'item of 66 bytes, 1 to 64');
});

test('foreign events never lead below zero', () => {
  const events: NewEvent[] = [{ type: 'offer-accepted' }, { type: 'offer-sent' }, { type: 'work-completed', data: { item: ITEM } }];
  const amount = Number.MAX_SAFE_INTEGER;
  after(0, ...events)
    .when({ type: 'submit', data: { amount } })
    .then({ type: 'application-submitted', data: { amount } });
});

test('the view shows status, amounts, offers and open work', () => {
  const application = after(
    FINALIZED,
    selected,
    { type: 'work-scheduled', data: { item: ITEM } },
    { type: 'work-scheduled', data: { item: 'validate-application' } },
    { type: 'work-started', data: { item: ITEM } },
    { type: 'application-approved', data: { amount: 5000 } },
  );
  assert.equal(
    JSON.stringify(application.view()),
    '{"status":"granted","amount":5000,"granted_amount":5000,"approved":true,' +
      '"registered":false,"activated":false,"offers":{"selected":1,"created":0,' +
      '"sent":0,"returned":0,"accepted":0,"cancelled":0,"declined":0},' +
      '"open_work":{"call-about-offer":1}}',
  );
  assert.equal(after(SUBMITTED).view().granted_amount, null);
});

test('random histories give the same state for any cut and any batching', () => {
  const types = Object.keys(commands) as (keyof typeof commands)[];
  checkHistories(loan, {
    length: 60,
    command(random, state) {
      if (state.status === 'none') return { type: 'submit', data: { amount: random.integer(0, 50_000) } };
      const type = random.pick(types);
      const item = random.pick(['a', 'b', '10', '9', '__proto__']);
      return (type.endsWith('-work') ? { type, data: { item } } : type === 'submit' ? { type, data: { amount: 1 } } : { type }) as never;
    },
  });
});
