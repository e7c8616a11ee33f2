//! The block function of ChaCha20, as RFC 8439 specifies it.
//!
//! A plain mixing function would do for ids, but its outputs reveal its state. With ChaCha20 an id
//! that callers see says nothing about a random number that they must not know.

/// "expand 32-byte k" as four words.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

const DOUBLE_ROUNDS: usize = 10;

/// The words that one double round combines: four columns, then four diagonals.
const QUARTERS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// Returns 512 bits of the key stream. The key is the seed, its words in little-endian order.
pub(super) fn block(seed: [u64; 4], counter: u32, nonce: [u32; 3]) -> [u32; 16] {
    let mut input = [0; 16];
    input[..4].copy_from_slice(&CONSTANTS);
    for (index, word) in seed.into_iter().enumerate() {
        input[4 + 2 * index] = word as u32;
        input[5 + 2 * index] = (word >> 32) as u32;
    }
    input[12] = counter;
    input[13..].copy_from_slice(&nonce);
    let mut state = input;
    for _ in 0..DOUBLE_ROUNDS {
        for quarter in QUARTERS {
            quarter_round(&mut state, quarter);
        }
    }
    for (word, input) in state.iter_mut().zip(input) {
        *word = word.wrapping_add(input);
    }
    state
}

fn quarter_round(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    for (bits_d, bits_b) in [(16, 12), (8, 7)] {
        state[a] = state[a].wrapping_add(state[b]);
        state[d] = (state[d] ^ state[a]).rotate_left(bits_d);
        state[c] = state[c].wrapping_add(state[d]);
        state[b] = (state[b] ^ state[c]).rotate_left(bits_b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8439, section 2.3.2.
    #[test]
    fn the_block_function_is_that_of_the_rfc() {
        let bytes: [u8; 32] = std::array::from_fn(|index| index as u8);
        let word = |index: usize| bytes[8 * index..8 * index + 8].iter().rev();
        let seed = std::array::from_fn(|index| {
            word(index).fold(0, |word, byte| word << 8 | u64::from(*byte))
        });
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ];
        assert_eq!(block(seed, 1, [0x0900_0000, 0x4a00_0000, 0]), expected);
    }
}
