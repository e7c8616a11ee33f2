// Decides the commands of category `{{category}}`.

import { decider, message, rejection, s } from '@quipu/guest';

/** The highest total. */
export const TOTAL_MAX = 1000;

/** The state: only what the rules need. */
{{typed}}
export interface State {
  is_open: boolean;
  total: number;
}

{{/typed}}
const initial{{typed}}: State{{/typed}} = { is_open: false, total: 0 };

export default decider({
  category: '{{category}}',
  rejections: ['already-open', 'not-open', 'limit-exceeded'],
  commands: {
    open: message({ title: s.string({ minLength: 1 }) }),
    add: message({ amount: s.integer({ minimum: 1 }) }),
    close: message(),
  },
  events: {
    opened: message({ title: s.string() }),
    added: message({ amount: s.integer() }),
    closed: message({ at: s.string() }),
  },
  initial,

  // The rules. Time and random numbers come from the context, never from the machine.
  decide(state, command, context) {
    if (command.type === 'open') {
      if (state.is_open) return rejection('already-open', 'it is open');
      return { type: 'opened', data: { title: command.data.title } };
    }
    if (!state.is_open) return rejection('not-open', 'open it first');
    if (command.type === 'close') {
      return { type: 'closed', data: { at: context.acceptedAt.toISOString() } };
    }
    if (command.data.amount > TOTAL_MAX - state.total) {
      return rejection('limit-exceeded', `the total is ${state.total}, at most ${TOTAL_MAX}`);
    }
    return { type: 'added', data: { amount: command.data.amount } };
  },

  // What an event changes. It accepts every event that was ever stored.
  evolve(state, event) {
    switch (event.type) {
      case 'opened':
        return { ...state, is_open: true };
      case 'added':
        return { ...state, total: state.total + event.data.amount };
      case 'closed':
        return { ...state, is_open: false };
    }
  },
});
