//! Checks who signed a module.

use super::Error;
use crate::model::{Digest, PublicKey, Signature};

/// Keys whose modules are accepted. Without any key, all modules are accepted.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    keys: Vec<PublicKey>,
}

impl Signing {
    /// Accepts only modules that one of these keys has signed.
    pub fn by(keys: Vec<PublicKey>) -> Self {
        Self { keys }
    }

    /// Whether modules need a signature.
    pub fn is_demanded(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Returns the keys of signatures that are not accepted, if signatures are required.
    pub fn others<'a>(&'a self, signatures: &'a [Signature]) -> impl Iterator<Item = PublicKey> {
        let all = signatures.iter().map(|signature| signature.key);
        all.filter(|key| self.is_demanded() && !self.keys.contains(key))
    }

    /// Checks the signatures of a component.
    ///
    /// # Errors
    /// When a signature does not match the bytes, or none is by an accepted key.
    pub fn check(
        &self,
        digest: Digest,
        bytes: &[u8],
        signatures: &[Signature],
    ) -> Result<(), Error> {
        if let Some(wrong) = signatures.iter().find(|signature| !signature.is_of(bytes)) {
            return Err(Error::WrongSignature {
                module: digest,
                key: wrong.key,
            });
        }
        let is_taken = |signature: &Signature| self.keys.contains(&signature.key);
        if self.is_demanded() && !signatures.iter().any(is_taken) {
            return Err(Error::Unsigned {
                module: digest,
                signed_by: signatures.iter().map(|signature| signature.key).collect(),
            });
        }
        Ok(())
    }
}
