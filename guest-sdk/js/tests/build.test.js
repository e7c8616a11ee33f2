// Mistakes of authors are one clear line, with file and line where there is one.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { load } from './support/component.js';
import { project, run } from './support/project.js';

const GUEST = `import { decider, message } from '@quipu/guest';
export default decider({
  category: 'lamp',
  commands: { flip: message() },
  events: { flipped: message() },
  initial: { isOn: false },
  evolve: (state) => ({ isOn: !state.isOn }),
  decide: () => ({ type: 'flipped' }),
});
`;

/** Expects that the build fails with exactly these lines on stderr and nothing else. */
function fails(t, files, expected, { args = [], ...options } = {}) {
  const { status, stdout, stderr } = run(project(t, files, options), 'build', ...args);
  assert.deepEqual([status, stdout], [1, ''], stderr);
  const lines = stderr.trimEnd().split('\n');
  assert.equal(lines.length, expected.length, stderr);
  lines.forEach((line, index) => assert.match(line, expected[index]));
}

test('a mistake in the source is one line with its place', (t) => {
  const tool = /^the tool says more with --verbose$/;
  fails(t, { 'src/index.js': 'export default {' }, [/^error: src\/index\.js:1:17: Expected identifier but found end of file$/, tool]);
  fails(t, { 'src/index.js': "import fs from 'node:fs';\nexport default fs;" }, [/^error: src\/index\.js:1:16: node:fs is not available in a guest: it has no files, network or processes$/, tool]);
  fails(t, { 'src/index.js': "import 'lost-package';" }, [/^error: src\/index\.js:1:8: Could not resolve "lost-package"$/, tool]);
});

