// An event store for Emmett on a Quipu host.

import {
  assertExpectedVersionMatchesCurrent,
  ExpectedVersionConflictError,
  NO_CONCURRENCY_CHECK,
  STREAM_DOES_NOT_EXIST,
  STREAM_EXISTS,
  tryPublishMessagesAfterCommit,
} from '@event-driven-io/emmett';

import { QuipuError } from './errors.js';
import { randomId } from './ids.js';

/** The version of a stream that does not exist. */
export const QuipuEventStoreDefaultStreamVersion = 0n;
const VERSION_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** Returns an event store of Emmett that keeps its streams on a host. */
export function getQuipuEventStore(quipu, { raw = false, hooks } = {}) {
  const store = {
    async aggregateStream(streamName, { evolve, initialState, read = {} }) {
      const { events, currentStreamVersion, streamExists } = await store.readStream(streamName, read);
      const state = events.reduce((folded, event) => evolve(folded, event), initialState());
      const last = events.at(-1)?.metadata;
      const isPart = read.to !== undefined || read.maxCount !== undefined;
      const version = isPart ? last?.streamPosition ?? QuipuEventStoreDefaultStreamVersion : currentStreamVersion;
      const result = { currentStreamVersion: version, state, streamExists };
      return last === undefined ? result : { ...result, lastEventGlobalPosition: last.globalPosition };
    },

    async readStream(streamName, options = {}) {
      const { from, to, maxCount, expectedStreamVersion, schema } = options;
      const { version, events } = await readAll(quipu, streamName, {
        from: versionOf('from', from === 0n ? 1n : from),
        to: versionOf('to', to),
        limit: maxCount === undefined ? Infinity : versionOf('maxCount', maxCount),
      });
      const currentStreamVersion = BigInt(version);
      assertExpectedVersionMatchesCurrent(currentStreamVersion, expectedStreamVersion, QuipuEventStoreDefaultStreamVersion);
      const upcast = schema?.versioning?.upcast;
      const recorded = events.map((event) => recordedOf(streamName, event, upcast));
      return { currentStreamVersion, events: recorded, streamExists: version > 0 };
    },

    async appendToStream(streamName, events, options = {}) {
      const expected = options.expectedStreamVersion ?? NO_CONCURRENCY_CHECK;
      const downcast = options.schema?.versioning?.downcast;
      const outcome = await appended(quipu, streamName, events.map((event) => newEventOf(event, downcast)), expected, raw);
      const recorded = events.map((event, at) => {
        const { id, version, position } = outcome.events[at];
        return withMetadata(streamName, event, { id, version, position });
      });
      await tryPublishMessagesAfterCommit(recorded, hooks);
      return {
        nextExpectedStreamVersion: BigInt(outcome.version),
        lastEventGlobalPosition: BigInt(outcome.position ?? 0),
        createdNewStream: outcome.created,
      };
    },

    async streamExists(streamName) {
      return (await headOf(quipu, streamName)) > 0;
    },
  };
  return store;
}

async function readAll(quipu, streamName, { from, to, limit }) {
  if (limit === 0 || to === 0) return { version: await headOf(quipu, streamName), events: [] };
  const events = [];
  let version = 0;
  let next = from;
  try {
    do {
      const left = limit - events.length;
      const page = await quipu.readStreamPage(streamName, { from: next, to, limit: Math.min(1000, left) });
      version = page.version;
      events.push(...page.events);
      next = page.next ?? undefined;
    } while (next !== undefined && events.length < limit);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return { version, events };
}

async function headOf(quipu, streamName) {
  try {
    return (await quipu.readStreamPage(streamName, { direction: 'backward', limit: 1 })).version;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

async function appended(quipu, streamName, events, expected, raw) {
  try {
    return await quipu.append(streamName, events, { expectedVersion: expectedOf(expected), raw });
  } catch (error) {
    if (error instanceof QuipuError && error.code === 'wrong-expected-version') {
      throw new ExpectedVersionConflictError(BigInt(error.problem.found), expected);
    }
    throw error;
  }
}

function expectedOf(expected) {
  if (expected === NO_CONCURRENCY_CHECK) return 'any';
  if (expected === STREAM_DOES_NOT_EXIST) return 'no-stream';
  if (expected === STREAM_EXISTS) return 'stream-exists';
  return versionOf('expectedStreamVersion', expected);
}

function versionOf(what, version) {
  if (version === undefined) return undefined;
  if (typeof version !== 'bigint' || version < 0n || version > VERSION_MAX) {
    throw new TypeError(`${what}: expected a bigint from 0 to ${VERSION_MAX}, found ${String(version)}`);
  }
  return Number(version);
}

/** The id makes a retry of the append safe. */
function newEventOf(event, downcast) {
  const { data, metadata } = downcast === undefined ? event : downcast(event);
  return { id: randomId(), type: event.type, data, metadata: { ...event.metadata, ...metadata } };
}

function recordedOf(streamName, event, upcast) {
  const { type, data, metadata } = event;
  const recorded = withMetadata(streamName, { type, data, metadata }, event);
  if (upcast === undefined) return recorded;
  const lifted = upcast(recorded);
  return withMetadata(streamName, { type, data: lifted.data, metadata: { ...metadata, ...lifted.metadata } }, event);
}

function withMetadata(streamName, event, { id, version, position }) {
  const place = { messageId: id, streamName, streamPosition: BigInt(version), globalPosition: BigInt(position) };
  return { ...event, kind: event.kind ?? 'Event', metadata: { ...event.metadata, ...place } };
}

function isMissing(error) {
  return error instanceof QuipuError && error.code === 'stream-not-found';
}
