// Snapshots of older versions of the state.

import { DefinitionError } from './errors.js';
import { checkFunction, checkOptions } from './names.js';

/** Checks that migrations form a chain without gaps up to the current version. */
export function checkMigrations(category, migrations, current) {
  if (!Array.isArray(migrations)) throw new DefinitionError(`migrations of ${category}: expected a list`);
  const chain = [...migrations].sort((one, other) => one.from - other.from);
  chain.forEach((step, index) => checkStep(category, step, chain[index + 1]?.from, current));
}

function checkStep(category, step, next, current) {
  checkOptions(`a migration of ${category}`, step, ['from', 'to', 'migrate']);
  const { from, to } = step;
  const what = `migration of ${category} from ${from} to ${to}`;
  checkFunction(`migrate of the ${what}`, step.migrate);
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 1 || from >= to) {
    throw new DefinitionError(`${what}: it leads to a later version, from 1 on`);
  }
  if (from === next) throw new DefinitionError(`two migrations of ${category} from ${from}`);
  if (next !== undefined && to !== next) throw new DefinitionError(`${what}: the chain continues at ${next}`);
  if (next !== undefined || to === current) return;
  throw new DefinitionError(`${what}: the chain ends at ${to}, expected stateSchemaVersion ${current}`);
}