test('a mistake in the definition is one line with its place', (t) => {
  const tool = /^the tool says more with --verbose$/;
  fails(t, { 'src/index.js': GUEST.replace("'lamp'", "'Lamp'") }, [/^error: src\/index\.js:2: the category is "Lamp", expected 1 to 64 of a-z, 0-9 and _, beginning with a letter$/, tool]);
  fails(t, { 'src/index.js': `const at = Date.now();\n${GUEST}` }, [/^error: src\/index\.js:1: Date\.now\(\) is not available in a guest: take the time from the command: ctx\.acceptedAt$/, tool]);
  fails(t, { 'src/index.js': 'export default 7;' }, [/^error: the default export is not a guest; expected `export default decider/, tool]);
  fails(t, { 'src/index.js': 'export const guest = 7;' }, [/^error: .*default/, tool]);
  fails(t, { 'src/index.js': '\n\nnull.member;\nexport default 1;' }, [/^error: src\/index\.js:3: Cannot read properties of null/, tool]);
  fails(t, {}, [/^error: no entry in .*: expected src\/index\.ts, src\/index\.js, index\.ts, index\.js, or name it with --entry$/]);
  fails(t, {}, [/^error: lost\.ts: no such file$/], { args: ['--entry', 'lost.ts'] });
  fails(t, { 'index.js': GUEST }, [/^error: .*no\/lamp\.wasm can't be written/], { args: ['--out', 'no/lamp.wasm'] });
});

test('type errors are lines with their places, if typescript is installed', (t) => {
  const wrong = { 'src/index.ts': GUEST.replace("type: 'flipped'", "type: 'flopped'") };
  fails(t, wrong, [/^error: src\/index\.ts:8:20: TS2322: Type '"flopped"' is not assignable to type '"flipped"'\.$/], { hasTypescript: true });
  for (const [options, args] of [[{ hasTypescript: false }, []], [{ hasTypescript: true }, ['--no-check']]]) {
    const folder = project(t, wrong, options);
    assert.equal(run(folder, 'build', ...args).status, 0);
    assert.ok(existsSync(path.join(folder, 'lamp.wasm')));
  }
});

test('--verbose shows what the tool said', (t) => {
  const { stderr } = run(project(t, { 'src/index.js': '\nnull.member;' }), 'build', '--verbose');
  assert.match(stderr, /^error: src\/index\.js:2: .*\n[^]*at /);
});

test('the command line refuses what it does not know', (t) => {
  const folder = project(t, {});
  for (const [args, pattern] of [
    [['make'], /^error: unknown command "make"; expected build or test/],
    [['build', '--fast'], /^error: unknown option "--fast"/],
    [['build', '--out'], /^error: --out needs a file/],
  ]) {
    const { status, stderr } = run(folder, ...args);
    assert.equal(status, 2);
    assert.match(stderr, pattern);
  }
  assert.deepEqual([run(folder, '--help').status, run(folder).status], [0, 2]);
});

test('a small engine, a file name and a printed summary', async (t) => {
  const folder = project(t, { 'package.json': '{"version":"3.1.4","type":"module"}', 'guest.js': GUEST });
  const { status, stdout, stderr } = run(folder, 'build', '--small', '--entry=guest.js', '--out', 'small.wasm');
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^small\.wasm: lamp 3\.1\.4, \d\.\d\d MiB\nexports: manifest, decider\nimports: diagnostics\ncommands: flip\nevents: flipped\n$/);
  const component = await load(path.join(folder, 'small.wasm'));
  t.after(component.remove);
  const { manifest, ...others } = await component.start();
  assert.deepEqual([manifest.describe().version, Object.keys(others)], ['3.1.4', ['decider']]);
});

test('a component is kept as long as its source is the same', (t) => {
  const folder = project(t, { 'index.js': GUEST });
  const bytes = (...args) => {
    assert.equal(run(folder, 'build', ...args).status, 0);
    return readFileSync(path.join(folder, 'lamp.wasm'));
  };
  const first = bytes();
  assert.ok(first.equals(bytes()));
  const small = bytes('--small');
  assert.ok(!first.equals(small));
  writeFileSync(path.join(folder, 'index.js'), GUEST.replace('isOn: false', 'isOn: true'));
  assert.ok(!small.equals(bytes('--small')));
});

test('components without a decider have only what they export', async (t) => {
  const sources = {
    'views.js': `import { every, projection, projections } from '@quipu/guest';
      const all = projection({ name: 'all', sources: { '*': every }, keys: (event) => event.stream, apply: () => ({}) });
      export default projections('account-views', all, { version: '1.0.0' });`,
    'steps.js': `import { lift, upcaster, upcasters } from '@quipu/guest';
      export default upcasters('account-steps', upcaster({ category: 'account', steps: [lift('a', 1).drop()] }), { version: '1.0.0' });`,
  };
  const folder = project(t, sources);
  for (const [entry, name, exported] of [['views.js', 'account-views', 'projection'], ['steps.js', 'account-steps', 'upcaster']]) {
    const { status, stdout, stderr } = run(folder, 'build', '--entry', entry, '--json');
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(stdout).exports, ['manifest', exported]);
    const component = await load(path.join(folder, `${name}.wasm`));
    t.after(component.remove);
    const { manifest, ...others } = await component.start();
    assert.deepEqual([manifest.describe().name, Object.keys(others)], [name, [exported]]);
  }
});

test('quipu-guest test runs tests in TypeScript', (t) => {
  const files = (expected) => ({
    'src/index.ts': GUEST,
    'tests/lamp.test.ts': `import { test } from 'node:test';
      import { given } from '@quipu/guest/testing';
      import lamp from '../src/index.ts';
      const type: string = 'flip';
      test('a lamp is flipped', () => { given(lamp).when({ type: type as 'flip' }).then({ type: '${expected}' as 'flipped' }); });`,
  });
  assert.equal(run(project(t, files('flipped')), 'test').status, 0);
  const failed = run(project(t, files('flopped')), 'test');
  assert.equal(failed.status, 1);
  assert.match(failed.stdout, /other events than expected/);
  assert.match(run(project(t, {}), 'test').stderr, /^error: no tests: expected \*\.test\.ts or \*\.test\.js in tests, test, src/);
});
