//! Reads through a pool of read-only connections.

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::names;
use super::log::Holes;
use super::rows::{commits, events, mark, sealed_head};
use super::tables::events::{SIZED, loaded, page, recorded_stream};
use super::tables::signed;
use super::temporary::Folder;
use crate::page::page_bounds;
use crate::{
    Direction, EventReader, Filter, Head, LoadPage, LogPage, Result, StoredPage, StreamFilter,
    StreamPage, StreamsPage,
};
use quipu_model::{Position, StreamId, Version};

const HEADS: &str = include_str!("heads.sql");

/// Rows that belong to an event are left-joined, so that a missing row shows as damage and hides no
/// event.
macro_rules! stream {
    ($order:literal) => {
        events!(concat!(
            "FROM streams AS s \
             CROSS JOIN events AS e ON e.stream_id = s.stream_id \
             LEFT JOIN event_types AS t ON t.type_id = e.type_id ",
            commits!(),
            "WHERE s.name = ?1 AND e.version BETWEEN ?2 AND ?3 ORDER BY e.version ",
            $order
        ))
    };
}

const STREAM_FORWARD: &str = stream!("ASC");
const STREAM_BACKWARD: &str = stream!("DESC");
const LOAD: &str = "SELECT e.version, t.name, t.schema_version, t.content_type, e.recorded_at, \
     e.data, e.command_id, s.archived_at, s.truncated_before \
     FROM streams AS s \
     CROSS JOIN events AS e ON e.stream_id = s.stream_id \
     LEFT JOIN event_types AS t ON t.type_id = e.type_id \
     WHERE s.name = ?1 AND e.version > ?2 ORDER BY e.version LIMIT ?3";

/// The size of the file. Its WAL comes on top.
const BYTES: &str = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";

/// Reads committed events.
pub struct Reader {
    pub(super) pool: SqlitePool,
    pub(super) holes: Holes,
    /// Held as long as somebody reads.
    _folder: Folder,
}

impl Reader {
    /// A reader on this pool.
    pub fn new(pool: SqlitePool, holes: Holes, folder: Folder) -> Self {
        Self {
            pool,
            holes,
            _folder: folder,
        }
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        let row = sqlx::query(HEADS)
            .bind(names([stream.as_str()].into_iter()))
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(sealed_head).transpose()
    }

    /// The rows of a page, up to its bounds in bytes, and whether that cut it. `sized`
    /// are the columns whose bytes count.
    pub(super) async fn page<'q>(
        &self,
        query: sqlx::query::Query<'q, Sqlite, SqliteArguments>,
        sized: &[usize],
    ) -> Result<(Vec<SqliteRow>, bool)> {
        page(query.fetch(&self.pool), sized).await
    }
}

#[async_trait]
impl EventReader for Reader {
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        self.head(stream).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamPage>> {
        let Some(head) = self.head(stream).await? else {
            return Ok(None);
        };
        let range = page_bounds(from, direction, limit, head);
        let sql = match direction {
            Direction::Forward => STREAM_FORWARD,
            Direction::Backward => STREAM_BACKWARD,
        };
        let query = sqlx::query(sql)
            .bind(stream.as_str())
            .bind(signed(*range.start()))
            .bind(signed(*range.end()));
        let (rows, is_cut) = self.page(query, &SIZED).await?;
        let bounds = (from, direction, limit);
        let page = recorded_stream(stream, head, bounds, (&rows, is_cut))?;
        Ok(Some(page))
    }

    async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage> {
        self.log_page(after, direction, limit, filter).await
    }

    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage> {
        let query = sqlx::query(LOAD)
            .bind(stream.as_str())
            .bind(signed(after.0))
            .bind(signed(limit as u64));
        let (rows, is_cut) = self.page(query, &[5]).await?;
        let events = loaded(stream, after, &rows)?;
        let head = match (rows.last(), events.last()) {
            (Some(row), Some(event)) => Some(Head {
                version: event.version,
                recorded_at: event.recorded_at,
                archived: row.cell::<Option<i64>>(7)?.is_some(),
                truncated_before: mark(row, 8)?,
                digest: None,
            }),
            // A stream has a row from its first event on.
            _ if after == Version::NONE => None,
            _ => self.head(stream).await?,
        };
        let is_last = !is_cut && events.len() < limit;
        Ok(LoadPage {
            head,
            events,
            is_last,
        })
    }

    async fn log_head(&self) -> Result<Position> {
        self.last_position().await
    }

    async fn bytes(&self) -> Result<Option<u64>> {
        let row = sqlx::query(BYTES).fetch_one(&self.pool).await?;
        row.maybe_number(0)
    }

    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage> {
        self.stream_page(after, limit, filter).await
    }

    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage> {
        self.stored_page(after, limit).await
    }
}
