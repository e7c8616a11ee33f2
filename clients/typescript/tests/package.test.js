import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { FOLDER } from './support/compiler.js';
import { emptyFolder } from './support/host.js';

test('the archive has what a user needs, and runs without other packages', (t) => {
  const folder = emptyFolder(t);
  const packed = spawnSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: FOLDER, encoding: 'utf8' });
  assert.equal(packed.status, 0, packed.stderr);
  const [{ filename, files }] = JSON.parse(packed.stdout);
  const names = files.map(({ path: name }) => name);
  for (const name of ['LICENSE', 'README.md', 'src/index.js', 'src/index.d.ts', 'src/domain.d.ts', 'src/emmett.js', 'src/emmett.d.ts']) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => /^(tests|node_modules)/.test(name)), []);

  const installed = path.join(folder, 'node_modules/@quipu/client');
  mkdirSync(installed, { recursive: true });
  const unpacked = spawnSync('tar', ['-xzf', filename, '--strip-components=1', '-C', installed], { cwd: folder, encoding: 'utf8' });
  assert.equal(unpacked.status, 0, unpacked.stderr);
  writeFileSync(path.join(folder, 'use.mjs'), "import { Quipu } from '@quipu/client'; console.log(typeof new Quipu({ url: 'http://a' }).subscribe);");
  assert.equal(spawnSync(process.execPath, ['use.mjs'], { cwd: folder, encoding: 'utf8' }).stdout, 'function\n');
});

test('the client has no dependencies, and uses nothing that a browser lacks', () => {
  const { dependencies, peerDependenciesMeta } = JSON.parse(readFileSync(path.join(FOLDER, 'package.json'), 'utf8'));
  assert.equal(dependencies, undefined);
  assert.equal(peerDependenciesMeta['@event-driven-io/emmett'].optional, true);
  for (const name of readdirSync(path.join(FOLDER, 'src')).filter((file) => file.endsWith('.js'))) {
    const text = readFileSync(path.join(FOLDER, 'src', name), 'utf8');
    const imports = [...text.matchAll(/from '([^']+)'/g)].map(([, from]) => from).filter((from) => !from.startsWith('./'));
    assert.deepEqual(imports, name === 'emmett.js' ? ['@event-driven-io/emmett'] : [], name);
    assert.doesNotMatch(text, /\b(process|Buffer|require|setImmediate)\b[.(]|crypto\.randomUUID\(/, name);
  }
});
