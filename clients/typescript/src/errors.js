// Errors that a caller can act on. The codes of a host are those of its reference of error codes;
// the codes of the client itself have status 0, or the status of an answer that is not a host's.

/** A request failed. Programs go by `code`. */
export class QuipuError extends Error {
  constructor({ code, status = 0, title, detail, ...others }, { retryAfter, cause } = {}) {
    super(`${code}: ${detail}`, cause === undefined ? undefined : { cause });
    this.name = 'QuipuError';
    this.code = code;
    this.status = status;
    this.title = title ?? code;
    this.detail = detail;
    this.retryAfter = retryAfter;
    this.problem = { code, status, title, detail, ...others };
  }
}

/** The domain rejected the command. Nothing is stored. */
export class RejectionError extends QuipuError {
  constructor(problem, options) {
    super(problem, options);
    this.name = 'RejectionError';
    this.rejection = problem.rejection;
  }
}

/** Returns the error that a problem document describes; undefined if it is not one. */
export function errorOf(problem, options) {
  if (typeof problem !== 'object' || problem === null) return undefined;
  const { code, detail, rejection } = problem;
  if (typeof code !== 'string' || typeof detail !== 'string') return undefined;
  const isRejection = code === 'rejected' && typeof rejection === 'object' && rejection !== null;
  return isRejection ? new RejectionError(problem, options) : new QuipuError(problem, options);
}

/** An answer that does not have the form of a host's answer. */
export function invalidAnswer(detail, { status, retryAfter, cause } = {}) {
  return new QuipuError({ code: 'invalid-answer', status, title: 'the answer is not that of a host', detail }, { retryAfter, cause });
}

/** The host did not answer within the client's own time limit. */
export function noAnswer(detail) {
  return new QuipuError({ code: 'no-answer', title: 'the host did not answer in time', detail });
}

/** The connection failed before the answer was complete. */
export function unreachable(detail, cause) {
  return new QuipuError({ code: 'unreachable', title: 'the connection failed', detail }, { cause });
}

/** The answer is larger than the client accepts. */
export function answerTooLarge(detail) {
  return new QuipuError({ code: 'answer-too-large', title: 'the answer is too large', detail });
}

const TRANSIENT = new Set(['overloaded', 'rate-limited', 'not-ready', 'store-unavailable', 'timeout', 'body-timeout', 'unreachable', 'no-answer']);
const TRANSIENT_STATUSES = new Set([429, 502, 503, 504]);

/** Whether the same request may succeed a little later, if it is safe to send it a second time. */
export function isTransient(error) {
  if (!(error instanceof QuipuError)) return false;
  // A gateway in front of the host answers without a problem document.
  return TRANSIENT.has(error.code) || (error.code === 'invalid-answer' && TRANSIENT_STATUSES.has(error.status));
}
