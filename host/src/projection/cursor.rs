use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::model::Invalid;

/// The value and key after which the next page of documents starts.
pub(super) struct Cursor {
    index: Option<u16>,
    value: Box<[u8]>,
    key: Arc<str>,
}

/// Longest cursor, in bytes: enough for a value and a key of maximum length, and two numbers.
const BYTES_MAX: usize = 4 << 10;

impl Cursor {
    /// Creates the cursor that continues after a document of a scan.
    pub(super) fn of(index: Option<u16>, (value, key): (Box<[u8]>, Arc<str>)) -> Self {
        Self { index, value, key }
    }

    /// Encodes the cursor as text for callers.
    pub(super) fn written(&self) -> String {
        let index = self.index.map_or(0, |index| u32::from(index) + 1);
        let length = u32::try_from(self.value.len()).unwrap_or(u32::MAX);
        let bytes = [
            &index.to_be_bytes()[..],
            &length.to_be_bytes(),
            &self.value,
            self.key.as_bytes(),
        ];
        BASE64_URL_SAFE_NO_PAD.encode(bytes.concat())
    }

    /// Decodes a cursor that a caller sent.
    pub(super) fn read(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid("the cursor is not one that a page gave".to_owned());
        if text.len() > BYTES_MAX {
            return Err(wrong());
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let (index, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (value, key) = rest.split_at_checked(length).ok_or_else(wrong)?;
        let key = std::str::from_utf8(key).map_err(|_| wrong())?;
        let index = match u32::from_be_bytes(*index).checked_sub(1) {
            None => None,
            Some(index) => Some(u16::try_from(index).map_err(|_| wrong())?),
        };
        Ok(Self {
            index,
            value: value.into(),
            key: key.into(),
        })
    }

    /// Returns the value and key after which the scan continues. The scan must use the same index.
    pub(super) fn into_start(self, index: Option<u16>) -> Result<(Box<[u8]>, Arc<str>), Invalid> {
        if self.index != index {
            let rule = "the cursor belongs to another order; begin without one";
            return Err(Invalid(rule.to_owned()));
        }
        Ok((self.value, self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for (index, value, key) in [
            (None, &b""[..], ""),
            (Some(0), &[0, 255, 7], "a/b\u{1F600}"),
            (Some(15), &[9; 1024], "k"),
        ] {
            let written = Cursor::of(index, (value.into(), key.into())).written();
            let read = Cursor::read(&written).unwrap();
            assert_eq!((&*read.value, &*read.key), (value, key));
            assert!(read.into_start(index).is_ok());
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "AAAA", "AAAAAP____8", "§", &"A".repeat(5_000)] {
            assert!(Cursor::read(text).is_err(), "{text}");
        }
    }
}
