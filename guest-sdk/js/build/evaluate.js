// The process that evaluates a guest: imports a program and prints its result in one line.

import { guard } from '../src/guard.js';

const restore = guard();
let answer;
try {
  const { run } = await import(process.argv[2]);
  answer = await run();
} catch (error) {
  const { message = String(error), stack = '' } = error ?? {};
  answer = { error: { message, stack } };
}
restore();
process.stdout.write(`\nquipu-guest:${JSON.stringify(answer)}\n`);
