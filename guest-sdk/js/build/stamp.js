// The section of a component that says what it was built from. Two builds of one source differ in
// some bytes, so a component whose source has not changed is kept.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';

const NAME = Buffer.from('quipu-guest');
const BYTES_MAX = 64 << 20;

/** Returns the digest of everything that a component is made of. */
export function sourceDigest({ code, contract, interfaces, isSmall = false, tools }) {
  const hash = createHash('sha256');
  for (const part of [code, contract, interfaces.join(), String(isSmall), JSON.stringify(tools)]) {
    hash.update(`${Buffer.byteLength(part)}:`).update(part);
  }
  return hash.digest('hex');
}

/** Adds the digest to a component. */
export function stamped(component, digest) {
  return Buffer.concat([component, section(digest)]);
}

/** Returns the component in a file that has this digest; null: there is none. */
export function kept(file, digest) {
  if (!existsSync(file) || !statSync(file).isFile() || statSync(file).size > BYTES_MAX) return null;
  const component = readFileSync(file);
  return component.subarray(-section(digest).length).equals(section(digest)) ? component : null;
}

/** A custom section: 0, its length, the length of its name, its name, the digest. */
function section(digest) {
  const content = Buffer.concat([Buffer.from([NAME.length]), NAME, Buffer.from(digest)]);
  return Buffer.concat([Buffer.from([0, content.length]), content]);
}
