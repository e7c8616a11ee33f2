// `console` in a component, which has none: lines for the log of the host.

import { log } from './log.js';

const LEVELS = { trace: 'trace', debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'error' };

/** Returns a console that writes to the log of the host. */
export function hostConsole() {
  const functions = Object.entries(LEVELS).map(([name, level]) => [name, (...values) => log[level](values.map(shown).join(' '))]);
  return Object.freeze(Object.fromEntries(functions));
}

function shown(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
