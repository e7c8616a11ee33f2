//! Tokens of callers.

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connections};
use super::signed;
use crate::{Error, Result, StoredToken, TOKENS_MAX, TokenStore};
use quipu_model::Timestamp;

const ADD: &str = "INSERT INTO tokens \
         (id, name, hash, granted, created_at, created_by, expires_at, revoked_at, used_at) \
     SELECT $1, $2, $3, $4, $5, $6, $7, NULL, NULL \
     WHERE $8 > (SELECT count(*) FROM tokens \
             WHERE revoked_at IS NULL AND coalesce(expires_at, $5 + 1) > $5) \
         AND NOT EXISTS (SELECT 1 FROM tokens WHERE id = $1 \
             OR name = $2 AND revoked_at IS NULL AND coalesce(expires_at, $5 + 1) > $5)";
/// Old tokens that were revoked or have expired make room: the newest of them stay, at least one for
/// ever.
const CLEAR: &str = "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens \
         WHERE coalesce(revoked_at, expires_at, $2 + 1) <= $2 \
         ORDER BY coalesce(revoked_at, expires_at) DESC, id LIMIT 1000 OFFSET $1)";
const REVOKE: &str = "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const USED: &str = "UPDATE tokens SET used_at = $2 WHERE id = $1 AND coalesce(used_at, 0) < $2";
const LIST: &str = "SELECT id, name, hash, granted, created_at, created_by, expires_at, \
         revoked_at, used_at \
     FROM tokens ORDER BY created_at, id";

/// Each change but the time of the last use waits for the disk.
pub struct Tokens(pub Connections);

from_row!(StoredToken, |row| Ok(StoredToken {
    id: row.cell::<&str>("id")?.into(),
    name: row.cell::<&str>("name")?.into(),
    hash: row
        .cell::<&[u8]>("hash")?
        .try_into()
        .map_err(|_| Error::Damaged("the hash of a token does not have 32 bytes".to_owned()))?,
    grant: row.cell::<&str>("granted")?.into(),
    created_at: Timestamp(row.number("created_at")?),
    created_by: row.maybe_text("created_by")?,
    expires_at: row.maybe_number("expires_at")?.map(Timestamp),
    revoked_at: row.maybe_number("revoked_at")?.map(Timestamp),
    used_at: row.maybe_number("used_at")?.map(Timestamp),
}));

#[async_trait]
impl TokenStore for Tokens {
    async fn add(&self, token: &StoredToken) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        dialect::lock_tokens(&mut writing).await?;
        let clear = sqlx::query(CLEAR)
            .bind(signed(TOKENS_MAX as u64))
            .bind(signed(token.created_at.0));
        clear.execute(&mut *writing).await?;
        let add = sqlx::query(ADD)
            .bind(&*token.id)
            .bind(&*token.name)
            .bind(&token.hash[..])
            .bind(&*token.grant)
            .bind(signed(token.created_at.0))
            .bind(token.created_by.as_deref())
            .bind(token.expires_at.map(|at| signed(at.0)))
            .bind(signed(TOKENS_MAX as u64));
        let done = add.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn revoke(&self, id: &str, at: Timestamp) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        let revoke = sqlx::query(REVOKE).bind(id).bind(signed(at.0));
        let done = revoke.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn used(&self, id: &str, at: Timestamp) -> Result<()> {
        let used = sqlx::query(USED).bind(id).bind(signed(at.0));
        self.0.execute(used).await?;
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>> {
        Ok(sqlx::query_as(LIST).fetch_all(self.0.pool()).await?)
    }
}
