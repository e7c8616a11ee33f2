//! The last rejections.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::Connections;
use super::{rejected, signed};
use crate::assemble::stream_id;
use crate::{
    Direction, REJECTIONS_PAGE_MAX, Rejected, RejectionFilter, RejectionStore, Result, record,
};
use quipu_model::Version;

/// Most rejections of one transaction, so that the writer of events does not wait longer.
const CHUNK: usize = 200;

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

const AFTER: &str = rejections!("WHERE id > $1 ORDER BY id LIMIT $2");
const BEFORE: &str = rejections!("WHERE id < $1 ORDER BY id DESC LIMIT $2");
const AFTER_OF: &str = rejections!("WHERE category = $3 AND id > $1 ORDER BY id LIMIT $2");
const BEFORE_OF: &str = rejections!("WHERE category = $3 AND id < $1 ORDER BY id DESC LIMIT $2");
// No index has the stream. The index of categories finds at most as many rows as `keep` leaves.
const AFTER_OF_STREAM: &str =
    rejections!("WHERE category = $3 AND stream = $4 AND id > $1 ORDER BY id LIMIT $2");
const BEFORE_OF_STREAM: &str =
    rejections!("WHERE category = $3 AND stream = $4 AND id < $1 ORDER BY id DESC LIMIT $2");

/// The latest rejections may be lost in a power failure.
pub struct Rejections(pub Connections);

from_row!(Rejected, |row| Ok(Rejected {
    id: row.number("id")?,
    stream: stream_id(row.cell("stream")?)?,
    version: Version(row.number("version")?),
    plan: row.number("plan")?,
    module: row.digest("module")?,
    command: Arc::new(record::decode(row.cell("command")?)?),
    code: row.cell("code")?,
    message: row.cell("message")?,
    details: Rejected::details_of(row.cell("details")?, row.cell("details_type")?)?,
}));

#[async_trait]
impl RejectionStore for Rejections {
    async fn keep(&self, rejected: &[Rejected], max: u64) -> Result<()> {
        for chunk in rejected.chunks(CHUNK) {
            let mut writing = self.0.begin().await?;
            rejected::insert(&mut writing, chunk).await?;
            // The order is the same on every host, so that no two wait for each other.
            let categories = chunk.iter().map(|one| one.stream.category());
            for category in categories.collect::<BTreeSet<&str>>() {
                let forget = sqlx::query(FORGET).bind(category).bind(signed(max));
                forget.execute(&mut *writing).await?;
            }
            writing.commit().await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        filter: RejectionFilter<'_>,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Rejected>> {
        let sql = match (direction, filter) {
            (Direction::Forward, RejectionFilter::All) => AFTER,
            (Direction::Backward, RejectionFilter::All) => BEFORE,
            (Direction::Forward, RejectionFilter::Category(_)) => AFTER_OF,
            (Direction::Backward, RejectionFilter::Category(_)) => BEFORE_OF,
            (Direction::Forward, RejectionFilter::Stream(_)) => AFTER_OF_STREAM,
            (Direction::Backward, RejectionFilter::Stream(_)) => BEFORE_OF_STREAM,
        };
        let limit = limit.min(REJECTIONS_PAGE_MAX) as u64;
        let query = sqlx::query_as(sql).bind(signed(from)).bind(signed(limit));
        let query = match filter {
            RejectionFilter::All => query,
            RejectionFilter::Category(category) => query.bind(category),
            RejectionFilter::Stream(stream) => query.bind(stream.category()).bind(stream.as_str()),
        };
        Ok(query.fetch_all(self.0.pool()).await?)
    }
}
