//! Findings that an operator has acknowledged.

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connections};
use super::signed;
use crate::{
    ACKNOWLEDGED_MAX, ACKNOWLEDGED_PAGE_MAX, Acknowledgement, AcknowledgementStore, Result,
};
use quipu_model::Timestamp;

const ACKNOWLEDGE: &str = "INSERT INTO acknowledged_findings (finding, reason, at, by) \
     SELECT $1, $2, $3, $4 WHERE $5 > (\
         SELECT count(*) FROM acknowledged_findings WHERE finding <> $1) \
     ON CONFLICT (finding) DO UPDATE SET \
         reason = excluded.reason, at = excluded.at, by = excluded.by";
const WITHDRAW: &str = "DELETE FROM acknowledged_findings WHERE finding = $1";
const LIST: &str = "SELECT finding, reason, at, by FROM acknowledged_findings \
     WHERE finding > $1 ORDER BY finding LIMIT $2";

/// Each write waits for the disk.
pub struct Acknowledgements(pub Connections);

from_row!(Acknowledgement, |row| Ok(Acknowledgement {
    finding: row.cell::<&str>("finding")?.into(),
    reason: row.cell::<&str>("reason")?.into(),
    at: Timestamp(row.number("at")?),
    by: row.maybe_text("by")?,
}));

#[async_trait]
impl AcknowledgementStore for Acknowledgements {
    async fn acknowledge(&self, acknowledgement: &Acknowledgement) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        dialect::lock_acknowledgements(&mut writing).await?;
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
        let mut writing = self.0.begin_durable().await?;
        let withdraw = sqlx::query(WITHDRAW).bind(finding);
        let done = withdraw.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn acknowledged(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Acknowledgement>> {
        let list = sqlx::query_as(LIST)
            // No name is empty.
            .bind(after.unwrap_or_default())
            .bind(signed(limit.min(ACKNOWLEDGED_PAGE_MAX) as u64));
        Ok(list.fetch_all(self.0.pool()).await?)
    }
}
