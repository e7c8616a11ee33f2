//! Reads through a pool of read-only connections.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::{names, signed};
use super::error::store_error;
use crate::model::{
    Body, CommandId, CommandRecord, CommitData, ContentType, EventId, Name, Position,
    RecordedEvent, StreamId, Timestamp, Version,
};
use crate::store::page::{Room, composed_metadata, page_bounds};
use crate::store::{
    Direction, Error, EventReader, Filter, Head, KnownCommit, KnownEvent, LOG_PAGE_MAX, LoadPage,
    LoadedEvent, LogPage, Result, StreamPage, record,
};

/// Positions that one statement looks through for events that pass a filter.
const WINDOW: u64 = 100_000;

macro_rules! events {
    ($rest:literal) => {
        concat!(
            "SELECT e.position, s.name, e.version, t.name, t.schema_version, t.content_type, \
             e.event_id, e.recorded_at, e.data, e.metadata, e.tags, e.commit_offset, \
             c.command, c.plan, c.fuel, m.digest ",
            $rest
        )
    };
}

const HEADS: &str = include_str!("heads.sql");
/// Rows that belong to an event are joined from the left: one that is missing shows as
/// damage, and hides no event.
macro_rules! stream {
    ($order:literal) => {
        concat!(
            events!(
                "FROM streams AS s \
                 CROSS JOIN events AS e ON e.stream_id = s.stream_id \
                 LEFT JOIN event_types AS t ON t.type_id = e.type_id \
                 LEFT JOIN events AS c ON c.stream_id = e.stream_id \
                     AND c.version = e.version - e.commit_offset \
                 LEFT JOIN modules AS m ON m.module_id = c.module_id \
                 WHERE s.name = ?1 AND e.version BETWEEN ?2 AND ?3 ORDER BY e.version "
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
                "FROM events AS e \
                 LEFT JOIN event_types AS t ON t.type_id = e.type_id \
                 LEFT JOIN streams AS s ON s.stream_id = e.stream_id \
                 LEFT JOIN events AS c ON c.stream_id = e.stream_id \
                     AND c.version = e.version - e.commit_offset \
                 LEFT JOIN modules AS m ON m.module_id = c.module_id \
                 WHERE e.position BETWEEN ?1 AND ?2 \
                 AND (?4 IS NULL OR t.category IN (SELECT value FROM json_each(?4))) \
                 AND (?5 IS NULL OR t.name IN (SELECT value FROM json_each(?5))) \
                 AND (?6 IS NULL OR substr(s.name, 1, length(?6)) = ?6) \
                 ORDER BY e.position "
            ),
            $order,
            " LIMIT ?3"
        )
    };
}

const LOG_FORWARD: &str = log!("ASC");
const LOG_BACKWARD: &str = log!("DESC");
const LOAD: &str = "SELECT e.version, t.name, t.schema_version, t.content_type, e.recorded_at, \
     e.data, e.command_id, s.archived_at \
     FROM streams AS s \
     CROSS JOIN events AS e ON e.stream_id = s.stream_id \
     LEFT JOIN event_types AS t ON t.type_id = e.type_id \
     WHERE s.name = ?1 AND e.version > ?2 ORDER BY e.version LIMIT ?3";
const LOG_HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";

/// Reads committed events.
pub struct Reader {
    pool: SqlitePool,
}

impl Reader {
    /// A reader on this pool.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        let row = sqlx::query(HEADS)
            .bind(names([stream.as_str()].into_iter()))
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| store_error(&error))?;
        row.map(|row| {
            Ok(Head {
                version: Version(row.number(2)?),
                recorded_at: Timestamp(row.number(3)?),
                archived: row.cell::<Option<i64>>(4)?.is_some(),
            })
        })
        .transpose()
    }

    async fn log_head(&self) -> Result<Position> {
        let row = sqlx::query(LOG_HEAD)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Position(row.number(0)?))
    }

    /// Events between two positions that pass the filter.
    async fn window(
        &self,
        (first, last): (u64, u64),
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<(Vec<RecordedEvent>, bool)> {
        let sql = match direction {
            Direction::Forward => LOG_FORWARD,
            Direction::Backward => LOG_BACKWARD,
        };
        let categories = filter
            .categories
            .as_ref()
            .map(|all| names(all.iter().map(|one| &**one)));
        let types = filter
            .types
            .as_ref()
            .map(|all| names(all.iter().map(Name::as_str)));
        let query = sqlx::query(sql)
            .bind(signed(first))
            .bind(signed(last))
            .bind(signed(limit as u64))
            .bind(categories)
            .bind(types)
            .bind(filter.prefix.as_deref());
        let (rows, is_cut) = self.page(query, &[8, 9, 12]).await?;
        let events = events(&rows)?;
        if filter.is_all() {
            let positions = events.iter().map(|event| event.position.0);
            let expected = in_order(first..=last, direction);
            missing(positions, expected, is_cut || events.len() == limit)
                .map_err(|position| Error::Damaged(format!("position {position} is missing")))?;
        }
        Ok((events, is_cut))
    }

    /// The rows of a page, up to its bounds in bytes, and whether that cut it. `sized`
    /// are the columns whose bytes count.
    async fn page<'q>(
        &self,
        query: sqlx::query::Query<'q, Sqlite, SqliteArguments>,
        sized: &[usize],
    ) -> Result<(Vec<SqliteRow>, bool)> {
        let (mut rows, mut room) = (Vec::new(), Room::default());
        let mut reading = query.fetch(&self.pool);
        while let Some(row) = reading.next().await {
            let row = row.map_err(|error| store_error(&error))?;
            let bytes = sized.iter().map(|column| row.bytes(*column)).sum();
            rows.push(row);
            if !room.take(bytes) {
                return Ok((rows, true));
            }
        }
        Ok((rows, false))
    }
}

