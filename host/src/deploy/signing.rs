//! Whose modules are taken.

use super::Error;
use crate::model::{Digest, PublicKey, Signature};

/// Keys of those whose modules are taken; without any, everybody's are.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    keys: Vec<PublicKey>,
}

impl Signing {
    /// Takes modules that one of these has signed.
    pub fn by(keys: Vec<PublicKey>) -> Self {
        Self { keys }
    }

    /// Whether a module needs a signature.
    pub fn is_demanded(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The keys of signatures that say nothing to a host which demands one; none where none is
    /// demanded.
    pub fn others<'a>(&'a self, signatures: &'a [Signature]) -> impl Iterator<Item = PublicKey> {
        let all = signatures.iter().map(|signature| signature.key);
        all.filter(|key| self.is_demanded() && !self.keys.contains(key))
    }

    /// Checks the signatures of a component.
    ///
    /// # Errors
    /// When one does not fit the bytes, or none is by a key that is taken.
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
