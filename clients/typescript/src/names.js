// Names on the wire have underscores, names of members camel case.

/** Renames the members of an object; the values stay as they are. */
export function camelCased(object) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [camel(name), value]));
}

/** The names of an event, its commit and its stored form. `data` and `metadata` stay untouched. */
export function eventOf(wire) {
  const event = camelCased(wire);
  if (isObject(event.commit)) event.commit = camelCased(event.commit);
  if (isObject(event.storedAs)) event.storedAs = camelCased(event.storedAs);
  return event;
}

/** The names of an outcome and its events. */
export function outcomeOf(wire) {
  const outcome = camelCased(wire);
  if (Array.isArray(outcome.events)) outcome.events = outcome.events.map(eventOf);
  return outcome;
}

/** The members that have a value, named as on the wire. */
export function snakeCased(object) {
  const given = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [snake(name), value]));
}

export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function camel(name) {
  return name.includes('_') ? name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase()) : name;
}

function snake(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
