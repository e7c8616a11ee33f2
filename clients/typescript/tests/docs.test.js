// The examples of the pages that use this client compile, run, and print what the pages show.

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import * as client from '../src/index.js';
import { compiler, FOLDER } from './support/compiler.js';
import { emptyFolder, startHost } from './support/host.js';

const PAGE = path.join(FOLDER, '../../docs/src/clients/typescript.md');
const REACTING = path.join(FOLDER, '../../docs/src/concepts/reacting.md');
const README = path.join(FOLDER, 'README.md');
const skip = !existsSync(PAGE) && 'not in the repository';

/** A folder with the compiled examples, in which this package is installed. */
function compiled(t, files) {
  const folder = emptyFolder(t);
  mkdirSync(path.join(folder, 'node_modules/@quipu'), { recursive: true });
  symlinkSync(FOLDER, path.join(folder, 'node_modules/@quipu/client'));
  for (const name of ['@event-driven-io', '@types', 'undici-types']) symlinkSync(path.join(FOLDER, 'node_modules', name), path.join(folder, 'node_modules', name));
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  const args = ['--strict', '--target', 'es2023', '--module', 'nodenext', '--skipLibCheck', '--pretty', 'false', '--types', 'node', ...Object.keys(files)];
  const { stdout } = spawnSync(process.execPath, [compiler(), ...args], { cwd: folder, encoding: 'utf8' });
  assert.equal(stdout, '');
  return folder;
}

/** The programs of a page: a name, the text, what it prints. */
function programsOf(page) {
  return [...page.matchAll(/<!-- run: (\w+) -->\n```ts\n([^]*?)```\n\n```text\n([^]*?)```/g)];
}

test('the examples of the pages compile, and print what they show', { skip }, async (t) => {
  const page = readFileSync(PAGE, 'utf8');
  const pages = [page, readFileSync(REACTING, 'utf8')].map(programsOf);
  const programs = pages.flat();
  const checked = [...page.matchAll(/<!-- check: (\w+) -->\n```ts\n([^]*?)```/g)].map(([, name, text]) => [`${name}.ts`, text]);
  assert.equal(checked.length, 2);
  assert.ok(programs.length >= 7, `${programs.length}`);
  const [, readme] = /```js\n([^]*?)```/.exec(readFileSync(README, 'utf8'));
  const files = Object.fromEntries(programs.map(([, name, text]) => [`${name}.ts`, text]));
  const described = readFileSync(path.join(FOLDER, 'tests/types/generated/domain.d.ts'), 'utf8');
  const folder = compiled(t, { ...files, ...Object.fromEntries(checked), 'domain.d.ts': described, 'readme.ts': readme });
  for (const programsOfPage of pages) {
    const { url } = await startHost(t);
    for (const [, name, , shown] of programsOfPage) {
      const { stdout } = await promisify(execFile)(process.execPath, [`${name}.js`], { cwd: folder, env: { ...process.env, QUIPU_URL: url } });
      assert.equal(stdout, shown, name);
    }
  }
});

test('the page names every call, option and code of the client', { skip }, () => {
  const page = readFileSync(PAGE, 'utf8');
  const calls = Object.getOwnPropertyNames(client.Quipu.prototype).filter((name) => name !== 'constructor');
  const sources = ['client.js', 'consumer.js', 'subscription.js', 'transport.js', 'filter.js', 'retry.js'];
  const text = sources.map((name) => readFileSync(path.join(FOLDER, 'src', name), 'utf8')).join('\n');
  // The lists of options in the sources, and the codes in `errors.js`.
  const options = [...text.matchAll(/\['?[^\]]*?'signal'[^\]]*\]|const \w*OPTIONS = \[[^\]]*\]/g)].flatMap(([list]) => [...list.matchAll(/'(\w+)'/g)].map(([, name]) => name));
  const codes = [...readFileSync(path.join(FOLDER, 'src/errors.js'), 'utf8').matchAll(/code: '([a-z-]+)'/g)].map(([, code]) => code);
  assert.ok(calls.length >= 12 && options.length >= 40 && codes.length === 4, `${calls.length} ${options.length} ${codes.length}`);
  const names = new Set([...Object.keys(client), ...calls, ...options, ...codes, 'attemptsMax', 'delayMs', 'delayMsMax', 'totalMsMax']);
  assert.deepEqual([...names].filter((name) => !page.includes(name)), []);
});
