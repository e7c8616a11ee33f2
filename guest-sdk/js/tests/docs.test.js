// The examples of the page about this SDK are a project that passes its tests and builds.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { compilerOf } from '../build/types.js';
import { project, run, SDK } from './support/project.js';

const PAGE = fileURLToPath(new URL('../../../docs/src/guests/javascript.md', import.meta.url));
const skip = !existsSync(PAGE) && 'not in the repository';

test('the files of the page are tested, checked and built, with the output that it shows', { skip }, (t) => {
  const page = readFileSync(PAGE, 'utf8');
  const found = [...page.matchAll(/<!-- file: (\S+) -->\n```ts\n([^]*?)```/g)];
  assert.ok(found.length >= 5);
  const files = Object.fromEntries(found.map(([, name, text]) => [name, text]));
  const folder = project(t, { ...files, 'package.json': '{"name":"bank","version":"1.0.0"}' }, { hasTypescript: true });
  mkdirSync(path.join(folder, 'node_modules/@types'));
  symlinkSync(path.join(SDK, 'node_modules/@types/node'), path.join(folder, 'node_modules/@types/node'));

  const args = ['--noEmit', '--strict', '--target', 'es2023', '--module', 'esnext', '--moduleResolution', 'bundler', '--pretty', 'false', '--types', 'node'];
  const checked = spawnSync(process.execPath, [compilerOf(SDK), ...args, ...Object.keys(files)], { cwd: folder, encoding: 'utf8' });
  assert.equal(checked.stdout, '');

  const tested = run(folder, 'test', '--no-check');
  assert.equal(tested.status, 0, tested.stdout + tested.stderr);
  const shown = /\$ npx quipu-guest build\n([^]*?)```/.exec(page)[1];
  const built = run(folder, 'build');
  assert.equal(built.status, 0, built.stderr);
  assert.equal(built.stdout.replace(/, \d+\.\d\d MiB/, ', …'), shown);
  assert.equal(run(folder, 'build', '--entry', 'src/views.ts').status, 0);
});

test('the page names every builder, option, member of the context and helper', { skip }, async () => {
  const page = readFileSync(PAGE, 'utf8');
  const sdk = await import('../src/index.js');
  const testing = await import('../testing/index.js');
  const { Context } = await import('../src/context.js');
  const context = Object.keys(Object.getOwnPropertyDescriptors(Context.prototype)).filter((name) => name !== 'constructor');
  const names = [
    ...Object.keys(sdk).filter((name) => !['Rejection', 'byteLength'].includes(name)),
    ...Object.keys(sdk.s).map((name) => `s.${name}`),
    ...Object.keys(testing),
    ...context,
    ...['version', 'aliases', 'unchangedSince', 'description', 'parse'],
    ...['--entry', '--out', '--small', '--json', '--no-check', '--verbose'],
  ];
  assert.deepEqual(names.filter((name) => !page.includes(name)), []);
});
