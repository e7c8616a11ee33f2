// The packed archive is all that an author needs. Installing it asks the package registry.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { load } from './support/component.js';
import { emptyFolder, SDK } from './support/project.js';

function npm(folder, ...args) {
  const { status, stdout, stderr } = spawnSync('npm', [...args, '--no-audit', '--no-fund'], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, `npm ${args.join(' ')}: ${stderr}`);
  return stdout;
}

test('the archive installs into an empty folder and builds a guest there', async (t) => {
  const folder = emptyFolder(t);
  const [{ filename, files }] = JSON.parse(npm(SDK, 'pack', '--json', '--pack-destination', folder));
  const names = files.map(({ path: name }) => name);
  for (const name of ['LICENSE', 'README.md', 'wit/domain.wit', 'src/index.d.ts', 'testing/index.d.ts', 'bin/quipu-guest.js']) {
    assert.ok(names.includes(name), `${name} is missing`);
  }
  assert.deepEqual(names.filter((name) => name.startsWith('tests') || name.includes('node_modules')), []);

  cpSync(path.join(SDK, 'tests/fixtures/account'), folder, { recursive: true });
  npm(folder, 'install', '--prefer-offline', '--no-package-lock', `./${filename}`);
  assert.ok(!existsSync(path.join(folder, 'node_modules/typescript')));
  const { status, stdout, stderr } = spawnSync('npx', ['--no-install', 'quipu-guest', 'build'], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^account\.wasm: account 1\.2\.0, /);

  const component = await load(path.join(folder, 'account.wasm'));
  t.after(component.remove);
  const { decider } = await component.start();
  assert.equal(decider.Aggregate.open('1', undefined).view(), '{"balance":0,"owner":null}');

  const program = "import { decider } from '@quipu/guest'; import { given } from '@quipu/guest/testing'; console.log(typeof decider, typeof given);";
  writeFileSync(path.join(folder, 'use.mjs'), program);
  assert.equal(spawnSync(process.execPath, ['use.mjs'], { cwd: folder, encoding: 'utf8' }).stdout, 'function function\n');
});

test('the tools that a build depends on are pinned', () => {
  const { dependencies } = JSON.parse(readFileSync(path.join(SDK, 'package.json'), 'utf8'));
  for (const [name, version] of Object.entries(dependencies)) assert.match(version, /^\d+\.\d+\.\d+$/, name);
  assert.deepEqual(Object.keys(dependencies), ['componentize-qjs', 'esbuild']);
});
