// A bank account with the decisions, events and snapshots of `example-guests/account`, which
// describes the rules.

import { decider, message, rejection, s } from '@quipu/guest';

interface Account {
  status: 'none' | 'open' | 'closed';
  owner: string;
  balance: number;
}

const BALANCE_MAX = Number.MAX_SAFE_INTEGER;

// The members are in the order of the other guests' snapshots.
const initial: Account = { status: 'none', owner: '', balance: 0 };
// May be negative, which is rejected rather than unreadable.
const given = s.integer();
const amount = s.integer({ minimum: 0 });

export default decider({
  category: 'account',
  rejections: ['not-open', 'already-open', 'closed', 'invalid-amount', 'insufficient-funds', 'balance-limit'],
  commands: {
    open: message({ owner: s.string() }),
    deposit: message({ amount: given }),
    withdraw: message({ amount: given }),
    close: message(),
  },
  events: {
    opened: message({ owner: s.string() }),
    deposited: message({ amount }),
    withdrawn: message({ amount }),
    closed: message(),
  },
  initial,

  decide(account, command) {
    if (account.status === 'closed') return rejection('closed', 'the account is closed');
    if (command.type === 'open') {
      if (account.status === 'open') return rejection('already-open', 'the account is open');
      return { type: 'opened', data: { owner: command.data.owner } };
    }
    if (account.status === 'none') return rejection('not-open', 'the account has not been opened');
    if (command.type === 'close') return { type: 'closed' };
    const { amount } = command.data;
    const { balance } = account;
    if (amount < 1) return rejection('invalid-amount', `amount ${amount}, at least 1`);
    if (command.type === 'deposit') {
      if (amount > BALANCE_MAX - balance) {
        return rejection('balance-limit', `balance ${balance}, deposit ${amount}, at most ${BALANCE_MAX}`);
      }
      return { type: 'deposited', data: { amount } };
    }
    if (amount > balance) {
      return rejection('insufficient-funds', `balance ${balance}, withdrawal ${amount}`, { balance });
    }
    return { type: 'withdrawn', data: { amount } };
  },

  evolve(account, event) {
    switch (event.type) {
      case 'opened':
        return { ...account, status: 'open' as const, owner: event.data.owner };
      case 'deposited':
        return { ...account, balance: account.balance + event.data.amount };
      case 'withdrawn':
        return { ...account, balance: Math.max(0, account.balance - event.data.amount) };
      case 'closed':
        return { ...account, status: 'closed' as const };
    }
  },
});
