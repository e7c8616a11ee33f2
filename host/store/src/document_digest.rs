//! The digest of a stored document.
//!
//! It is the BLAKE3 digest of these parts. Numbers have 8 bytes, the most significant one first. A
//! text follows its length, which is such a number.
//!
//! | part | content |
//! | --- | --- |
//! | format | one byte, 1 |
//! | build | number |
//! | key | text |
//! | change | number |
//! | document | one byte: 0 for a deleted document, else 1 and the text |
//!
//! It shows a document that was changed or inserted by hand, without a guest. It does not show one
//! that was removed: a digest over all documents of a build would be one row that every commit of an
//! inline projection has to change. A fold from the first event shows that.

use super::DocumentWrite;
use quipu_model::Digest;

/// The first byte of what is hashed. Another form takes the next number.
const FORMAT: u8 = 1;

/// Returns the digest of a document; the build is a number in a store.
pub fn document_digest(build: u64, key: &str, document: Option<&str>, change: u64) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[FORMAT]);
    hasher.update(&build.to_be_bytes());
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key.as_bytes());
    hasher.update(&change.to_be_bytes());
    match document {
        Some(document) => {
            hasher.update(&[1]);
            hasher.update(&(document.len() as u64).to_be_bytes());
            hasher.update(document.as_bytes());
        }
        None => {
            hasher.update(&[0]);
        }
    }
    Digest(hasher.finalize().into())
}

impl DocumentWrite {
    /// Returns the digest that is stored with it.
    pub(super) fn digest(&self) -> Digest {
        let document = self.document.as_deref();
        document_digest(self.build.0, &self.key, document, self.change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_document_never_changes() {
        let digest = document_digest(7, "a", Some("{\"n\":1}"), 12);
        assert_eq!(digest.to_string(), DIGEST);
    }

    #[test]
    fn every_part_changes_the_digest() {
        let mut all = vec![
            document_digest(7, "a", Some("{}"), 12),
            document_digest(8, "a", Some("{}"), 12),
            document_digest(7, "b", Some("{}"), 12),
            document_digest(7, "a", Some("[]"), 12),
            document_digest(7, "a", Some(""), 12),
            document_digest(7, "a", None, 12),
            document_digest(7, "a", Some("{}"), 13),
        ];
        let count = all.len();
        all.sort_unstable_by_key(|digest| digest.0);
        all.dedup();
        assert_eq!(all.len(), count);
    }

    const DIGEST: &str = "1621829fd20d829714f7826487b0c42ed54821a4c70c2679f52031b7c229b054";
}
