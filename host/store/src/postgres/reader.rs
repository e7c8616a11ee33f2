//! Reads through a pool of connections.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow, Postgres};

use super::cell::Cells;
use super::connection::Pool;
use super::loaded::LoadedHeads;
use super::lookup::{bound, head};
use super::losses::Newest;
use super::tables::events::{
    SIZED, commit_digest, loaded, page, recorded, recorded_stream, stored,
};
use super::tables::signed;
use crate::assemble::stream_id;
use crate::page::page_bounds;
use crate::{
    ArchivedStreams, Direction, EventReader, Filter, Head, LOG_PAGE_MAX, LoadPage, LogPage, Loss,
    Result, STREAMS_PAGE_MAX, StoredPage, StreamFilter, StreamInfo, StreamPage, StreamsPage,
};
use quipu_model::{Name, Position, StreamId, Timestamp, Version};

/// Positions that one statement searches for events that pass a filter.
const WINDOW: u64 = 100_000;

const HORIZON: &str = "SELECT horizon($1)";
const LAST_TAKEN: &str = "SELECT last_position()";
const HEAD: &str = "SELECT version, recorded_at, archived_at, truncated_before, digest FROM streams \
     WHERE name = $1";

/// Rows that belong to an event are left-joined, so that a missing row shows as damage and hides no
/// event.
macro_rules! events {
    ($rest:literal) => {
        events!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT e.position, s.name, e.version, t.name, t.schema_version, t.content_type, \
             e.event_id, e.recorded_at, e.data, e.metadata, e.tags, e.commit_offset, c.command, \
             c.plan, c.fuel, m.digest",
            $more,
            " FROM events AS e \
             LEFT JOIN event_types AS t ON t.type_id = e.type_id \
             LEFT JOIN streams AS s ON s.stream_id = e.stream_id \
             LEFT JOIN events AS c ON c.stream_id = e.stream_id \
                 AND c.version = e.version - e.commit_offset \
             LEFT JOIN modules AS m ON m.module_id = c.module_id ",
            $rest
        )
    };
}

macro_rules! stream {
    ($order:literal) => {
        concat!(
            events!(
                "WHERE e.stream_id = (SELECT stream_id FROM streams WHERE name = $1) \
                 AND e.version BETWEEN $2 AND $3 ORDER BY e.version "
            ),
            $order
        )
    };
}

const STREAM_FORWARD: &str = stream!("ASC");
const STREAM_BACKWARD: &str = stream!("DESC");

macro_rules! log {
    ($order:literal) => {
        concat!(
            events!(
                "WHERE e.position BETWEEN $1 AND $2 \
                 AND ($4::text[] IS NULL OR t.category = ANY ($4)) \
                 AND ($5::text[] IS NULL OR t.name = ANY ($5)) \
                 AND ($6::text IS NULL OR starts_with(s.name, $6)) \
                 AND ($7::text[] IS NULL OR e.tags && $7) \
                 AND NOT ($8 AND s.archived_at IS NOT NULL) \
                 AND (t.category = ANY ($9::text[])) IS NOT TRUE \
                 AND (t.name = ANY ($10::text[])) IS NOT TRUE \
                 AND ($11::text[] IS NULL OR NOT EXISTS (\
                     SELECT 1 FROM unnest($11) AS other (prefix) \
                     WHERE starts_with(s.name, other.prefix))) \
                 AND (e.tags && $12::text[]) IS NOT TRUE \
                 ORDER BY e.position "
            ),
            $order,
            " LIMIT $3"
        )
    };
}

const LOG_FORWARD: &str = log!("ASC");
const LOG_BACKWARD: &str = log!("DESC");
const STORED: &str = events!(
    ", c.module_id, (e.event_id_given IS TRUE), c.commit_size, c.commit_digest",
    "WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3"
);
const AFTER: &str = "SELECT min(position) FROM events WHERE position > $1";
const BEFORE: &str = "SELECT max(position) FROM events WHERE position < $1";
/// The stream's id is a value to the planner, and no join, so that the index gives the events in their
/// order, and a page of a long stream costs as much as one of a short stream.
const LOAD: &str = "WITH s AS MATERIALIZED (\
         SELECT stream_id, version, archived_at, truncated_before, digest FROM streams WHERE name = $1) \
     SELECT e.version, t.name, t.schema_version, t.content_type, e.recorded_at, \
     e.data, e.command_id, (SELECT archived_at FROM s), (SELECT truncated_before FROM s), \
     e.version = (SELECT version FROM s), \
     CASE WHEN e.version = (SELECT version FROM s) THEN (SELECT digest FROM s) END \
     FROM (SELECT version, type_id, recorded_at, data, command_id FROM events \
         WHERE stream_id = (SELECT stream_id FROM s) AND version > $2 \
         ORDER BY version LIMIT $3) AS e \
     LEFT JOIN event_types AS t ON t.type_id = e.type_id \
     ORDER BY e.version";
