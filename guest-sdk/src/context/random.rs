use super::chacha::block;

/// Random numbers that are the same on every retry of a command: see
/// [`Context::random`](crate::Context::random).
///
/// The numbers are the key stream of ChaCha20 (RFC 8439), with the seed as the key. They never
/// change between versions of this crate, because recorded decisions depend on them.
///
/// ```
/// use quipu_guest::Random;
///
/// let mut random = Random::new([1, 2, 3, 4]);
/// let mut deck = ["ace", "king", "queen"];
/// random.shuffle(&mut deck);
/// let wins = random.chance(1, 6);
/// # let _ = wins;
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    seed: [u64; 4],
    number: u32,
    /// The number of the next block.
    counter: u32,
    block: [u32; 16],
    /// How many words of the block have been used.
    used: usize,
}

/// The first word of the nonce, which separates these numbers from those of UUIDs.
const PURPOSE: u32 = 2;

impl Random {
    /// Returns the first generator of a seed, for tests of functions that take one.
    pub fn new(seed: [u64; 4]) -> Self {
        Random::numbered(seed, 0)
    }

    pub(super) fn numbered(seed: [u64; 4], number: u32) -> Self {
        let block = [0; 16];
        Random {
            seed,
            number,
            counter: 0,
            used: block.len(),
            block,
        }
    }

    /// Returns 64 random bits.
    pub fn u64(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.block = block(self.seed, self.counter, [PURPOSE, self.number, 0]);
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let low = self.block[self.used];
        let high = self.block[self.used + 1];
        self.used += 2;
        u64::from(high) << 32 | u64::from(low)
    }

    /// Returns a number from 0 to `bound - 1`, each with the same probability. 0 when the bound is
    /// 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiply and shift. The low half is rejected while it would favour some results.
        let mut product = u128::from(self.u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// Returns true in `numerator` of `denominator` cases. Never when the denominator is 0, always
    /// when the numerator is not smaller.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        denominator > 0 && self.below(denominator) < numerator
    }

    /// Returns one of the elements, each with the same probability; none of no elements.
    pub fn pick<'a, T>(&mut self, elements: &'a [T]) -> Option<&'a T> {
        elements.get(self.below(elements.len() as u64) as usize)
    }

    /// Puts the elements into a random order, each order with the same probability.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for last in (1..elements.len()).rev() {
            let chosen = self.below(last as u64 + 1) as usize;
            elements.swap(last, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u64; 4] = [1, 2, 3, u64::MAX];

    /// Recorded decisions depend on these values: they must never change.
    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut random = Random::new(SEED);
        let numbers: Vec<_> = (0..9).map(|_| random.u64()).collect();
        let expected = [
            6_730_408_475_723_047_303,
            58_755_301_272_954_675,
            166_242_521_036_050_966,
            8_027_956_439_826_834_737,
            10_309_714_546_030_864_691,
            916_752_024_782_771_801,
            11_012_810_931_890_814_324,
            8_331_293_089_247_249_760,
            2_464_932_753_404_049_129,
        ];
        assert_eq!(numbers, expected);
        let mut random = Random::new(SEED);
        let dice: Vec<_> = (0..20).map(|_| random.below(6)).collect();
        assert_eq!(
            dice,
            [2, 0, 0, 2, 3, 0, 3, 2, 0, 2, 0, 5, 0, 4, 1, 3, 5, 1, 0, 4]
        );
        // Just above half of all numbers, where almost half of the drawn ones are rejected.
        let bound = (1 << 63) + 1;
        let mut random = Random::new(SEED);
        let large: Vec<_> = (0..4).map(|_| random.below(bound)).collect();
        let expected = [
            3_365_204_237_861_523_651,
            29_377_650_636_477_337,
            4_013_978_219_913_417_368,
            458_376_012_391_385_900,
        ];
        assert_eq!(large, expected);
        let mut random = Random::new(SEED);
        let coins: Vec<_> = (0..12).map(|_| u8::from(random.chance(1, 3))).collect();
        assert_eq!(coins, [0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0]);
        let mut deck: Vec<u8> = (0..10).collect();
        Random::new(SEED).shuffle(&mut deck);
        assert_eq!(deck, [5, 4, 1, 2, 7, 6, 9, 8, 0, 3]);
    }

    #[test]
    fn every_number_below_the_bound_is_as_frequent() {
        let mut random = Random::new(SEED);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        // The standard deviation is 91.
        assert!(
            counts.iter().all(|it| it.abs_diff(10_000) < 600),
            "{counts:?}"
        );
    }

    #[test]
    fn every_order_is_as_frequent() {
        let mut random = Random::new(SEED);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let mut order = [0, 1, 2];
            random.shuffle(&mut order);
            *counts.entry(order).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|it| it.abs_diff(10_000) < 600),
            "{counts:?}"
        );
    }

    #[test]
    fn bounds_of_zero_and_one_have_one_result() {
        let mut random = Random::new(SEED);
        assert_eq!((random.below(0), random.below(1)), (0, 0));
        assert!(!random.chance(1, 0));
        assert!(!random.chance(0, 5));
        assert!(random.chance(5, 5));
        assert_eq!(random.pick::<u8>(&[]), None);
        assert_eq!(random.pick(&[7]), Some(&7));
        random.shuffle::<u8>(&mut []);
    }
}
