//! Seeds of random tests: printed, and replayed by `QUIPU_SEED`.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The seeds of a random test: `usual` of them, ten times as many in the long run (`QUIPU_LONG=1`),
/// or only the one in `QUIPU_SEED`.
pub fn seeds(usual: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("QUIPU_SEED") {
        return vec![seed.parse().expect("QUIPU_SEED is a number")];
    }
    let first: u64 = rand::random::<u32>().into();
    (first..first + if is_long() { 10 * usual } else { usual }).collect()
}

/// Whether the long run of the tests is requested.
pub fn is_long() -> bool {
    std::env::var("QUIPU_LONG").is_ok_and(|it| it == "1")
}

/// Random numbers from a seed, which is printed.
pub fn random(seed: u64) -> StdRng {
    eprintln!("replay with QUIPU_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
