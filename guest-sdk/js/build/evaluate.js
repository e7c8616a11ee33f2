// The process that evaluates a guest: imports a program and prints its result in one line.

import { guard } from '../src/guard.js';

const { run } = await import(process.argv[2]);
const restore = guard();
let answer;
let failure;
try {
  answer = await run();
} catch (error) {
  failure = { error };
}
restore();
if (failure) {
  const { message = String(failure.error), stack = '' } = failure.error ?? {};
  answer = { error: { message, stack } };
}
process.stdout.write(`\nquipu-guest:${JSON.stringify(answer)}\n`);
