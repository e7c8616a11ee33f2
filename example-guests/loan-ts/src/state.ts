import type { Event } from './messages.ts';

/** The statuses in the order of the process. From `granted` on they are final. */
export const STATUSES = [
  'none',
  'submitted',
  'partly-submitted',
  'preaccepted',
  'accepted',
  'finalized',
  'granted',
  'declined',
  'cancelled',
] as const;

export type Status = (typeof STATUSES)[number];

/** Number of offers at each stage. */
export interface Offers {
  selected: number;
  created: number;
  sent: number;
  returned: number;
  accepted: number;
  cancelled: number;
  declined: number;
}

/** One application. */
export interface Loan {
  status: Status;
  amount: number;
  approved: boolean;
  registered: boolean;
  activated: boolean;
  offers: Offers;
  /** How often each scheduled item was started and not completed. */
  work: Record<string, number>;
}

export const initial: Loan = {
  status: 'none',
  amount: 0,
  approved: false,
  registered: false,
  activated: false,
  offers: { selected: 0, created: 0, sent: 0, returned: 0, accepted: 0, cancelled: 0, declined: 0 },
  work: {},
};

export function evolve(loan: Readonly<Loan>, event: Event): Loan {
  switch (event.type) {
    case 'application-submitted':
      return { ...loan, amount: event.data.amount, status: 'submitted' };
    case 'application-partly-submitted':
      return { ...loan, status: 'partly-submitted' };
    case 'application-preaccepted':
      return { ...loan, status: 'preaccepted' };
    case 'application-accepted':
      return { ...loan, status: 'accepted' };
    case 'application-finalized':
      return { ...loan, status: 'finalized' };
    case 'application-approved':
      return { ...loan, approved: true, status: 'granted' };
    case 'application-registered':
      return { ...loan, registered: true, status: 'granted' };
    case 'application-activated':
      return { ...loan, activated: true, status: 'granted' };
    case 'application-declined':
      return { ...loan, status: 'declined' };
    case 'application-cancelled':
      return { ...loan, status: 'cancelled' };
    case 'offer-selected':
      return moveOffer(loan, null, 'selected');
    case 'offer-created':
      return moveOffer(loan, 'selected', 'created');
    case 'offer-sent':
      return moveOffer(loan, 'created', 'sent');
    case 'offer-returned':
      return moveOffer(loan, 'sent', 'returned');
    case 'offer-accepted':
      return moveOffer(loan, sentOrReturned(loan), 'accepted');
    case 'offer-cancelled':
      return moveOffer(loan, sentOrReturned(loan), 'cancelled');
    case 'offer-declined':
      return moveOffer(loan, sentOrReturned(loan), 'declined');
    case 'work-scheduled':
      return withWork(loan, event.data.item, (open) => open);
    case 'work-started':
      return withWork(loan, event.data.item, increased);
    case 'work-completed':
      return withWork(loan, event.data.item, decreased);
  }
}

/** How often a scheduled item was started and not completed; undefined: it was never scheduled. */
export function openWork(loan: Readonly<Loan>, item: string): number | undefined {
  // `loan.work[item]` would find `constructor` in every object.
  return Object.hasOwn(loan.work, item) ? loan.work[item] : undefined;
}

/** The state as people see it. */
export function view(loan: Readonly<Loan>) {
  const { status, amount, approved, registered, activated, offers, work } = loan;
  return {
    status,
    amount,
    granted_amount: status === 'granted' ? amount : null,
    approved,
    registered,
    activated,
    offers,
    open_work: Object.fromEntries(Object.entries(work).filter(([, open]) => open > 0)),
  };
}

/** If offers are both sent and returned, the next one is taken from the returned offers. */
function sentOrReturned({ offers }: Readonly<Loan>): keyof Offers {
  return offers.returned > 0 ? 'returned' : 'sent';
}

function moveOffer(loan: Readonly<Loan>, from: keyof Offers | null, to: keyof Offers): Loan {
  const offers = { ...loan.offers };
  if (from !== null) offers[from] = decreased(offers[from]);
  offers[to] = increased(offers[to]);
  return { ...loan, offers };
}

function withWork(loan: Readonly<Loan>, item: string, change: (open: number) => number): Loan {
  const known = openWork(loan, item);
  const work = { ...loan.work, [item]: change(known ?? 0) };
  return { ...loan, work: known === undefined ? sorted(work) : work };
}

/** In the order of names, as the state of `example-guests/loan` has them. */
function sorted(work: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(work).sort(([one], [other]) => (one < other ? -1 : 1)));
}

// Bounded, because events may also be appended without a decision.
const COUNT_MAX = 4_294_967_295;

function increased(count: number): number {
  return Math.min(count + 1, COUNT_MAX);
}

function decreased(count: number): number {
  return Math.max(count - 1, 0);
}
