// Checked by the TypeScript compiler, never run: each `@ts-expect-error` has to be an error.

import {
  decider, every, lift, message, messageOf, projection, projections, rejection, s, upcaster,
  type Infer, type MessagesOf, type NewEvents,
} from '@quipu/guest';
import { checkHistories, given, givenEvents, lifted } from '@quipu/guest/testing';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <T extends true>(value?: T) => value;

const address = s.object({ street: s.string(), floor: s.optional(s.integer()), kind: s.oneOf('home', 'work') });
is<Equal<Infer<typeof address>, { street: string; kind: 'home' | 'work'; floor?: number }>>();
const mixed = s.union(s.array(s.string()), s.nullable(s.record(s.boolean())), s.literal(7));
is<Equal<Infer<typeof mixed>, string[] | { [name: string]: boolean } | null | 7>>();

interface Account {
  balance: number;
  owner: string | null;
}
const commands = { deposit: message({ cents: s.integer() }), close: message(), note: messageOf<{ text: string }>() };
const events = { deposited: message({ cents: s.integer() }, { version: 2, aliases: ['paid'] }), closed: message() };
type Command = MessagesOf<typeof commands>;
is<Equal<Command['type'], 'deposit' | 'close' | 'note'>>();
is<Equal<Extract<Command, { type: 'note' }>['data'], { text: string }>>();

const account = decider({
  category: 'account',
  commands,
  events,
  initial: { balance: 0, owner: null } as Account,
  evolve(state, event) {
    is<Equal<typeof state, Readonly<Account>>>();
    // @ts-expect-error the state is not changed
    state.balance = 1;
    switch (event.type) {
      case 'deposited':
        is<Equal<typeof event.data, { cents: number }>>();
        return { ...state, balance: state.balance + event.data.cents };
      case 'closed':
        // @ts-expect-error a closed event has no cents
        event.data.cents.toFixed();
        return state;
    }
  },
  decide(state, command, ctx) {
    is<Equal<typeof ctx.acceptedAt, Date>>();
    if (command.type === 'close') return { type: 'closed', tags: ['a:b'] };
    if (command.type === 'note') return rejection('no-notes', command.data.text, { balance: state.balance });
    return [{ type: 'deposited', data: { cents: command.data.cents } }];
  },
});

const base = { category: 'account', commands, events, initial: { balance: 0, owner: null } as Account };
const evolve = (state: Account) => state;
// @ts-expect-error no such event
decider({ ...base, evolve, decide: () => ({ type: 'opened' }) });
// @ts-expect-error the data is missing
decider({ ...base, evolve, decide: () => ({ type: 'deposited' }) });
// @ts-expect-error the data is of another type
decider({ ...base, evolve, decide: () => [{ type: 'deposited', data: { cents: '1' } }] });
// @ts-expect-error a decision is not a promise
decider({ ...base, evolve, decide: async () => [] });
// @ts-expect-error the next state is of another type
decider({ ...base, evolve: () => ({ balance: 1 }), decide: () => [] });
// @ts-expect-error a case is missing
decider({ ...base, decide: () => [], evolve(state, event) { if (event.type === 'closed') return state; } });
// @ts-expect-error an option is misspelt
decider({ ...base, evolve, decide: () => [], veiw: () => 1 });
// @ts-expect-error commands are declared with message
decider({ ...base, evolve, decide: () => [], commands: { a: 7 } });

given(account, [{ type: 'deposited', data: { cents: 1 } }]).when({ type: 'close' }).then({ type: 'closed' });
// @ts-expect-error no such event
given(account, [{ type: 'opened' }]);
// @ts-expect-error no such command
given(account).when({ type: 'open' });
// @ts-expect-error the data is missing
given(account).when({ type: 'deposit' });
// @ts-expect-error no such event
given(account).when({ type: 'close' }).then([{ type: 'opened' }]);
is<Equal<ReturnType<ReturnType<typeof given<typeof commands, typeof events, Account>>['state']>, Account>>();
checkHistories(account, { command: (random) => random.pick([{ type: 'close' }, { type: 'deposit', data: { cents: random.integer(0, 5) } }]) });
const event: NewEvents<typeof events> = { type: 'closed', annotations: { a: 'b' } };
is<Equal<(typeof event)['type'], 'closed'>>();

const steps = upcaster({
  category: 'account',
  steps: [
    lift('paid', 1, { schema: s.object({ amount: s.integer() }) }).to('deposited', 2, (old) => {
      is<Equal<typeof old, { amount: number }>>();
      return { cents: old.amount * 100 };
    }),
    lift('corrected', 1).split({ deposited: 2 }, () => [{ type: 'deposited', data: { cents: 1 } }]),
    // @ts-expect-error the part is not declared
    lift('corrected', 2).split({ deposited: 2 }, () => [{ type: 'closed' }]),
    lift('noted', 1).drop(),
    // @ts-expect-error a step without a result
    lift('noted', 2),
  ],
});
lifted(steps, 'paid', 1, { amount: 3 }).readBy(account, { type: 'deposited', data: { cents: 300 } });
// @ts-expect-error no such event
lifted(steps, 'paid', 1).readBy(account, [{ type: 'opened', data: {} }]);

const balances = projection({
  name: 'balances',
  sources: { account: events, loan: { granted: message({ amount: s.integer() }) } },
  keys(event) {
    is<Equal<typeof event.category, 'account' | 'loan'>>();
    return event.type === 'granted' ? String(event.data.amount) : [event.key];
  },
  apply(document: { total: number } | null, event) {
    if (event.type === 'closed') return null;
    if (event.category === 'loan') return { total: event.data.amount };
    return { total: (document?.total ?? 0) + event.data.cents };
  },
});
is<Equal<ReturnType<ReturnType<typeof givenEvents<any, { total: number }>>['document']>, { total: number } | null>>();
givenEvents(balances, [{ stream: 'account-1', type: 'closed' }]).document('1')?.total.toFixed();
projections('views', [balances, projection({ name: 'all', sources: { '*': every }, keys: (e) => e.stream, apply: (_: number | null, e) => e.position })]);
// @ts-expect-error the document is of another type
projection({ name: 'x', sources: { account: events }, keys: (e) => e.key, apply: (_: { a: number } | null) => ({ b: 1 }) });
// @ts-expect-error a key is a text
projection({ name: 'x', sources: { account: events }, keys: () => 7, apply: () => ({}) });
