// Values in the form in which they cross the border between host and guest.

/** Calls an export, and returns its result, or the error that it answered. */
export function answer(call) {
  try {
    return { ok: call() };
  } catch (error) {
    if (error instanceof Error) throw error;
    return { error };
  }
}

export const json = (value) => ({ tag: 'json', val: JSON.stringify(value) });

export function event(type, data = {}, { version = 1, schemaVersion = 1 } = {}) {
  return { type, schemaVersion, version, recordedAt: 1_700_000_000_000_000, body: json(data) };
}

export function command(type, data = {}, more = {}) {
  return {
    id: 'c-1', type, schemaVersion: 1, body: json(data), acceptedAt: 1_700_000_000_123_456,
    seed: [1, 2, 3, 4], annotations: [['actor', 'ann']], ...more,
  };
}

/** An event with its place in the log. */
export function recorded(stream, ...args) {
  return { event: event(...args), id: [1, 2], stream, position: 9, part: 0, tags: [], annotations: [] };
}

/** The same for a component, in which an integer of 64 bits is a BigInt. */
export function wide(value) {
  if (Array.isArray(value)) return value.map(wide);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([name, member]) => {
    if (['version', 'recordedAt', 'acceptedAt', 'position'].includes(name)) return [name, BigInt(member)];
    if (['seed', 'id'].includes(name) && Array.isArray(member)) return [name, member.map(BigInt)];
    return [name, wide(member)];
  });
  return Object.fromEntries(entries);
}