/// What a page should hold, in the order in which it is read.
fn in_order(
    range: RangeInclusive<u64>,
    direction: Direction,
) -> Box<dyn Iterator<Item = u64> + Send> {
    match direction {
        Direction::Forward => Box::new(range),
        Direction::Backward => Box::new(range.rev()),
    }
}

/// Whether nothing is left out between the first and the last number of a page, nor,
/// unless it may end early, behind it: else the first number that is missing.
fn missing(
    found: impl Iterator<Item = u64>,
    mut expected: impl Iterator<Item = u64>,
    may_end_early: bool,
) -> std::result::Result<(), u64> {
    for found in found {
        match expected.next() {
            Some(number) if number == found => {}
            Some(number) => return Err(number),
            None => return Ok(()),
        }
    }
    match expected.next() {
        Some(number) if !may_end_early => Err(number),
        _ => Ok(()),
    }
}

impl EventReader for Reader {
    fn head<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Head>>> {
        self.head(stream).boxed()
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<StreamPage>>> {
        async move {
            let Some(head) = self.head(stream).await? else {
                return Ok(None);
            };
            let range = page_bounds(from, direction, limit, head.version);
            let sql = match direction {
                Direction::Forward => STREAM_FORWARD,
                Direction::Backward => STREAM_BACKWARD,
            };
            let query = sqlx::query(sql)
                .bind(stream.as_str())
                .bind(signed(*range.start()))
                .bind(signed(*range.end()));
            let (rows, is_cut) = self.page(query, &[8, 9, 12]).await?;
            let events = events(&rows)?;
            let versions = events.iter().map(|event| event.version.0);
            missing(versions, in_order(range, direction), is_cut)
                .map_err(|version| version_missing(stream, version))?;
            Ok(Some(StreamPage::new(head.version, events, direction)))
        }
        .boxed()
    }

    fn read_log<'a>(
        &'a self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &'a Filter,
    ) -> BoxFuture<'a, Result<LogPage>> {
        async move {
            let head = self.log_head().await?;
            let limit = limit.min(LOG_PAGE_MAX);
            let window = if filter.is_all() {
                limit as u64
            } else {
                WINDOW
            };
            // What has been looked through: forward up to here, backward down to here.
            let mut at = match direction {
                Direction::Forward => after.0,
                Direction::Backward => after.0.min(head.0.saturating_add(1)),
            };
            loop {
                let bounds = match direction {
                    Direction::Forward => {
                        (at.saturating_add(1), at.saturating_add(window).min(head.0))
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
                let (events, is_cut) = self.window(bounds, direction, limit, filter).await?;
                let (end, is_last) = match direction {
                    Direction::Forward => (bounds.1, bounds.1 >= head.0),
                    Direction::Backward => (bounds.0, bounds.0 == 1),
                };
                let next = match events.last() {
                    Some(last) if is_cut || events.len() == limit => Some(last.position),
                    _ => (!is_last).then_some(Position(end)),
                };
                if !events.is_empty() || next.is_none() {
                    return Ok(LogPage { events, next, head });
                }
                at = end;
            }
        }
        .boxed()
    }

    fn load<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<LoadPage>> {
        async move {
            let query = sqlx::query(LOAD)
                .bind(stream.as_str())
                .bind(signed(after.0))
                .bind(signed(limit as u64));
            let (rows, is_cut) = self.page(query, &[5]).await?;
            let events = rows
                .iter()
                .map(|row| loaded_event(row).map_err(|error| damaged_in(stream, row, error)))
                .collect::<Result<Vec<_>>>()?;
            let versions = events.iter().map(|event| event.version.0);
            missing(versions, after.0.saturating_add(1).., true)
                .map_err(|version| version_missing(stream, version))?;
            let head = match (rows.last(), events.last()) {
                (Some(row), Some(event)) => Some(Head {
                    version: event.version,
                    recorded_at: event.recorded_at,
                    archived: row.cell::<Option<i64>>(7)?.is_some(),
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
        .boxed()
    }

    fn log_head(&self) -> BoxFuture<'_, Result<Position>> {
        self.log_head().boxed()
    }
}

fn version_missing(stream: &StreamId, version: u64) -> Error {
    Error::Damaged(format!("stream {stream}: version {version} is missing"))
}

/// Says where it is that a row of a load can't be read.
fn damaged_in(stream: &StreamId, row: &SqliteRow, error: Error) -> Error {
    match (error, row.number(0)) {
        (Error::Damaged(why), Ok(version)) => {
            Error::Damaged(format!("stream {stream}, version {version}: {why}"))
        }
        (other, _) => other,
    }
}

fn loaded_event(row: &SqliteRow) -> Result<LoadedEvent> {
    Ok(LoadedEvent {
        version: Version(row.number(0)?),
        name: Name::stored(row.cell(1)?),
        schema_version: row.cell(2)?,
        body: body(row.cell(3)?, row.cell(5)?)?,
        recorded_at: Timestamp(row.number(4)?),
        command_id: row.cell::<Option<&str>>(6)?.map(CommandId::stored),
    })
}

/// Events in the form of `events!`; those of one commit share its data.
fn events(rows: &[SqliteRow]) -> Result<Vec<RecordedEvent>> {
    let mut commit = None;
    rows.iter()
        .map(|row| {
            event(row, &mut commit).map_err(|error| match (error, row.number(0)) {
                (Error::Damaged(why), Ok(position)) => {
                    Error::Damaged(format!("position {position}: {why}"))
                }
                (other, _) => other,
            })
        })
        .collect()
}

/// A commit, its stream and the version of its first event.
type Current = Option<(Arc<str>, u64, Commit)>;

fn event(row: &SqliteRow, current: &mut Current) -> Result<RecordedEvent> {
    let (stream, version) = (row.cell::<&str>(1)?, row.number(2)?);
    let first = version.saturating_sub(row.number(11)?);
    let commit = match current {
        Some((of, begin, commit)) if &**of == stream && *begin == first => commit,
        _ => {
            let command = row
                .cell::<Option<&[u8]>>(12)?
                .map(record::decode)
                .transpose()?;
            let fuel = row.cell::<Option<i64>>(14)?.map(i64::unsigned_abs);
            let module = row.maybe_digest(15)?;
            let read = Commit::new(command.as_ref(), row.number(13)?, fuel, module);
            &mut current.insert((stream.into(), first, read)).2
        }
    };
    let own = row.cell::<Option<Vec<u8>>>(9)?.map(Bytes::from);
    Ok(RecordedEvent {
        id: event_id(row, 6)?,
        stream: StreamId::new(stream).map_err(|error| Error::Damaged(error.to_string()))?,
        version: Version(version),
        position: Position(row.number(0)?),
        name: Name::stored(row.cell(3)?),
        schema_version: row.cell(4)?,
        body: body(row.cell(5)?, row.cell(8)?)?,
        metadata: composed_metadata(commit.metadata.as_ref(), own.as_ref()),
        tags: row.cell::<Option<&str>>(10)?.map_or(Ok(Vec::new()), tags)?,
        recorded_at: Timestamp(row.number(7)?),
        commit: Arc::clone(&commit.data),
    })
}

/// What the events of a commit share.
struct Commit {
    data: Arc<CommitData>,
    /// The command's, if the events were decided.
    metadata: Option<Bytes>,
}

impl Commit {
    fn new(
        command: Option<&CommandRecord>,
        plan: u64,
        fuel: Option<u64>,
        module: Option<crate::model::Digest>,
    ) -> Self {
        let decided = command.filter(|_| module.is_some());
        let metadata = decided.and_then(|command| command.metadata.clone());
        let data = Arc::new(CommitData::of(command, plan, module, fuel));
        Self { data, metadata }
    }
}

/// A row of `known.sql` as the event that it holds.
pub fn known_event(row: &SqliteRow) -> Result<KnownEvent> {
    Ok(KnownEvent {
        id: event_id(row, 3)?,
        name: Name::stored(row.cell(4)?),
        version: Version(row.number(5)?),
        position: Position(row.number(6)?),
        body: body(row.cell(7)?, row.cell(8)?)?,
    })
}

/// A commit from the row of its first event in `known.sql`.
pub fn known_commit(first: &SqliteRow, events: Vec<KnownEvent>) -> Result<KnownCommit> {
    let record = record::decode(first.cell(2)?)?;
    let fuel = first.cell::<Option<i64>>(10)?.map(i64::unsigned_abs);
    let data = CommitData::of(
        Some(&record),
        first.number(9)?,
        first.maybe_digest(11)?,
        fuel,
    );
    Ok(KnownCommit {
        record,
        data,
        events,
    })
}

fn event_id(row: &SqliteRow, column: usize) -> Result<EventId> {
    EventId::from_slice(row.cell(column)?)
        .map_err(|_| Error::Damaged("an event's id does not have 16 bytes".to_owned()))
}

fn body(content_type: &str, bytes: Vec<u8>) -> Result<Body> {
    let content_type =
        ContentType::new(content_type).map_err(|error| Error::Damaged(error.to_string()))?;
    Ok(Body::stored(content_type, bytes.into()))
}

fn tags(array: &str) -> Result<Vec<Arc<str>>> {
    let tags: Vec<String> = serde_json::from_str(array)
        .map_err(|error| Error::Damaged(format!("tags of an event: {error}")))?;
    Ok(tags.into_iter().map(Arc::from).collect())
}
