import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { compilerOf } from '../build/types.js';

const folder = fileURLToPath(new URL('..', import.meta.url));
const compiler = compilerOf(folder);

test('the types accept what is right and refuse what is wrong', () => {
  const args = ['--noEmit', '--strict', '--target', 'es2023', '--module', 'nodenext', '--pretty', 'false', '--types', '', 'tests/types/sdk.ts'];
  const { status, stdout } = spawnSync(process.execPath, [compiler, ...args], { cwd: folder, encoding: 'utf8' });
  assert.equal(stdout, '');
  assert.equal(status, 0);
});
