// Lines for the log of the host. They are write-only. Natively they go to stderr.

import { bounded } from './text.js';

let write = (level, text) => globalThis.console.error(`${level}: ${text}`);

/** Sets what receives the lines: in a component, the host's log. */
export function setLog(next) {
  write = next;
}

const line = (level) => (text) => write(level, bounded(text));

/** One function for each level. */
export const log = Object.freeze({
  trace: line('trace'),
  debug: line('debug'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
});
