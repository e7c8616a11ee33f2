// Pages of events and documents as async iterators. A page is read when its first item is asked for.

import { invalidAnswer } from './errors.js';

/**
 * Yields the events of all pages. `read(next, size)` reads one page. `limit` counts stored events,
 * so the parts of a split event are never divided.
 */
export async function* eventsOf(read, { limit = Infinity, pageSize }) {
  let left = limit;
  let next;
  while (left > 0) {
    const page = await read(next, Math.min(pageSize, left));
    let last;
    for (const event of listOf(page, 'events')) {
      if (event.position !== last) left -= 1;
      last = event.position;
      yield event;
    }
    if (page.next === undefined || page.next === null) return;
    if (page.next === next) throw invalidAnswer(`a page ends where it begins: next is ${next}`);
    next = page.next;
  }
}

/** Yields the documents of all pages. */
export async function* documentsOf(read, { limit = Infinity, pageSize }) {
  let left = limit;
  let cursor;
  while (left > 0) {
    const page = await read(cursor, Math.min(pageSize, left));
    for (const document of listOf(page, 'documents')) {
      left -= 1;
      yield document;
    }
    if (page.next === undefined || page.next === null) return;
    if (page.next === cursor) throw invalidAnswer('a page of documents ends where it begins');
    cursor = page.next;
  }
}

/** A list of an answer. */
export function listOf(answer, name) {
  if (!Array.isArray(answer[name])) throw invalidAnswer(`expected a list ${name} in the answer`);
  return answer[name];
}
