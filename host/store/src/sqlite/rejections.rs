//! The last rejections.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::signed;
use super::rows::stream_id;
use super::side::{Side, commit};
use crate::{Direction, REJECTIONS_PAGE_MAX, Rejected, RejectionStore, Result, record};
use quipu_model::Version;

/// Rejections of one transaction: the writer of events waits no longer.
const CHUNK: usize = 200;

const KEEP: &str = "INSERT INTO rejections \
    (category, stream, version, plan, module, accepted_at, command, code, message, details, \
     details_type) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const FORGET: &str = "DELETE FROM rejections WHERE category = ?1 AND id <= (\
    SELECT id FROM rejections WHERE category = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";

macro_rules! rejections {
    ($rest:literal) => {
        concat!(
            "SELECT id, stream, version, plan, module, command, code, message, details, \
             details_type FROM rejections ",
            $rest
        )
    };
}

const BEHIND: &str = rejections!("WHERE id > ?1 ORDER BY id LIMIT ?2");
const BEFORE: &str = rejections!("WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
const BEHIND_OF: &str = rejections!("WHERE category = ?3 AND id > ?1 ORDER BY id LIMIT ?2");
const BEFORE_OF: &str = rejections!("WHERE category = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2");

/// Reads through the pool, and keeps through the side connection.
pub struct Rejections {
    pool: SqlitePool,
    side: Side,
}

impl Rejections {
    /// Rejections of the store behind these connections.
    pub fn new(pool: SqlitePool, side: Side) -> Self {
        Self { pool, side }
    }
}

fn rejected(row: &SqliteRow) -> Result<Rejected> {
    Ok(Rejected {
        id: row.number(0)?,
        stream: stream_id(row.cell(1)?)?,
        version: Version(row.number(2)?),
        plan: row.number(3)?,
        module: row.digest(4)?,
        command: Arc::new(record::decode(row.cell(5)?)?),
        code: row.cell(6)?,
        message: row.cell(7)?,
        details: Rejected::details_of(row.cell(8)?, row.cell(9)?)?,
    })
}

#[async_trait]
impl RejectionStore for Rejections {
    async fn keep(&self, rejected: &[Rejected], max: u64) -> Result<()> {
        for chunk in rejected.chunks(CHUNK) {
            let mut turn = self.side.turn().await?;
            let mut writing = turn.begin().await?;
            for one in chunk {
                let mut command = Vec::new();
                record::encode(&one.command, &mut command)?;
                let (details, details_type) = one.stored_details();
                sqlx::query(KEEP)
                    .bind(one.stream.category())
                    .bind(one.stream.as_str())
                    .bind(signed(one.version.0))
                    .bind(signed(one.plan))
                    .bind(one.module.0.to_vec())
                    .bind(signed(one.command.accepted_at.0))
                    .bind(command)
                    .bind(&one.code)
                    .bind(&one.message)
                    .bind(details)
                    .bind(details_type)
                    .execute(&mut *writing)
                    .await?;
            }
            let categories: BTreeSet<&str> =
                chunk.iter().map(|one| one.stream.category()).collect();
            for category in categories {
                sqlx::query(FORGET)
                    .bind(category)
                    .bind(signed(max))
                    .execute(&mut *writing)
                    .await?;
            }
            commit(writing).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        category: Option<&str>,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Rejected>> {
        let query = match (direction, category) {
            (Direction::Forward, None) => BEHIND,
            (Direction::Backward, None) => BEFORE,
            (Direction::Forward, Some(_)) => BEHIND_OF,
            (Direction::Backward, Some(_)) => BEFORE_OF,
        };
        let limit = limit.min(REJECTIONS_PAGE_MAX) as u64;
        let query = sqlx::query(query).bind(signed(from)).bind(signed(limit));
        let query = match category {
            Some(category) => query.bind(category),
            None => query,
        };
        let rows = query.fetch_all(&self.pool).await;
        let rows = rows?;
        rows.iter().map(rejected).collect()
    }
}
