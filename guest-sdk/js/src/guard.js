// Purity: what depends on more than its arguments fails with a sentence that names the replacement.

const TIME = 'take the time from the command: ctx.acceptedAt';
const CHANCE = 'take random numbers from the seed of the command: ctx.random() or ctx.uuid()';
const LATER = 'a guest answers at once; it has no timers and no tasks';
const IO = 'a guest has no I/O; pass what it needs in the command';
const MEMORY = 'its result depends on when memory is freed';

const { Date: RealDate } = globalThis;

/** What the guards throw. */
export class ImpureError extends Error {
  constructor(name, remedy) {
    super(`${name} is not available in a guest: ${remedy}`);
    this.name = 'ImpureError';
  }
}

function refuse(name, remedy) {
  return function refused() {
    throw new ImpureError(name, remedy);
  };
}

function guardedDate() {
  const now = refuse('Date.now()', TIME);
  return new Proxy(RealDate, {
    construct(target, args, newTarget) {
      if (args.length === 0) throw new ImpureError('new Date() without an argument', TIME);
      return Reflect.construct(target, args, newTarget);
    },
    apply: refuse('Date()', TIME),
    get: (target, name, receiver) => (name === 'now' ? now : Reflect.get(target, name, receiver)),
  });
}

/** An object of which every function is refused. */
function closed(name, functions, remedy) {
  const refused = functions.map((each) => [each, refuse(`${name}.${each}()`, remedy)]);
  return Object.freeze(Object.fromEntries(refused));
}

const REPLACEMENTS = {
  Date: guardedDate(),
  crypto: closed('crypto', ['getRandomValues', 'randomUUID'], CHANCE),
  performance: closed('performance', ['now', 'mark', 'measure'], TIME),
  setTimeout: refuse('setTimeout()', LATER),
  setInterval: refuse('setInterval()', LATER),
  setImmediate: refuse('setImmediate()', LATER),
  queueMicrotask: refuse('queueMicrotask()', LATER),
  fetch: refuse('fetch()', IO),
  XMLHttpRequest: refuse('XMLHttpRequest', IO),
  WebSocket: refuse('WebSocket', IO),
  WeakRef: refuse('WeakRef', MEMORY),
  FinalizationRegistry: refuse('FinalizationRegistry', MEMORY),
};

/** Globals of Node that the engine of a component does not have. */
const MISSING = [
  'AbortController', 'AbortSignal', 'Blob', 'BroadcastChannel', 'Buffer', 'Event', 'EventTarget', 'File', 'FormData',
  'Headers', 'Intl', 'MessageChannel', 'MessagePort', 'Request', 'Response', 'TextDecoder', 'TextEncoder', 'URL',
  'URLSearchParams', 'WebAssembly', 'clearImmediate', 'clearInterval', 'clearTimeout', 'navigator', 'process',
  'structuredClone',
];

const random = refuse('Math.random()', CHANCE);

/** Replaces the impure functions, and returns a function that restores them. */
export function guard() {
  const restores = Object.entries(REPLACEMENTS).map(([name, value]) => replace(globalThis, name, value));
  restores.push(...MISSING.filter((name) => name in globalThis).map((name) => remove(globalThis, name)));
  restores.push(replace(Math, 'random', random));
  restores.push(replace(RealDate.prototype, 'constructor', REPLACEMENTS.Date));
  return () => restores.forEach((restore) => restore());
}

let depth = 0;

/** Calls a function of the guest with the guards in place. Natively; a component always has them. */
export function guarded(call) {
  if (depth > 0) return call();
  const restore = guard();
  depth += 1;
  try {
    return call();
  } finally {
    depth -= 1;
    restore();
  }
}

function replace(object, name, value) {
  const before = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });
  return () => {
    if (before === undefined) delete object[name];
    else Object.defineProperty(object, name, before);
  };
}

function remove(object, name) {
  const before = Object.getOwnPropertyDescriptor(object, name);
  if (!before?.configurable) return () => {};
  delete object[name];
  return () => Object.defineProperty(object, name, before);
}
