//! Tokens of a store that is closed.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::{self, StoredToken, TokenStore};

/// Tokens as they were read once. Nothing can change them.
pub struct Fixed(pub Vec<StoredToken>);

#[async_trait]
impl TokenStore for Fixed {
    async fn add(&self, _: &StoredToken) -> store::Result<bool> {
        Ok(false)
    }

    async fn revoke(&self, _: &str, _: Timestamp) -> store::Result<bool> {
        Ok(false)
    }

    async fn used(&self, _: &str, _: Timestamp) -> store::Result<()> {
        Ok(())
    }

    async fn tokens(&self) -> store::Result<Vec<StoredToken>> {
        Ok(self.0.clone())
    }
}
