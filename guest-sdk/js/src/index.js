// Quipu guests in JavaScript and TypeScript: see README.md.

export { decider } from './decider.js';
export { DefinitionError, Rejection, rejection } from './errors.js';
export { log } from './log.js';
export { message, messageOf } from './message.js';
export { every, index, projection, projections } from './projection.js';
export { s } from './schema.js';
export { byteLength } from './text.js';
export { lift, upcaster, upcasters } from './upcaster.js';
