//! Checks who signed a module.

use std::sync::{Arc, PoisonError, RwLock};

use super::Error;
use crate::model::{Digest, PublicKey, Signature};

/// Keys whose modules are accepted. Without any key, all modules are accepted. Cheap to clone; all
/// clones have the same keys, also after these were replaced.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    keys: Arc<RwLock<Arc<[PublicKey]>>>,
}

impl Signing {
    /// Accepts only modules that one of these keys has signed.
    pub fn by(keys: Vec<PublicKey>) -> Self {
        Self {
            keys: Arc::new(RwLock::new(keys.into())),
        }
    }

    /// Returns the keys in force.
    pub fn keys(&self) -> Arc<[PublicKey]> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    /// Replaces the keys while the host runs. Modules that are active stay active, whoever has signed
    /// them. Returns whether the keys before were others.
    pub fn replace(&self, keys: &[PublicKey]) -> bool {
        let mut in_force = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let differ = **in_force != *keys;
        if differ {
            *in_force = keys.into();
        }
        differ
    }

    /// Whether modules need a signature.
    pub fn is_demanded(&self) -> bool {
        !self.keys().is_empty()
    }

    /// Returns the key of a signature that is not accepted, if signatures are required.
    pub fn other(&self, signatures: &[Signature]) -> Option<PublicKey> {
        let keys = self.keys();
        let mut all = signatures.iter().map(|signature| signature.key);
        all.find(|key| !keys.is_empty() && !keys.contains(key))
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
        let keys = self.keys();
        let is_taken = |signature: &Signature| keys.contains(&signature.key);
        if !keys.is_empty() && !signatures.iter().any(is_taken) {
            let mut signed_by: Vec<PublicKey> = Vec::new();
            for signature in signatures {
                // A signature may be in the store and with an upload.
                if !signed_by.contains(&signature.key) {
                    signed_by.push(signature.key);
                }
            }
            return Err(Error::Unsigned {
                module: digest,
                signed_by,
            });
        }
        Ok(())
    }
}
