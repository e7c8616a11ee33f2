//! Digests of commits: what differs between the databases.

use super::dialect::Connection;
use super::tables::signed;
use crate::{AddedDigest, Result};

/// The log has no holes, except those of an import.
pub const IS_GAPLESS: bool = true;

/// An id as bytes.
macro_rules! id_bytes {
    ($id:literal) => {
        $id
    };
}
pub(super) use id_bytes;

const ADD: &str =
    "UPDATE events SET commit_digest = ?2 WHERE position = ?1 AND commit_digest IS NULL";

/// Adds digests.
pub async fn add(connection: &mut Connection, digests: &[AddedDigest]) -> Result<()> {
    for added in digests {
        let query = sqlx::query(ADD)
            .bind(signed(added.first.0))
            .bind(&added.digest.0[..]);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
