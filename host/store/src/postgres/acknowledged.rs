//! Findings that an operator has acknowledged.

use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use crate::{
    ACKNOWLEDGED_MAX, ACKNOWLEDGED_PAGE_MAX, Acknowledgement, AcknowledgementStore, Result,
};
use quipu_model::Timestamp;

/// Hosts that acknowledge at once must not pass the bound together. Readers go on.
const LOCK: &str = "LOCK TABLE acknowledged_findings IN SHARE ROW EXCLUSIVE MODE";
const ACKNOWLEDGE: &str = "INSERT INTO acknowledged_findings (finding, reason, at, by) \
    SELECT $1::text, $2::text, $3::bigint, $4::text WHERE $5::bigint > (\
        SELECT count(*) FROM acknowledged_findings WHERE finding <> $1::text) \
    ON CONFLICT ON CONSTRAINT acknowledged_finding DO UPDATE SET \
        reason = excluded.reason, at = excluded.at, by = excluded.by";
const WITHDRAW: &str = "DELETE FROM acknowledged_findings WHERE finding = $1";
const LIST: &str = "SELECT finding, reason, at, by FROM acknowledged_findings \
    WHERE finding > $1 ORDER BY finding LIMIT $2";

/// Acknowledgements in a schema.
pub struct Acknowledgements {
    pool: PgPool,
}

impl Acknowledgements {
    /// Acknowledgements of the store that these connections lead to.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

fn acknowledgement(row: &PgRow) -> Result<Acknowledgement> {
    Ok(Acknowledgement {
        finding: row.cell::<String>(0)?.into(),
        reason: row.cell::<String>(1)?.into(),
        at: Timestamp(row.number(2)?),
        by: row.cell::<Option<String>>(3)?.map(Into::into),
    })
}

#[async_trait]
impl AcknowledgementStore for Acknowledgements {
    async fn acknowledge(&self, acknowledgement: &Acknowledgement) -> Result<bool> {
        let mut writing = self.pool.begin().await?;
        sqlx::query(LOCK).execute(&mut *writing).await?;
        let done = sqlx::query(ACKNOWLEDGE)
            .bind(&*acknowledgement.finding)
            .bind(&*acknowledgement.reason)
            .bind(signed(acknowledgement.at.0))
            .bind(acknowledgement.by.as_deref())
            .bind(signed(ACKNOWLEDGED_MAX as u64))
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn withdraw(&self, finding: &str) -> Result<bool> {
        let done = sqlx::query(WITHDRAW)
            .bind(finding)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn acknowledged(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Acknowledgement>> {
        let limit = limit.min(ACKNOWLEDGED_PAGE_MAX) as u64;
        let rows = sqlx::query(LIST)
            // No name is empty.
            .bind(after.unwrap_or_default())
            .bind(signed(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(acknowledgement).collect()
    }
}
