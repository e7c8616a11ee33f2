// Compiled, never run. A line after `@ts-expect-error` has to be an error. `generated/domain.d.ts` is
// what openapi-typescript made of the document of a host with the guests `coin` and `account-ts` of
// `tests/guests` and the projection `balances` of `tests/fixtures`.

import { Quipu, type DomainOf, type Rejection, type RejectionCode } from '@quipu/client';
import type { components, paths } from './generated/domain.js';

type Bank = DomainOf<paths, components> & { states: { account: { balance: number } } };

const bank = new Quipu<Bank>({ url: 'http://127.0.0.1:7878' });
const id: string = crypto.randomUUID();

async function commands() {
  const { position } = await bank.execute(`account-${id}`, { type: 'open', data: { owner: 'ann' } });
  await bank.execute('account-1', { type: 'deposit', data: { amount: 5 } });
  await bank.execute('account-1', { type: 'close' });
  await bank.execute('coin-1', { type: 'check', data: { at_least: 5 } });
  (await bank.preview('account-1', { type: 'close' })).stateAfter?.balance.toFixed();

  // @ts-expect-error: an unknown type of command
  await bank.execute('account-1', { type: 'deposited', data: { amount: 5 } });
  // @ts-expect-error: data of another type
  await bank.execute('account-1', { type: 'deposit', data: { amount: '5' } });
  // @ts-expect-error: a missing member
  await bank.execute('account-1', { type: 'deposit', data: {} });
  // @ts-expect-error: no data
  await bank.execute('account-1', { type: 'open' });
  // @ts-expect-error: a member that the command does not have
  await bank.execute('coin-1', { type: 'spend', data: { wei: 5, note: 'rent' } });
  // @ts-expect-error: a command of another category
  await bank.execute('coin-1', { type: 'open', data: { owner: 'ann' } });
  // @ts-expect-error: an unknown category
  await bank.execute('card-1', { type: 'deposit', data: { amount: 5 } });
  return position;
}

function rejections(error: unknown): string {
  const rejection = bank.rejectionOf('account-1', error);
  // @ts-expect-error: it may be undefined
  rejection.code;
  if (rejection === undefined) throw error;
  switch (rejection.code) {
    case 'insufficient-funds':
      return rejection.message;
    // @ts-expect-error: a code that the decider does not declare
    case 'too-little':
      return rejection.message;
    default:
      return rejection.code satisfies 'already-open' | 'balance-limit' | 'closed' | 'invalid-amount' | 'not-open';
  }
}

const tooLittle: RejectionCode<Bank, 'coin'> = 'too-little';
// @ts-expect-error: a code of another category
const closed: RejectionCode<Bank, 'coin'> = 'closed';

async function documents() {
  const found = await bank.document('balances', '1', { after: 7 });
  // A projection declares no schema, so its documents are any JSON.
  found?.document.balance;
  // @ts-expect-error: it may be null
  found.document;
  // @ts-expect-error: an unknown projection
  await bank.document('balance', '1');
  for await (const { document } of bank.documents('balances', { where: { owner: 'ann' } })) document.owner;
  // Events are not in the document.
  for await (const event of bank.readStream('account-1')) if (event.type === 'opened') event.data.owner;
}

/** What the guests above do not have: names that are encoded in a path, no schema, documents with one. */
interface Others {
  '/v1/domain/loan_book/{key}/pay%20off%2Fnow%21': { post: { requestBody: { content: { 'application/json': { amount: number } } } } };
  '/v1/domain/loan_book/{key}/renew': { post: { requestBody: { content: { 'application/json': unknown } } } };
  '/v1/domain/note/{key}/write': { post: { requestBody: { content: { 'application/json': string } } } };
  '/v1/views/all%20loans': { get: { responses: { 200: { content: { 'application/json': { documents: unknown[] } } } } } };
  '/v1/views/all%20loans/{key}': { get: { responses: { 200: { content: { 'application/json': { key: string; document: { total: number } } } } } } };
}

async function others() {
  const quipu = new Quipu<DomainOf<Others, { schemas: { LoanBookRejectionCode: 'too-late' } }>>({ url: 'http://127.0.0.1:7878' });
  await quipu.execute('loan_book-1', { type: 'pay off/now!', data: { amount: 5 } });
  await quipu.execute('loan_book-1', { type: 'renew' });
  await quipu.execute('loan_book-1', { type: 'renew', data: { years: 5 } });
  await quipu.execute('note-1', { type: 'write', data: 'hello' });
  // @ts-expect-error: the name as it is in the path
  await quipu.execute('loan_book-1', { type: 'pay%20off%2Fnow%21', data: { amount: 5 } });
  const found = await quipu.document('all loans', '1');
  found?.document.total.toFixed();
  // @ts-expect-error: a member that the document does not have
  found?.document.amount;
  for await (const { document } of quipu.documents('all loans')) document.total.toFixed();
  const late: Rejection<'too-late'> | undefined = quipu.rejectionOf('loan_book-1', new Error());
  // A decider that declares no codes may use any.
  const any: Rejection<'too-late'> | Rejection<string> | undefined = quipu.rejectionOf('note-1', new Error());
  // @ts-expect-error: any text
  const none: Rejection<'too-late'> | undefined = quipu.rejectionOf('note-1', new Error());
  return [late, any, none];
}

export { closed, commands, documents, others, rejections, tooLittle };
