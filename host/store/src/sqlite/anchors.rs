//! Anchors of truncated streams.

use super::dialect::{Pool, Row};
use super::streams::{first_after, ranges};
use super::tables::signed;
use super::tables::snapshots::snapshots;
use crate::Result;

/// Anchors of the streams of a range of names, from $1 on and before $2, at most $3.
const ANCHORS: &str = snapshots!(
    "FROM streams AS s INDEXED BY truncated_stream \
     CROSS JOIN snapshots AS p ON p.stream_id = s.stream_id AND p.anchor = 1 \
     WHERE s.name >= $1 AND s.name < $2 AND s.truncated_before IS NOT NULL \
     ORDER BY s.name LIMIT $3"
);
/// Rows of anchors, in the order of their streams, after a stream.
pub async fn rows(
    pool: &Pool,
    category: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>> {
    let first = first_after(after);
    let mut rows = Vec::new();
    for (begin, end) in ranges(category) {
        let range = sqlx::query(ANCHORS)
            .bind(begin.max(first.clone()))
            .bind(end)
            .bind(signed((limit - rows.len()) as u64));
        rows.extend(range.fetch_all(pool).await?);
    }
    Ok(rows)
}
