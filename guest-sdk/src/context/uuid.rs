use std::fmt;
use std::str::FromStr;

use super::ParseError;
use super::chacha::block;
use super::parse::as_string;

/// A UUID (RFC 9562). Its text, also in JSON, is the usual one in lower case:
/// `f81d4fae-7dec-41d0-a765-00a0c91e6bf6`.
///
/// ```
/// use quipu_guest::Uuid;
///
/// let id: Uuid = "F81D4FAE-7DEC-41D0-A765-00A0C91E6BF6".parse()?;
/// assert_eq!(id.to_string(), "f81d4fae-7dec-41d0-a765-00a0c91e6bf6");
/// assert_eq!(Uuid::from_u128(id.as_u128()), id);
/// # Ok::<(), quipu_guest::ParseError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

/// The first word of the nonce, which separates UUIDs from other random numbers.
const PURPOSE: u32 = 1;

/// The places of the hyphens in the text.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

const EXPECTED: &str = "a UUID such as f81d4fae-7dec-41d0-a765-00a0c91e6bf6";

impl Uuid {
    /// Makes a UUID of its 128 bits, of which the highest comes first in the text.
    pub const fn from_u128(bits: u128) -> Self {
        Uuid(bits)
    }

    /// Returns the 128 bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Returns the UUID of version 4 with that number.
    pub(super) fn from_seed(seed: [u64; 4], number: u32) -> Self {
        let words = block(seed, 0, [PURPOSE, number, 0]);
        let bits = words[..4]
            .iter()
            .fold(0, |bits, word| bits << 32 | u128::from(word.swap_bytes()));
        let version = 0xf << 76;
        let variant = 0b11 << 62;
        Uuid(bits & !version & !variant | 4 << 76 | 0b10 << 62)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, bits: u32| self.0 >> shift & ((1 << bits) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 32),
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, EXPECTED);
        if text.len() != 36 {
            return Err(error());
        }
        let mut bits = 0;
        for (index, byte) in text.bytes().enumerate() {
            if HYPHENS.contains(&index) {
                if byte != b'-' {
                    return Err(error());
                }
                continue;
            }
            let digit = char::from(byte).to_digit(16).ok_or_else(error)?;
            bits = bits << 4 | u128::from(digit);
        }
        Ok(Uuid(bits))
    }
}

as_string!(Uuid, "a UUID");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_version_4_and_the_variant_of_the_rfc() {
        for number in 0..1_000 {
            let text = Uuid::from_seed([9, 8, 7, 6], number).to_string();
            assert_eq!(&text[14..15], "4", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
            assert_eq!(text.parse::<Uuid>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_uuid_is_named() {
        for text in [
            "",
            "f81d4fae7dec41d0a76500a0c91e6bf6",
            "f81d4fae-7dec-41d0-a765-00a0c91e6bfg",
            "f81d4fae-7dec-41d0-a765+00a0c91e6bf6",
            "+81d4fae-7dec-41d0-a765-00a0c91e6bf6",
            "é1d4fae-7dec-41d0-a765-00a0c91e6bf6",
        ] {
            let error = text.parse::<Uuid>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?}: expected {EXPECTED}"));
        }
        let error = serde_json::from_str::<Uuid>("1").unwrap_err().to_string();
        assert!(error.contains("expected a UUID"), "{error}");
    }

    #[test]
    fn json_is_the_text() {
        let id = Uuid::from_u128(1);
        let json = r#""00000000-0000-0000-0000-000000000001""#;
        assert_eq!(serde_json::to_string(&id).unwrap(), json);
        assert_eq!(serde_json::from_str::<Uuid>(json).unwrap(), id);
    }
}
