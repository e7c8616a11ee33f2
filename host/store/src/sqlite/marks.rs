//! Marks of streams: archived, and truncated with an anchor. Written in the transaction of the
//! events that record them.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::tables::signed;
use crate::{Change, Result, StoredSnapshot};
use quipu_model::{StreamId, Timestamp, Version};

const ARCHIVE: &str = "UPDATE streams SET archived_at = ?2 WHERE name = ?1";
const TRUNCATE: &str = "UPDATE streams SET truncated_before = ?2 WHERE name = ?1";
const ANCHOR: &str = "INSERT OR REPLACE INTO snapshots (stream_id, anchor, category, version, \
         state_schema_version, content_type, fold, taken_at, checksum, data) \
     SELECT stream_id, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM streams WHERE name = ?1";
const DROP_ANCHOR: &str = "DELETE FROM snapshots WHERE anchor = 1 \
     AND stream_id = (SELECT stream_id FROM streams WHERE name = ?1)";

/// Makes a change. `at` is the time at which a stream is archived.
pub async fn change(
    connection: &mut SqliteConnection,
    stream: &StreamId,
    change: &Change,
    at: Timestamp,
) -> Result<()> {
    match change {
        Change::Archived(archived) => {
            archive(connection, stream, archived.then_some(at)).await?;
        }
        Change::Truncated { before, anchor } => {
            truncate(connection, stream, *before, anchor).await?;
        }
        Change::Whole => {
            let unmarked = sqlx::query(TRUNCATE)
                .bind(stream.as_str())
                .bind(None::<i64>);
            execute(connection, unmarked).await?;
            execute(connection, sqlx::query(DROP_ANCHOR).bind(stream.as_str())).await?;
        }
    }
    Ok(())
}

/// Sets the time at which a stream was archived. Returns false when there is no such stream.
pub async fn archive(
    connection: &mut SqliteConnection,
    stream: &StreamId,
    since: Option<Timestamp>,
) -> Result<bool> {
    let query = sqlx::query(ARCHIVE)
        .bind(stream.as_str())
        .bind(since.map(|at| signed(at.0)));
    Ok(execute(connection, query).await? == 1)
}

/// Sets the mark of a truncated stream, and its anchor in place of the one it has.
pub async fn truncate(
    connection: &mut SqliteConnection,
    stream: &StreamId,
    before: Version,
    anchor: &StoredSnapshot,
) -> Result<()> {
    let mark = sqlx::query(TRUNCATE)
        .bind(stream.as_str())
        .bind(signed(before.0));
    execute(connection, mark).await?;
    let query = sqlx::query(ANCHOR)
        .bind(stream.as_str())
        .bind(stream.category())
        .bind(signed(anchor.version.0))
        .bind(i64::from(anchor.state_schema_version))
        .bind(&anchor.content_type)
        .bind(anchor.fold.0.to_vec())
        .bind(signed(anchor.taken_at.0))
        .bind(anchor.checksum.to_vec())
        .bind(anchor.data.to_vec());
    execute(connection, query).await.map(|_| ())
}

/// Rows that a statement changed.
async fn execute(
    connection: &mut SqliteConnection,
    query: sqlx::query::Query<'_, sqlx::Sqlite, SqliteArguments>,
) -> Result<u64> {
    let done = query.execute(connection).await;
    Ok(done?.rows_affected())
}
