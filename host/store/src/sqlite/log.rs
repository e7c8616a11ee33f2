//! The log: pages of it, and where positions may be missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};

use super::cell::Cells;
use super::encode::names;
use super::packed::{PACKED_MIN, packed, unpacked};
use super::reader::Reader;
use super::rows::{commits, events, stored_events};
use super::tables::events::{SIZED, recorded, stored};
use super::tables::signed;
use crate::page::{in_order, missing};
use crate::{
    Direction, Error, Filter, LOG_PAGE_MAX, LogPage, PAGE_BYTES_MAX, Result, StoredEvent,
    StoredPage,
};
use quipu_model::{Name, Position, RecordedEvent};

/// Positions that one statement searches for events that pass a filter.
const WINDOW: u64 = 100_000;

macro_rules! log {
    ($order:literal) => {
        events!(concat!(
            "FROM events AS e \
             LEFT JOIN event_types AS t ON t.type_id = e.type_id \
             LEFT JOIN streams AS s ON s.stream_id = e.stream_id ",
            commits!(),
            "WHERE e.position BETWEEN ?1 AND ?2 \
             AND (?4 IS NULL OR t.category IN (SELECT value FROM json_each(?4))) \
             AND (?5 IS NULL OR t.name IN (SELECT value FROM json_each(?5))) \
             AND (?6 IS NULL OR substr(s.name, 1, length(?6)) = ?6) \
             AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(e.tags) AS own \
                 JOIN json_each(?7) AS asked ON own.value = asked.value)) \
             AND (NOT ?8 OR s.archived_at IS NULL) \
             AND (?9 IS NULL OR (t.category IN (SELECT value FROM json_each(?9))) IS NOT TRUE) \
             AND (?10 IS NULL OR (t.name IN (SELECT value FROM json_each(?10))) IS NOT TRUE) \
             AND (?11 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?11) AS other \
                 WHERE substr(s.name, 1, length(other.value)) = other.value)) \
             AND (?12 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(e.tags) AS own \
                 JOIN json_each(?12) AS other ON own.value = other.value)) \
             ORDER BY e.position ",
            $order,
            " LIMIT ?3"
        ))
    };
}

const LOG_FORWARD: &str = log!("ASC");
const LOG_BYTES: &str = packed!(bytes log!("ASC"));
const LOG_PACKED: &str = packed!(events log!("ASC"));
const LOG_BACKWARD: &str = log!("DESC");
const STORED: &str = stored_events!(
    "FROM events AS e \
     LEFT JOIN event_types AS t ON t.type_id = e.type_id \
     LEFT JOIN streams AS s ON s.stream_id = e.stream_id \
     LEFT JOIN modules AS m ON m.module_id = e.module_id \
     WHERE e.position BETWEEN ?1 AND ?2 ORDER BY e.position LIMIT ?3"
);
const LOG_HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";
/// The events next to a hole.
const AFTER: &str = "SELECT min(position) FROM events WHERE position > ?1";
const BEFORE: &str = "SELECT max(position) FROM events WHERE position < ?1";
const HOLES: &str = "SELECT value FROM meta WHERE name = 'holes'";
const SET_HOLES: &str = "INSERT OR REPLACE INTO meta (name, value) VALUES ('holes', ?1)";

/// The position up to which an import has left holes. After it, a missing position is damage.
#[derive(Debug, Clone, Default)]
pub struct Holes(Arc<AtomicU64>);

