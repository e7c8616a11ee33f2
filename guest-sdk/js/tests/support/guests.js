// Small guests for tests.

import { decider, message, rejection, s } from '../../src/index.js';

const cents = s.integer({ minimum: 0 });

/** The definition of an account, with changes. */
export function accountDefinition(changes = {}) {
  return {
    category: 'account',
    commands: {
      deposit: message({ cents }),
      withdraw: message({ cents }, { aliases: ['take-out'] }),
      close: message(),
    },
    events: {
      deposited: message({ cents }, { version: 2, unchangedSince: 1 }),
      withdrawn: message({ cents }, { aliases: ['taken-out'] }),
      closed: message(),
    },
    initial: { balance: 0, isClosed: false },
    evolve,
    decide,
    ...changes,
  };
}

export const account = (changes) => decider(accountDefinition(changes));

function evolve(state, event) {
  switch (event.type) {
    case 'deposited':
      return { ...state, balance: state.balance + event.data.cents };
    case 'withdrawn':
      return { ...state, balance: state.balance - event.data.cents };
    case 'closed':
      return { ...state, isClosed: true };
  }
}

function decide(state, command) {
  switch (command.type) {
    case 'deposit':
      return { type: 'deposited', data: command.data };
    case 'withdraw':
      if (command.data.cents <= state.balance) return [{ type: 'withdrawn', data: command.data }];
      return rejection('insufficient-funds', `the balance is ${state.balance}`, { balance: state.balance });
    case 'close':
      return state.isClosed ? [] : { type: 'closed' };
  }
}
