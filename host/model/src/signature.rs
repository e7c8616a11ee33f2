use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Invalid;

/// Prefix of a signature's text.
const ALGORITHM: &str = "ed25519";

/// An ed25519 public key, displayed as base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A detached ed25519 signature (RFC 8032) of a component's bytes.
///
/// It is displayed as `ed25519` followed by the public key and the signature, both in base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Public key of the signer.
    pub key: PublicKey,
    /// The signature.
    pub bytes: [u8; 64],
}

impl Signature {
    /// Whether this is a valid signature of these bytes.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.bytes);
        ed25519_dalek::VerifyingKey::from_bytes(&self.key.0)
            .is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let key = decoded(text).map(Self);
        let of = |key: &Self| ed25519_dalek::VerifyingKey::from_bytes(&key.0).ok();
        let known = key.and_then(|key| Some((key, of(&key)?)));
        match known {
            Some((_, verifying)) if verifying.is_weak() => Err(Invalid(format!(
                "key {text:?}: it is weak, anybody can sign for it; `quipu key` makes another one"
            ))),
            Some((key, _)) => Ok(key),
            None => Err(Invalid(format!(
                "key {text:?}: the 32 bytes of an ed25519 public key in base64"
            ))),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = STANDARD.encode(self.bytes);
        write!(f, "{ALGORITHM} {} {bytes}", self.key)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Signature {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid(format!(
                "a signature is {ALGORITHM}, the public key and the signature, both in base64, \
                 with a space between them: `quipu sign` writes it"
            ))
        };
        let mut parts = text.split_ascii_whitespace();
        let (algorithm, key, bytes) = (parts.next(), parts.next(), parts.next());
        let (Some(ALGORITHM), Some(key), Some(bytes), None) = (algorithm, key, bytes, parts.next())
        else {
            return Err(wrong());
        };
        Ok(Self {
            key: key.parse()?,
            bytes: decoded(bytes).ok_or_else(wrong)?,
        })
    }
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn signed(bytes: &[u8]) -> Signature {
        let key = SigningKey::from_bytes(&[7; 32]);
        Signature {
            key: PublicKey(key.verifying_key().to_bytes()),
            bytes: key.sign(bytes).to_bytes(),
        }
    }

    #[test]
    fn a_signature_comes_back_from_its_text_and_fits_only_its_bytes() {
        let signature = signed(b"component");
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert!(signature.is_of(b"component"));
        assert!(!signature.is_of(b"componenT"));
        let other = Signature {
            key: PublicKey(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes()),
            ..signature
        };
        assert!(!other.is_of(b"component"));
    }

    /// Keys of small order: one signature fits every component.
    #[test]
    fn a_weak_key_is_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for bytes in [[0; 32], one] {
            let text = STANDARD.encode(bytes);
            let refused = text.parse::<PublicKey>().unwrap_err();
            assert!(refused.0.contains("it is weak"), "{refused}");
        }
        let good = signed(b"x").key;
        assert_eq!(good.to_string().parse(), Ok(good));
    }

    #[test]
    fn a_text_that_is_no_signature_is_refused() {
        let text = signed(b"x").to_string();
        let other = text.replace("ed25519", "rsa");
        for wrong in ["", "ed25519", &other, &format!("{text} more"), &text[..40]] {
            assert!(wrong.parse::<Signature>().is_err(), "{wrong}");
        }
    }
}
