// Random tests name their seed when they fail; QUIPU_SEED repeats one.

/** Calls a test with random choices. */
export function choices(run) {
  const { QUIPU_SEED: given } = process.env;
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
  try {
    run(new Choices(seed));
  } catch (error) {
    error.message = `seed ${seed} (QUIPU_SEED=${seed} repeats it): ${error.message}`;
    throw error;
  }
}

class Choices {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  // The generator "mulberry32".
  fraction() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  integer(low, high) {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  pick(list) {
    return list[this.integer(0, list.length - 1)];
  }

  /** A text of any units of UTF-16, also lone surrogates. */
  text(length) {
    const unit = () => this.pick([this.integer(0, 0x7f), this.integer(0x80, 0x7ff), this.integer(0x800, 0xffff), this.integer(0xd800, 0xdfff)]);
    return String.fromCharCode(...Array.from({ length: this.integer(0, length) }, unit));
  }
}
