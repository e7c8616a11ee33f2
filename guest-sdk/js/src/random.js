// Random numbers from the seed of a command: the key stream of ChaCha20 (RFC 8439) under a key
// made from the seed.

const TWO_POW_32 = 2 ** 32;
const TWO_POW_64 = 2 ** 64;

/** A stream of random bytes that is the same for the same key. */
export class Random {
  #key;
  #block = null;
  #counter = 0;
  #used = 64;

  /** `key` is eight words of 32 bits. */
  constructor(key) {
    this.#key = key;
  }

  /** Returns the next 32 bits as a number. */
  word() {
    if (this.#used === 64) {
      this.#block = chacha20(this.#key, this.#counter, [0, 0, 0]);
      this.#counter += 1;
      this.#used = 0;
    }
    const word = this.#block[this.#used / 4];
    this.#used += 4;
    return word;
  }

  /** Returns a number from 0 to less than 1, with 53 random bits. */
  fraction() {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Returns a UUID of version 4. */
  uuid() {
    const words = [this.word(), this.word(), this.word(), this.word()];
    words[1] = (words[1] & 0xffff0fff) | 0x4000;
    words[2] = (words[2] & 0x3fffffff) | 0x80000000;
    const hex = words.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }
}

/**
 * Returns the key of a seed: for each of its four words the two halves of the nearest double. The
 * engine passes a word as a double, so 53 of its 64 bits arrive.
 */
export function keyOf(seed) {
  return seed.flatMap((word) => {
    const value = seedWord(word);
    return [Math.floor(value / TWO_POW_32) % TWO_POW_32, value % TWO_POW_32];
  });
}

/** Returns a word of a seed as a double from 0 to 2^64. The engine may pass it as negative. */
export function seedWord(word) {
  const value = Number(word);
  return value < 0 ? value + TWO_POW_64 : value;
}

/** Returns one block of 16 words. */
export function chacha20(key, counter, nonce) {
  const start = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, ...key, counter, ...nonce];
  const state = Uint32Array.from(start);
  const x = state.slice();
  for (let round = 0; round < 10; round += 1) {
    for (let column = 0; column < 4; column += 1) {
      quarter(x, column, 4 + column, 8 + column, 12 + column);
    }
    for (let column = 0; column < 4; column += 1) {
      quarter(x, column, 4 + ((column + 1) & 3), 8 + ((column + 2) & 3), 12 + ((column + 3) & 3));
    }
  }
  return x.map((word, index) => word + state[index]);
}

function quarter(x, a, b, c, d) {
  x[a] += x[b];
  x[d] = rotate(x[d] ^ x[a], 16);
  x[c] += x[d];
  x[b] = rotate(x[b] ^ x[c], 12);
  x[a] += x[b];
  x[d] = rotate(x[d] ^ x[a], 8);
  x[c] += x[d];
  x[b] = rotate(x[b] ^ x[c], 7);
}

function rotate(word, bits) {
  return (word << bits) | (word >>> (32 - bits));
}
