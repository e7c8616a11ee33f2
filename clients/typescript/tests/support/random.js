// Random tests print their seed; QUIPU_SEED repeats a run.

export function seedOf() {
  const seed = Number(process.env.QUIPU_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`seed ${seed}: repeat it with QUIPU_SEED=${seed}`);
  return seed;
}

/** Numbers from 0 to less than 1, by a linear congruential generator. */
export function randomOf(seed) {
  let state = BigInt(seed) + 1n;
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number(state >> 11n) / 2 ** 53;
  };
}
