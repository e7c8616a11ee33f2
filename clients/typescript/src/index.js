export { Quipu } from './client.js';
export { QuipuError, RejectionError } from './errors.js';
export { parseExact, stringifyExact } from './json.js';
