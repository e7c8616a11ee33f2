//! Keys that sign components, by number.

use ed25519_dalek::{Signer, SigningKey};
use quipu::model::{PublicKey, Signature};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The public key of this number.
pub fn public(number: u8) -> PublicKey {
    PublicKey(key(number).verifying_key().to_bytes())
}

/// The signature of some bytes by the key of this number.
pub fn signed(number: u8, bytes: &[u8]) -> Signature {
    Signature {
        key: public(number),
        bytes: key(number).sign(bytes).to_bytes(),
    }
}
