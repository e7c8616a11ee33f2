import { message, s, type MessagesOf, type NewEvents } from '@quipu/guest';

/** Euros; zero is possible. */
const amount = s.integer({ minimum: 0 });
const item = s.string();

/** The commands, with the names from the published log. */
export const commands = {
  submit: message({ amount }),
  'partly-submit': message(),
  preaccept: message(),
  accept: message(),
  finalize: message(),
  approve: message(),
  register: message(),
  activate: message(),
  decline: message(),
  cancel: message(),
  'select-offer': message(),
  'create-offer': message(),
  'send-offer': message(),
  'return-offer': message(),
  'accept-offer': message(),
  'cancel-offer': message(),
  'decline-offer': message(),
  'schedule-work': message({ item }),
  'start-work': message({ item }),
  'complete-work': message({ item }),
};

/** The events. The metadata, which events inherit from their command, contains the actor. */
export const events = {
  'application-submitted': message({ amount }),
  'application-partly-submitted': message(),
  'application-preaccepted': message(),
  'application-accepted': message(),
  'application-finalized': message(),
  // The amount is repeated, so that a reader of only this event can compute sums.
  'application-approved': message({ amount }),
  'application-registered': message(),
  'application-activated': message(),
  'application-declined': message(),
  'application-cancelled': message(),
  'offer-selected': message(),
  'offer-created': message(),
  'offer-sent': message(),
  'offer-returned': message(),
  'offer-accepted': message(),
  'offer-cancelled': message(),
  'offer-declined': message(),
  'work-scheduled': message({ item }),
  'work-started': message({ item }),
  'work-completed': message({ item }),
};

export type Command = MessagesOf<typeof commands>;
export type Event = MessagesOf<typeof events>;
export type NewEvent = NewEvents<typeof events>;
