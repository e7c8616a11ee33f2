//! The text of a token: `qp_ID_SECRET_CHECK`.
//!
//! The id finds the token. The secret has 256 random bits, and only its hash is stored. The check
//! distinguishes a mistyped token from a revoked one, and scanners for leaked secrets look for it.

use std::borrow::Cow;
use std::fmt;

use rand::RngCore;
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "qp";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// A token's text. It is shown once, to the one who makes the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The parts of a token that the store has.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    pub id: Box<str>,
    pub hash: [u8; 32],
}

impl Secret {
    /// A new token.
    pub(super) fn random() -> (Self, Parts) {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        let (id, secret) = bytes.split_at(ID_BYTES);
        let (id, secret) = (hex(id), hex(secret));
        let check = check(&id, &secret);
        let parts = Parts {
            hash: hash(&secret),
            id: id.as_str().into(),
        };
        (Self(format!("{PREFIX}_{id}_{secret}_{check}")), parts)
    }

    /// The text, to be given to the caller.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Reads a token. None when it is not one, or was mistyped.
pub fn read(text: &str) -> Option<Parts> {
    let mut parts = text.split('_');
    let mut part = || parts.next();
    let (prefix, id, secret, given) = (part()?, part()?, part()?, part()?);
    let is_whole = part().is_none()
        && prefix == PREFIX
        && id.len() == 2 * ID_BYTES
        && secret.len() == 2 * SECRET_BYTES;
    (is_whole && given == check(id, secret)).then(|| Parts {
        id: id.into(),
        hash: hash(secret),
    })
}

/// Whether a text is a token of some store, as far as the text shows.
pub fn is_token(text: &str) -> bool {
    read(text).is_some()
}

/// A text without the secrets of tokens in it.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let start = format!("{PREFIX}_");
    let (mut rest, mut shown) = (text, String::new());
    while let Some(at) = rest.find(&start) {
        let (before, found) = rest.split_at(at);
        let id = found.get(..start.len() + 2 * ID_BYTES).unwrap_or(found);
        shown.push_str(before);
        shown.push_str(id);
        let after = &found[id.len()..];
        let secret = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if secret.len() < after.len() {
            shown.push_str("***");
        }
        rest = secret;
    }
    let shown = match shown.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(shown + rest),
    };
    without_web_tokens(shown)
}

/// A text without JSON web tokens, which begin with `{"` in base64.
fn without_web_tokens(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let Some(at) = text.find("eyJ") else {
        return text;
    };
    let (before, found) = text.split_at(at);
    let after = found.trim_start_matches(is_part);
    let token = &found[..found.len() - after.len()];
    let rest = without_web_tokens(Cow::Borrowed(after));
    match token.contains('.') {
        true => Cow::Owned(format!("{before}eyJ***{rest}")),
        false => Cow::Owned(format!("{before}{token}{rest}")),
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn check(id: &str, secret: &str) -> String {
    let digest = Sha256::digest(format!("{PREFIX}_{id}_{secret}"));
    hex(&digest[..CHECK_BYTES])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_a_mistyped_one_is_not() {
        let (secret, parts) = Secret::random();
        let text = secret.reveal();
        assert_eq!(read(text), Some(parts));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        for (at, _) in text.char_indices() {
            let mut wrong: Vec<u8> = text.bytes().collect();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(read(&wrong), None, "{at}");
            assert_eq!(read(&text[..at]), None, "{at}");
        }
        assert_eq!(read(&format!("{text}_")), None);
        assert_eq!(read(&format!(" {text}")), None);
        assert_eq!(read(&text.to_uppercase()), None);
    }

    #[test]
    fn a_text_is_shown_without_secrets() {
        let (secret, parts) = Secret::random();
        let text = format!("/v1/tokens/{}/x?{0}", secret.reveal());
        let shown = format!("/v1/tokens/qp_{0}***/x?qp_{0}***", parts.id);
        assert_eq!(redacted(&text), shown);
        for plain in ["", "/v1/tokens/shop", "qp", "qp_", "qp_é", "a_qp_b"] {
            assert_eq!(redacted(plain), plain);
        }
    }

    #[test]
    fn a_text_is_shown_without_web_tokens() {
        let text = "/v1/tokens/eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln/x eyJust a word";
        assert_eq!(redacted(text), "/v1/tokens/eyJ***/x eyJust a word");
    }
}
