//! The last rejections.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use crate::assemble::stream_id;
use crate::{Direction, REJECTIONS_PAGE_MAX, Rejected, RejectionStore, Result, record};
use quipu_model::Version;

/// Rejections of one statement.
const CHUNK: usize = 1_000;

const KEEP: &str = "INSERT INTO rejections \
    (category, stream, version, plan, module, accepted_at, command, code, message, details, \
     details_type) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], \
        $6::bigint[], $7::bytea[], $8::text[], $9::text[], $10::bytea[], $11::text[])";
const FORGET: &str = "DELETE FROM rejections WHERE category = $1 AND id <= (\
    SELECT id FROM rejections WHERE category = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";

macro_rules! rejections {
    ($rest:literal) => {
        concat!(
            "SELECT id, stream, version, plan, module, command, code, message, details, \
             details_type FROM rejections ",
            $rest
        )
    };
}

const BEHIND: &str = rejections!("WHERE id > $1 ORDER BY id LIMIT $2");
const BEFORE: &str = rejections!("WHERE id < $1 ORDER BY id DESC LIMIT $2");
const BEHIND_OF: &str = rejections!("WHERE category = $3 AND id > $1 ORDER BY id LIMIT $2");
const BEFORE_OF: &str = rejections!("WHERE category = $3 AND id < $1 ORDER BY id DESC LIMIT $2");

/// Rejections in a schema.
pub struct Rejections {
    pool: PgPool,
}

impl Rejections {
    /// Rejections of the store behind these connections.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn insert(&self, rejected: &[Rejected]) -> Result<()> {
        let commands = rejected.iter().map(|one| {
            let mut command = Vec::new();
            record::encode(&one.command, &mut command)?;
            Ok(command)
        });
        let commands: Vec<Vec<u8>> = commands.collect::<Result<_>>()?;
        let texts = |of: fn(&Rejected) -> &str| rejected.iter().map(of).collect::<Vec<&str>>();
        let numbers = |of: fn(&Rejected) -> u64| {
            let numbers = rejected.iter().map(|one| signed(of(one)));
            numbers.collect::<Vec<i64>>()
        };
        let details = rejected.iter().map(Rejected::stored_details);
        let (details, details_types): (Vec<_>, Vec<_>) = details.unzip();
        let modules: Vec<&[u8]> = rejected.iter().map(|one| &one.module.0[..]).collect();
        sqlx::query(KEEP)
            .bind(texts(|one| one.stream.category()))
            .bind(texts(|one| one.stream.as_str()))
            .bind(numbers(|one| one.version.0))
            .bind(numbers(|one| one.plan))
            .bind(modules)
            .bind(numbers(|one| one.command.accepted_at.0))
            .bind(commands)
            .bind(texts(|one| &one.code))
            .bind(texts(|one| &one.message))
            .bind(details)
            .bind(details_types)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn rejected(row: &PgRow) -> Result<Rejected> {
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
            self.insert(chunk).await?;
        }
        let categories: BTreeSet<&str> = rejected.iter().map(|one| one.stream.category()).collect();
        for category in categories {
            sqlx::query(FORGET)
                .bind(category)
                .bind(signed(max))
                .execute(&self.pool)
                .await?;
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
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter().map(rejected).collect()
    }
}
