// Native tests of guests, without a host and without WebAssembly.

// A component has no time zone: local times are those of UTC.
process.env.TZ = 'UTC';

export { given, migrated } from './given.js';
export { checkHistories, checkHistory } from './history.js';
export { lifted } from './lifted.js';
export { givenEvents } from './projected.js';
