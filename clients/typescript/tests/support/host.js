// A host for tests. QUIPU_PROGRAM names the program; QUIPU_COMPONENTS the folder of the example
// component account.wasm, by default guests/components next to the program's folder.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { FOLDER } from './compiler.js';

const TARGET = path.join(FOLDER, '../../target');
const PROGRAM = process.env.QUIPU_PROGRAM ?? path.join(TARGET, 'debug/quipu');
const COMPONENTS = process.env.QUIPU_COMPONENTS ?? path.join(path.dirname(PROGRAM), '../guests/components');
assert.ok(existsSync(PROGRAM), `QUIPU_PROGRAM: there is no program ${PROGRAM}; build it with cargo build --bin quipu`);

/** A folder that is removed after the test. */
export function emptyFolder(t) {
  const folder = mkdtempSync(path.join(tmpdir(), 'quipu-client-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A host on an empty store in memory, with the given components active. */
export async function startHost(t, { store = 'memory:', listen = '127.0.0.1:0', components = ['account'], config = '' } = {}) {
  const folder = emptyFolder(t);
  const file = path.join(folder, 'quipu.toml');
  writeFileSync(file, config);
  const host = new Host(store, file);
  t.after(() => host.kill());
  await host.start(listen);
  for (const name of components) await host.activate(componentOf(name));
  return host;
}

class Host {
  #store;
  #config;
  #child;

  constructor(store, config) {
    this.#store = store;
    this.#config = config;
  }

  async start(listen) {
    const args = ['serve', '--store', this.#store, '--listen', listen, '--config', this.#config];
    const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let log = '';
    child.stderr.on('data', (data) => { log = (log + data).slice(-4000); });
    this.url = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line.startsWith('ready ')) resolve(line.slice('ready '.length));
      });
      child.on('exit', () => reject(new Error(`the host ended: ${log}`)));
    });
  }

  /** Ends the process at once, as a crash does. */
  async kill() {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }

  /** Starts the host a second time on the same store and address. */
  restart() {
    return this.start(new URL(this.url).host);
  }

  async activate(component) {
    const headers = { 'Content-Type': 'application/wasm' };
    const uploaded = await this.#post('/v1/modules', headers, readFileSync(component));
    await this.#post('/v1/deployments', { 'Content-Type': 'application/json' }, JSON.stringify({ digest: uploaded.digest }));
  }

  async #post(where, headers, body) {
    const response = await fetch(this.url + where, { method: 'POST', headers, body });
    const text = await response.text();
    assert.ok(response.ok, text);
    return JSON.parse(text);
  }
}

function componentOf(name) {
  const file = path.join(COMPONENTS, `${name}.wasm`);
  assert.ok(existsSync(file), `QUIPU_COMPONENTS: there is no component ${file}; build the example guest ${name}`);
  return file;
}

/** Builds the projection `balances` of the fixtures, and returns its component. */
export function buildBalances(t) {
  const folder = emptyFolder(t);
  mkdirSync(path.join(folder, 'src'));
  cpSync(path.join(FOLDER, 'tests/fixtures/balances.ts'), path.join(folder, 'src/index.ts'));
  writeFileSync(path.join(folder, 'package.json'), '{"name":"balances","version":"1.0.0","type":"module"}');
  symlinkSync(path.join(FOLDER, 'node_modules'), path.join(folder, 'node_modules'));
  const command = path.join(FOLDER, 'node_modules/@quipu/guest/bin/quipu-guest.js');
  const { status, stderr } = spawnSync(process.execPath, [command, 'build', '--no-check', '--out', 'balances.wasm'], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return path.join(folder, 'balances.wasm');
}
