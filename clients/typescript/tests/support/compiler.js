// The TypeScript compiler of this package.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const FOLDER = fileURLToPath(new URL('../..', import.meta.url));

export function compiler() {
  const file = createRequire(path.join(FOLDER, 'package.json')).resolve('typescript/package.json');
  return path.join(path.dirname(file), JSON.parse(readFileSync(file, 'utf8')).bin.tsc);
}
