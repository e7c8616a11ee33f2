// Compiled, never run. A line after `@ts-expect-error` has to be an error.

import { Quipu, RejectionError, type Domain } from '@quipu/client';
import { getQuipuEventStore } from '@quipu/client/emmett';
import { CommandHandler, type Event } from '@event-driven-io/emmett';

interface Bank extends Domain {
  commands: {
    account: { open: { owner: string }; deposit: { amount: number }; close: Record<string, never> };
    loan: { apply: { amount: number } };
  };
  events: { account: { opened: { owner: string }; deposited: { amount: number } } };
  states: { account: { balance: number } };
  documents: { balances: { owner: string; balance: number } };
}

const bank = new Quipu<Bank>({ url: 'http://127.0.0.1:7878' });
const id: string = crypto.randomUUID();

async function commands() {
  const outcome = await bank.execute(`account-${id}`, { type: 'deposit', data: { amount: 5 } }, { id, expectedVersion: 3 });
  const position: number | null = outcome.position;
  for (const event of outcome.events) {
    if (event.type === 'opened') event.data.owner.toUpperCase();
  }
  const preview = await bank.preview(`account-${id}`, { type: 'deposit', data: { amount: 5 } }, { expectedVersion: 3 });
  const balance: number | undefined = preview.stateAfter?.balance;
  for (const event of preview.events) {
    if (event.type === 'deposited') event.data.amount.toFixed(balance);
  }
  // @ts-expect-error: a preview has no id
  await bank.preview('account-1', { type: 'close' }, { id });
  await bank.execute('account-1', { type: 'close' });
  await bank.execute('account-1', { type: 'deposit', dataBase64: 'AA==', contentType: 'application/cbor' });
  await bank.execute('loan-1', { type: 'apply', data: { amount: 1 } });

  // @ts-expect-error: an unknown type of command
  await bank.execute('account-1', { type: 'deposited', data: { amount: 5 } });
  // @ts-expect-error: data of another type
  await bank.execute('account-1', { type: 'deposit', data: { amount: '5' } });
  // @ts-expect-error: a missing member
  await bank.execute('account-1', { type: 'deposit', data: {} });
  // @ts-expect-error: no data
  await bank.execute('account-1', { type: 'deposit' });
  // @ts-expect-error: a member that the command does not have
  await bank.execute('account-1', { type: 'deposit', data: { amount: 5, currency: 'EUR' } });
  // @ts-expect-error: a command of another category
  await bank.execute('loan-1', { type: 'deposit', data: { amount: 5 } });
  // @ts-expect-error: an unknown category
  await bank.execute('card-1', { type: 'deposit', data: { amount: 5 } });
  // @ts-expect-error: a stream of an unknown category
  await bank.execute(id, { type: 'deposit', data: { amount: 5 } });
  // @ts-expect-error: an unknown option
  await bank.execute('account-1', { type: 'close' }, { expectedversion: 1 });
  // @ts-expect-error: an unknown expected version
  await bank.execute('account-1', { type: 'close' }, { expectedVersion: 'none' });
  return position;
}

async function reads() {
  const { state } = await bank.state('account-1', { atTime: new Date() });
  state.balance.toFixed();
  // @ts-expect-error: a member that the state does not have
  state.owner;
  const found = await bank.document('balances', '1', { after: 7 });
  found?.document.owner.toUpperCase();
  // @ts-expect-error: it may be null
  found.document;
  // @ts-expect-error: an unknown projection
  await bank.document('balance', '1');
  for await (const { document } of bank.documents('balances', { where: { owner: 'ann', balance: { gte: 100n } } })) document.balance.toFixed();
  // @ts-expect-error: an unknown comparison
  bank.documents('balances', { where: { balance: { above: 100 } } });
  for await (const event of bank.readStream('account-1')) {
    if (event.type === 'deposited') event.data.amount.toFixed();
    // @ts-expect-error: an unknown type of event
    if (event.type === 'withdrawn') return;
  }
  for await (const event of bank.readStream('note-1')) event.data.anything;
  for await (const event of bank.subscribe({ category: ['account'], after: 'now' })) event.commit.commandId?.length;
  await bank.append('account-1', [{ type: 'deposited', data: { amount: 1 } }], { raw: true });
  // @ts-expect-error: data of another event
  await bank.append('account-1', [{ type: 'deposited', data: { owner: 'ann' } }]);
  await bank.append('note-1', [{ type: 'noted', data: { text: 'hello' }, tags: ['room:7'] }]);
}

async function untyped() {
  const quipu = new Quipu({ url: 'http://127.0.0.1:7878', token: 'secret', retry: false });
  await quipu.execute(id, { type: 'anything', data: { amount: 5 } });
  for await (const event of quipu.readLog({ limit: 1 })) event.data.amount;
  await quipu.consume('mailer', async (event, { token }) => console.log(token, event.type), { onError: () => 'retry' });
  // @ts-expect-error: no such decision
  await quipu.consume('mailer', () => {}, { onError: () => 'again' });
  // @ts-expect-error: no address
  new Quipu({});
}

function errors(error: unknown): string | undefined {
  if (error instanceof RejectionError) return error.rejection.details?.balance ?? error.rejection.message;
  return undefined;
}

type Opened = Event<'Opened', { owner: string }, { by: string }>;

async function emmett() {
  const store = getQuipuEventStore(new Quipu({ url: 'http://127.0.0.1:7878' }), { raw: true });
  const handle = CommandHandler({ evolve: (owner: string, { data }: Opened) => owner + data.owner, initialState: () => '' });
  const { nextExpectedStreamVersion } = await handle(store, 'shop-1', () => ({ type: 'Opened', data: { owner: 'ann' }, metadata: { by: 'me' } }) as Opened);
  const next: bigint = nextExpectedStreamVersion;
  const { events } = await store.readStream<Opened>('shop-1', { from: next });
  events[0]?.metadata.globalPosition.toString();
  const result = await store.aggregateStream('shop-1', { evolve: (count: number, _: Opened) => count + 1, initialState: () => 0 });
  if (result.streamExists) result.lastEventGlobalPosition.toString();
}

export { commands, emmett, errors, reads, untyped };
