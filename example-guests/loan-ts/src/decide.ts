import { byteLength, rejection, type Rejection } from '@quipu/guest';

import type { Command, NewEvent } from './messages.ts';
import { openWork, STATUSES, type Loan, type Status } from './state.ts';

/** The longest name of a work item, in bytes. */
export const ITEM_BYTES_MAX = 64;

/** Decides a command. If it is accepted, the result is exactly one event. */
export function decide(loan: Readonly<Loan>, command: Command): NewEvent | Rejection {
  if (loan.status === 'none' && command.type !== 'submit') {
    return rejection('not-submitted', 'there is no application yet');
  }
  if (loan.status !== 'none' && command.type === 'submit') {
    return rejection('already-submitted', 'there is an application already');
  }
  switch (command.type) {
    case 'submit':
      return { type: 'application-submitted', data: { amount: command.data.amount } };
    case 'partly-submit':
      return step(loan, 'submitted', { type: 'application-partly-submitted' });
    case 'preaccept':
      return step(loan, 'partly-submitted', { type: 'application-preaccepted' });
    case 'accept':
      return step(loan, 'preaccepted', { type: 'application-accepted' });
    case 'finalize':
      return step(loan, 'accepted', { type: 'application-finalized' });
    case 'approve':
      return grant(loan, loan.approved, { type: 'application-approved', data: { amount: loan.amount } });
    case 'register':
      return grant(loan, loan.registered, { type: 'application-registered' });
    case 'activate':
      return grant(loan, loan.activated, { type: 'application-activated' });
    case 'decline':
      atLeast(loan, 'partly-submitted');
      return { type: 'application-declined' };
    case 'cancel':
      atLeast(loan, 'partly-submitted');
      return { type: 'application-cancelled' };
    case 'select-offer':
      atLeast(loan, 'accepted');
      return { type: 'offer-selected' };
    case 'create-offer':
      atLeast(loan, 'finalized');
      return offer(loan.offers.selected, 'no-offer-selected', { type: 'offer-created' });
    case 'send-offer':
      atLeast(loan, 'finalized');
      return offer(loan.offers.created, 'no-offer-created', { type: 'offer-sent' });
    case 'return-offer':
      return offer(loan.offers.sent, 'no-offer-sent', { type: 'offer-returned' });
    case 'accept-offer':
      return settleOffer(loan, { type: 'offer-accepted' });
    case 'cancel-offer':
      return settleOffer(loan, { type: 'offer-cancelled' });
    case 'decline-offer':
      return settleOffer(loan, { type: 'offer-declined' });
    case 'schedule-work':
      return schedule(command.data.item);
    case 'start-work': {
      const { item } = command.data;
      scheduled(loan, item);
      return { type: 'work-started', data: { item } };
    }
    case 'complete-work': {
      const { item } = command.data;
      if (scheduled(loan, item) > 0) return { type: 'work-completed', data: { item } };
      return rejection('work-not-started', `${item} is completed as often as started`);
    }
  }
}

/** Checks that the application has exactly this status. */
function step(loan: Readonly<Loan>, from: Status, event: NewEvent): NewEvent {
  if (loan.status === from) return event;
  throw misplaced(loan, from);
}

function atLeast(loan: Readonly<Loan>, status: Status): void {
  if (place(loan.status) >= place(status) && !isEnd(loan.status)) return;
  throw misplaced(loan, `${status} or later`);
}

function grant({ status, ...loan }: Readonly<Loan>, isDone: boolean, event: NewEvent): NewEvent | Rejection {
  if ((status === 'finalized' || status === 'granted') && !isDone) return event;
  if (status === 'granted') return rejection('already-done', 'this was done before');
  return misplaced({ status, ...loan }, 'finalized or granted');
}

function settleOffer({ offers }: Readonly<Loan>, event: NewEvent): NewEvent | Rejection {
  return offer(offers.sent + offers.returned, 'no-offer-sent', event);
}

function offer(count: number, code: string, event: NewEvent): NewEvent | Rejection {
  return count > 0 ? event : rejection(code, 'no offer is at that stage');
}

function schedule(item: string): NewEvent | Rejection {
  const bytes = byteLength(item);
  if (bytes >= 1 && bytes <= ITEM_BYTES_MAX) return { type: 'work-scheduled', data: { item } };
  return rejection('invalid-item', `item of ${bytes} bytes, 1 to ${ITEM_BYTES_MAX}`);
}

/** Returns how often a scheduled item was started and not completed. */
function scheduled(loan: Readonly<Loan>, item: string): number {
  const open = openWork(loan, item);
  if (open === undefined) throw rejection('work-not-scheduled', `${item} was never scheduled`);
  return open;
}

function misplaced({ status }: Readonly<Loan>, needed: string): Rejection {
  const code = isEnd(status) ? 'ended' : 'wrong-status';
  return rejection(code, `application is ${status}, needed ${needed}`, { status });
}

function isEnd(status: Status): boolean {
  return place(status) >= place('granted');
}

function place(status: Status): number {
  return STATUSES.indexOf(status);
}