impl Holes {
    /// The position; 0 when the log is gapless.
    pub fn until(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Reads it from the store.
    pub async fn read(&self, connection: &mut SqliteConnection) -> Result<()> {
        let row = sqlx::query(HOLES).fetch_optional(connection).await?;
        let until = match row {
            Some(row) => <[u8; 8]>::try_from(row.cell::<&[u8]>(0)?).map_err(|_| {
                Error::Damaged("the end of the holes does not have 8 bytes".to_owned())
            })?,
            None => [0; 8],
        };
        self.0.store(u64::from_be_bytes(until), Ordering::SeqCst);
        Ok(())
    }

    /// Writes it to the store. Readers use it at once, because they may see the holes before the
    /// writer learns of its commit. After a failed commit, it must be read from the store.
    pub async fn write(&self, connection: &mut SqliteConnection, until: u64) -> Result<()> {
        self.0.store(until, Ordering::SeqCst);
        sqlx::query(SET_HOLES)
            .bind(until.to_be_bytes().to_vec())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Refuses the events that were found between two positions if a position is missing that must
    /// not be.
    fn check(
        &self,
        found: impl Iterator<Item = Position>,
        (first, last): (u64, u64),
        direction: Direction,
        may_end_early: bool,
    ) -> Result<()> {
        let until = self.until();
        let found = found.map(|at| at.0).filter(|at| *at > until);
        let expected = in_order(first.max(until.saturating_add(1))..=last, direction);
        missing(found, expected, may_end_early)
            .map_err(|position| Error::Damaged(format!("position {position} is missing")))
    }
}

impl Reader {
    /// Position of the last event.
    pub(super) async fn last_position(&self) -> Result<Position> {
        Ok(Position(self.position(LOG_HEAD, None).await?.unwrap_or(0)))
    }

    /// A page of the log.
    pub(super) async fn log_page(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage> {
        let head = self.last_position().await?;
        let last = filter.end(head);
        let limit = limit.min(LOG_PAGE_MAX);
        // The searched range: forward up to here, backward down to here.
        let mut at = match direction {
            Direction::Forward => after.0,
            Direction::Backward => after.0.min(last.0.saturating_add(1)),
        };
        loop {
            let bounds = self.bounds(at, direction, last, filter).await?;
            let Some(bounds) = bounds.filter(|(first, last)| first <= last && limit > 0) else {
                return Ok(LogPage {
                    events: Vec::new(),
                    next: None,
                    head,
                });
            };
            let (events, is_cut) = self.window(bounds, direction, limit, filter).await?;
            let (end, is_last) = match direction {
                Direction::Forward => (bounds.1, bounds.1 >= last.0),
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

    /// Returns the positions that the next statement searches: all of them when every event passes,
    /// otherwise as many as it can search in a short time, from the next event on where there are
    /// holes.
    async fn bounds(
        &self,
        mut at: u64,
        direction: Direction,
        last: Position,
        filter: &Filter,
    ) -> Result<Option<(u64, u64)>> {
        let window = if filter.is_all() { u64::MAX } else { WINDOW };
        if !filter.is_all() && at <= self.holes.until() {
            let next = match direction {
                Direction::Forward => self.position(AFTER, Some(at)).await?,
                Direction::Backward => self.position(BEFORE, Some(at)).await?,
            };
            match (next, direction) {
                (None, _) => return Ok(None),
                (Some(next), Direction::Forward) => at = next.saturating_sub(1),
                (Some(next), Direction::Backward) => at = next.saturating_add(1),
            }
        }
        Ok(Some(match direction {
            Direction::Forward => (at.saturating_add(1), at.saturating_add(window).min(last.0)),
            Direction::Backward => (at.saturating_sub(window).max(1), at.saturating_sub(1)),
        }))
    }

    /// Events between two positions that pass the filter, and whether the page's bytes
    /// cut them.
    async fn window(
        &self,
        bounds: (u64, u64),
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<(Vec<RecordedEvent>, bool)> {
        let (events, is_cut) = match self.packed(bounds, direction, limit, filter).await {
            Some(events) => (events, false),
            None => {
                let sql = match direction {
                    Direction::Forward => LOG_FORWARD,
                    Direction::Backward => LOG_BACKWARD,
                };
                let (rows, is_cut) = self
                    .page(log_query(sql, bounds, limit, filter), &SIZED)
                    .await?;
                (recorded(&rows)?, is_cut)
            }
        };
        if filter.is_all() {
            let positions = events.iter().map(|event| event.position);
            let is_full = is_cut || events.len() == limit;
            self.holes.check(positions, bounds, direction, is_full)?;
        }
        Ok((events, is_cut))
    }

    /// The same in one row, where that costs less and the page's bytes don't cut it. Also none
    /// where something can't be read: the rows then show what.
    pub(super) async fn packed(
        &self,
        bounds: (u64, u64),
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Option<Vec<RecordedEvent>> {
        let at_most = (bounds.1 - bounds.0).saturating_add(1).min(limit as u64);
        if direction == Direction::Backward || at_most < PACKED_MIN {
            return None;
        }
        let statement = |sql| log_query(sql, bounds, limit, filter).fetch_one(&self.pool);
        let bytes = statement(LOG_BYTES).await.ok()?;
        let bytes = bytes.cell::<Option<i64>>(0).ok()?.unwrap_or(0);
        if bytes.unsigned_abs() >= PAGE_BYTES_MAX as u64 {
            return None;
        }
        unpacked(&statement(LOG_PACKED).await.ok()?)
    }

    /// A page of an export.
    pub(super) async fn stored_page(&self, after: Position, limit: usize) -> Result<StoredPage> {
        let head = self.last_position().await?;
        let limit = limit.min(LOG_PAGE_MAX);
        let bounds = (after.0.saturating_add(1), head.0);
        let query = sqlx::query(STORED)
            .bind(signed(bounds.0))
            .bind(signed(bounds.1))
            .bind(signed(limit as u64));
        let (rows, is_cut) = self.page(query, &SIZED).await?;
        let events: Vec<StoredEvent> = stored(&rows)?;
        let positions = events.iter().map(|event| event.position);
        let is_full = is_cut || events.len() == limit;
        self.holes
            .check(positions, bounds, Direction::Forward, is_full)?;
        Ok(StoredPage { events, head })
    }

    /// The position that a statement finds.
    async fn position(&self, sql: &'static str, at: Option<u64>) -> Result<Option<u64>> {
        let query = sqlx::query(sql);
        let query = match at {
            Some(at) => query.bind(signed(at)),
            None => query,
        };
        let row = query.fetch_one(&self.pool).await?;
        let position = row.cell::<Option<i64>>(0)?;
        Ok(position.map(i64::unsigned_abs))
    }
}

/// A statement of `log!` for events between two positions.
fn log_query<'q>(
    sql: &'static str,
    bounds: (u64, u64),
    limit: usize,
    filter: &'q Filter,
) -> Query<'q, Sqlite, SqliteArguments> {
    let texts = |all: &Option<Vec<Arc<str>>>| {
        let all = all.as_ref()?;
        Some(names(all.iter().map(|one| &**one)))
    };
    let types = |all: &Option<Vec<Name>>| {
        let all = all.as_ref()?;
        Some(names(all.iter().map(Name::as_str)))
    };
    sqlx::query(sql)
        .bind(signed(bounds.0))
        .bind(signed(bounds.1))
        .bind(signed(limit as u64))
        .bind(texts(&filter.categories))
        .bind(types(&filter.types))
        .bind(filter.prefix.as_deref())
        .bind(texts(&filter.tags))
        .bind(filter.without_archived)
        .bind(texts(&filter.not_categories))
        .bind(types(&filter.not_types))
        .bind(texts(&filter.not_prefixes))
        .bind(texts(&filter.not_tags))
}
