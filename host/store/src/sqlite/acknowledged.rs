//! Findings that an operator has acknowledged.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteRow};
use sqlx::{ConnectOptions, Connection};

use super::cell::Cells;
use super::encode::signed;
use super::side::Side;
use crate::{
    ACKNOWLEDGED_MAX, ACKNOWLEDGED_PAGE_MAX, Acknowledgement, AcknowledgementStore, Result,
};
use quipu_model::Timestamp;

const ACKNOWLEDGE: &str = "INSERT INTO acknowledged_findings (finding, reason, at, by) \
    SELECT ?1, ?2, ?3, ?4 WHERE ?5 > (\
        SELECT count(*) FROM acknowledged_findings WHERE finding <> ?1) \
    ON CONFLICT (finding) DO UPDATE SET \
        reason = excluded.reason, at = excluded.at, by = excluded.by";
const WITHDRAW: &str = "DELETE FROM acknowledged_findings WHERE finding = ?1";
const LIST: &str = "SELECT finding, reason, at, by FROM acknowledged_findings \
    WHERE finding > ?1 ORDER BY finding LIMIT ?2";

/// Reads through the pool. Each write opens a connection of its own, which waits for the disk:
/// writes are rare, and the side connection may lose the last ones with the power.
pub struct Acknowledgements {
    pool: SqlitePool,
    side: Side,
    writing: SqliteConnectOptions,
}

impl Acknowledgements {
    /// Acknowledgements of the store that these connections lead to.
    pub fn new(pool: SqlitePool, side: Side, writing: SqliteConnectOptions) -> Self {
        Self {
            pool,
            side,
            writing,
        }
    }

    /// Executes a statement. Whether it changed a row.
    async fn execute<'q>(
        &self,
        query: sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<bool> {
        // Nobody else writes meanwhile.
        let _turn = self.side.turn().await?;
        let mut connection = self.writing.connect().await?;
        let done = query.execute(&mut connection).await?;
        connection.close().await?;
        Ok(done.rows_affected() > 0)
    }
}

fn acknowledgement(row: &SqliteRow) -> Result<Acknowledgement> {
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
        let query = sqlx::query(ACKNOWLEDGE)
            .bind(&*acknowledgement.finding)
            .bind(&*acknowledgement.reason)
            .bind(signed(acknowledgement.at.0))
            .bind(acknowledgement.by.as_deref())
            .bind(signed(ACKNOWLEDGED_MAX as u64));
        self.execute(query).await
    }

    async fn withdraw(&self, finding: &str) -> Result<bool> {
        self.execute(sqlx::query(WITHDRAW).bind(finding)).await
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