/// `.` comes directly after `-`: between the two are all names of the category that have a key, and
/// some others.
const STREAMS: &str = "SELECT name, version, recorded_at, archived_at, truncated_before \
     FROM streams WHERE version > 0 AND ($1::text IS NULL OR name > $1) \
     AND ($2::text IS NULL OR (name >= $2 AND name < $2 || '.' AND split_part(name, '-', 1) = $2)) \
     AND ($3 OR archived_at IS NULL) \
     ORDER BY name LIMIT $4";
const ARCHIVED_STREAMS: &str = "SELECT name, version, recorded_at, archived_at, truncated_before \
     FROM streams WHERE version > 0 AND ($1::text IS NULL OR name > $1) \
     AND ($2::text IS NULL OR (name >= $2 AND name < $2 || '.' AND split_part(name, '-', 1) = $2)) \
     AND ($3 OR archived_at IS NOT NULL) AND archived_at IS NOT NULL \
     ORDER BY name LIMIT $4";

/// Reads committed events.
pub struct Reader {
    pool: Pool,
    namespace: i64,
    loaded: LoadedHeads,
    newest: Newest,
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

impl Reader {
    /// A reader on this pool.
    pub fn new(pool: Pool, namespace: i64, (loaded, newest): (LoadedHeads, Newest)) -> Self {
        Self {
            pool,
            namespace,
            loaded,
            newest,
        }
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        let row = sqlx::query(HEAD)
            .bind(stream.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map_or(Ok(None), |row| head(&row, 0))
    }

    /// The event next to a position in the log.
    async fn next_to(&self, at: u64, direction: Direction) -> Result<Option<u64>> {
        let sql = match direction {
            Direction::Forward => AFTER,
            Direction::Backward => BEFORE,
        };
        let row = sqlx::query(sql)
            .bind(signed(at))
            .fetch_one(&self.pool)
            .await?;
        row.maybe_number(0)
    }

    /// Events between two positions that pass the filter.
    async fn window(
        &self,
        (first, last): (u64, u64),
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<(Vec<PgRow>, bool)> {
        let sql = match direction {
            Direction::Forward => LOG_FORWARD,
            Direction::Backward => LOG_BACKWARD,
        };
        let query = sqlx::query(sql)
            .bind(signed(first))
            .bind(signed(last))
            .bind(bound(limit))
            .bind(texts(&filter.categories))
            .bind(names(&filter.types))
            .bind(filter.prefix.as_deref())
            .bind(texts(&filter.tags))
            .bind(filter.without_archived)
            .bind(texts(&filter.not_categories))
            .bind(names(&filter.not_types))
            .bind(texts(&filter.not_prefixes))
            .bind(texts(&filter.not_tags));
        self.page(query, &SIZED).await
    }

    /// The rows of a page, up to its bounds in bytes, and whether that cut it.
    async fn page<'q>(&self, query: Query<'q>, sized: &[usize]) -> Result<(Vec<PgRow>, bool)> {
        let mut connection = self.pool.acquire().await?;
        page(query.fetch(&mut connection), sized).await
    }
}

/// The size of all tables of the schema with their indexes.
const BYTES: &str = "SELECT sum(pg_total_relation_size(c.oid))::int8 FROM pg_class AS c \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname = current_schema() AND c.relkind = 'r'";

/// Texts of a filter.
fn texts(all: &Option<Vec<Arc<str>>>) -> Option<Vec<&str>> {
    let all = all.as_ref()?;
    Some(all.iter().map(|one| &**one).collect())
}

/// Types of a filter.
fn names(all: &Option<Vec<Name>>) -> Option<Vec<&str>> {
    let all = all.as_ref()?;
    Some(all.iter().map(Name::as_str).collect())
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
        let head = horizon(&self.pool, self.namespace).await?;
        let limit = limit.min(LOG_PAGE_MAX);
        let up_to = filter.end(head);
        let window = if filter.is_all() { u64::MAX } else { WINDOW };
        // The searched range: forward up to here, backward down to here.
        let mut at = match direction {
            Direction::Forward => after.0,
            Direction::Backward => after.0.min(up_to.0.saturating_add(1)),
        };
        loop {
            let bounds = match direction {
                Direction::Forward => {
                    let end = at.saturating_add(window).min(up_to.0);
                    (at.saturating_add(1), end)
                }
                Direction::Backward => (at.saturating_sub(window).max(1), at.saturating_sub(1)),
            };
            if bounds.0 > bounds.1 || limit == 0 {
                return Ok(LogPage {
                    events: Vec::new(),
                    next: None,
                    head,
                });
            }
            let (rows, is_cut) = self.window(bounds, direction, limit, filter).await?;
            let events = recorded(&rows)?;
            let (end, is_last) = match direction {
                Direction::Forward => (bounds.1, bounds.1 >= up_to.0),
                Direction::Backward => (bounds.0, bounds.0 == 1),
            };
            let next = match events.last() {
                Some(last) if is_cut || events.len() == limit => Some(last.position),
                _ => (!is_last).then_some(Position(end)),
            };
            if !events.is_empty() || next.is_none() {
                return Ok(LogPage { events, next, head });
            }
            // An import may have left a hole of any size.
            at = match (self.next_to(end, direction).await?, direction) {
                (Some(next), Direction::Forward) => next.saturating_sub(1),
                (Some(next), Direction::Backward) => next.saturating_add(1),
                (None, Direction::Forward) => up_to.0,
                (None, Direction::Backward) => 1,
            };
        }
    }

    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage> {
        let query = sqlx::query(LOAD)
            .bind(stream.as_str())
            .bind(signed(after.0))
            .bind(bound(limit));
        let (rows, is_cut) = self.page(query, &[5]).await?;
        let events = loaded(stream, after, &rows)?;
        let head = match (rows.last(), events.last()) {
            (Some(row), Some(event)) => {
                let head = Head {
                    version: event.version,
                    recorded_at: event.recorded_at,
                    archived: row.cell::<Option<i64>>(7)?.is_some(),
                    truncated_before: Version(row.number(8)?),
                    digest: commit_digest(row, 10)?,
                };
                if row.cell(9)? {
                    self.loaded.put(stream, head);
                }
                Some(head)
            }
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
        horizon(&self.pool, self.namespace).await
    }

    async fn last_taken(&self) -> Result<Position> {
        let row = sqlx::query(LAST_TAKEN).fetch_one(&self.pool).await?;
        Ok(Position(row.number(0)?))
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
        let limit = limit.min(STREAMS_PAGE_MAX);
        let sql = match filter.archived {
            ArchivedStreams::Only => ARCHIVED_STREAMS,
            ArchivedStreams::Without | ArchivedStreams::With => STREAMS,
        };
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(filter.category.as_deref())
            .bind(filter.archived == ArchivedStreams::With)
            .bind(bound(limit))
            .fetch_all(&self.pool)
            .await?;
        let streams = rows.iter().map(|row| {
            Ok(StreamInfo {
                stream: stream_id(row.cell(0)?)?,
                version: Version(row.number(1)?),
                recorded_at: Timestamp(row.number(2)?),
                archived_at: row.maybe_number(3)?.map(Timestamp),
                truncated_before: Version(row.number(4)?),
            })
        });
        Ok(StreamsPage::new(streams.collect::<Result<_>>()?, limit))
    }

    fn lost(&self) -> Option<Loss> {
        self.newest.lost()
    }

    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage> {
        let head = horizon(&self.pool, self.namespace).await?;
        let query = sqlx::query(STORED)
            .bind(signed(after.0))
            .bind(signed(head.0))
            .bind(bound(limit.min(LOG_PAGE_MAX)));
        let (rows, _) = self.page(query, &SIZED).await?;
        Ok(StoredPage {
            events: stored(&rows)?,
            head,
        })
    }
}

/// Up to where the log can be read, in a statement before the one that reads.
pub async fn horizon(pool: &Pool, namespace: i64) -> Result<Position> {
    let row = sqlx::query(HORIZON).bind(namespace).fetch_one(pool).await?;
    Ok(Position(row.number(0)?))
}
