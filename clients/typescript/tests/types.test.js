import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

import { compiler, FOLDER } from './support/compiler.js';

test('a wrong command, code, document or option is a compile error', () => {
  const files = ['tests/types/domain.ts', 'tests/types/described.ts'];
  const args = ['--noEmit', '--strict', '--target', 'es2023', '--lib', 'es2023,dom,dom.asynciterable', '--module', 'nodenext', '--pretty', 'false', '--types', '', ...files];
  const { status, stdout } = spawnSync(process.execPath, [compiler(), ...args], { cwd: FOLDER, encoding: 'utf8' });
  assert.equal(stdout, '');
  assert.equal(status, 0);
});
