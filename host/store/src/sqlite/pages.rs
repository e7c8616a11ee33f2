//! Documents in an order, counts of what builds hold, and its removal.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::cell::Cells;
use super::encode::signed;
use crate::scan::{Bounds, changes_limit, page, whole_changes};
use crate::{
    BuildCounts, BuildId, Found, LOST_KEYS_MAX, LostDocuments, Result, SKIPPED_BY_POLICY, Scan,
    StoredDocument,
};

/// Rows that a sweep removes at once.
const SWEEP: u64 = 2_000;

/// Living documents by key; bounds are bytes, which need not be a text.
macro_rules! by_key {
    ($order:literal) => {
        concat!(
            "SELECT CAST(key AS BLOB), key, document, change FROM documents \
             WHERE build = ?1 AND key >= CAST(?2 AS TEXT) AND key <= CAST(?3 AS TEXT) \
                 AND document IS NOT NULL ORDER BY key ",
            $order,
            " LIMIT ?4"
        )
    };
}

/// Living documents by the entries of an index.
macro_rules! by_index {
    ($order:literal) => {
        concat!(
            "SELECT e.value, e.key, d.document, d.change FROM document_entries AS e \
             CROSS JOIN documents AS d ON d.build = e.build AND d.key = e.key \
             WHERE e.build = ?1 AND e.number = ?5 \
                 AND (e.value, e.key) >= (?6, CAST(?2 AS TEXT)) \
                 AND (e.value, e.key) <= (?7, CAST(?3 AS TEXT)) \
                 AND d.document IS NOT NULL ORDER BY e.value ",
            $order,
            ", e.key ",
            $order,
            " LIMIT ?4"
        )
    };
}

const BY_KEY: &str = by_key!("ASC");
const BY_KEY_DOWN: &str = by_key!("DESC");
const BY_INDEX: &str = by_index!("ASC");
const BY_INDEX_DOWN: &str = by_index!("DESC");
const CHANGED: &str = "SELECT key, document, change FROM documents \
     WHERE build = ?1 AND change > ?2 ORDER BY change, key LIMIT ?3";
const COUNTS: &str = "SELECT (SELECT count(*) FROM documents WHERE build = ?1) \
         - (SELECT count(*) FROM documents WHERE build = ?1 AND document IS NULL), \
     (SELECT count(*) FROM parked_events WHERE build = ?1), \
     (SELECT count(*) FROM skipped_events WHERE build = ?1), \
     (SELECT count(*) FROM skipped_events WHERE build = ?1 AND reason = ?2)";
/// Living documents of build ?1 of which ?2 has no trace.
macro_rules! lost {
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM documents AS a WHERE a.build = ?1 AND a.document IS NOT NULL \
             AND (?3 IS NULL OR a.change <= ?3) \
             AND NOT EXISTS (SELECT 1 FROM documents AS n \
                 WHERE n.build = ?2 AND n.key = a.key)",
            $rest
        )
    };
}

const LOST: &str = lost!("count(*)", "");
const LOST_KEYS: &str = lost!("a.key", " ORDER BY a.key LIMIT ?4");

const DROPPED: &str = "SELECT id FROM builds WHERE role = 'dropped' ORDER BY id LIMIT 1";
/// Each removes up to ?2 rows of a build.
const SWEEPS: [&str; 5] = [
    "DELETE FROM document_entries WHERE build = ?1 AND (number, value, key) <= (\
         SELECT number, value, key FROM (SELECT number, value, key FROM document_entries \
             WHERE build = ?1 ORDER BY number, value, key LIMIT ?2) \
         ORDER BY number DESC, value DESC, key DESC LIMIT 1)",
    "DELETE FROM parked_events WHERE rowid IN (\
         SELECT rowid FROM parked_events WHERE build = ?1 LIMIT ?2)",
    "DELETE FROM parked_retries WHERE rowid IN (\
         SELECT rowid FROM parked_retries WHERE build = ?1 LIMIT ?2)",
    "DELETE FROM skipped_events WHERE rowid IN (\
         SELECT rowid FROM skipped_events WHERE build = ?1 LIMIT ?2)",
    "DELETE FROM documents WHERE rowid IN (\
         SELECT rowid FROM documents WHERE build = ?1 LIMIT ?2)",
];
const REMOVE_BUILD: &str = "DELETE FROM builds WHERE id = ?1";

/// Documents in the order of an index, or of their keys.
pub async fn scan(pool: &SqlitePool, build: BuildId, scan: &Scan) -> Result<Vec<Found>> {
    let bounds = Bounds::of(scan);
    let sql = match (scan.index, scan.is_descending) {
        (None, false) => BY_KEY,
        (None, true) => BY_KEY_DOWN,
        (Some(_), false) => BY_INDEX,
        (Some(_), true) => BY_INDEX_DOWN,
    };
    let mut query = sqlx::query(sql)
        .bind(signed(build.0))
        .bind(bounds.first.1)
        .bind(bounds.last.1)
        .bind(signed(bounds.limit as u64));
    if let Some(index) = scan.index {
        query = query
            .bind(i64::from(index))
            .bind(bounds.first.0)
            .bind(bounds.last.0);
    }
    let rows = query.fetch_all(pool).await;
    let found = rows?;
    let found: Result<Vec<Found>> = found
        .iter()
        .map(|row| {
            Ok(Found {
                value: row.cell::<&[u8]>(0)?.into(),
                key: row.cell::<&str>(1)?.into(),
                document: row.cell::<&str>(2)?.into(),
                change: row.number(3)?,
            })
        })
        .collect();
    Ok(page(found?, scan))
}

/// Documents that changed.
pub async fn changed(
    pool: &SqlitePool,
    build: BuildId,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredDocument>> {
    let rows = sqlx::query(CHANGED)
        .bind(signed(build.0))
        .bind(signed(after))
        .bind(signed(changes_limit(limit) as u64))
        .fetch_all(pool)
        .await?;
    let read: Result<Vec<StoredDocument>> = rows
        .iter()
        .map(|row| {
            Ok(StoredDocument {
                key: row.cell::<&str>(0)?.into(),
                document: row.cell::<Option<&str>>(1)?.map(Arc::from),
                change: row.number(2)?,
            })
        })
        .collect();
    Ok(whole_changes(read?, limit))
}

/// How many there are of what.
pub async fn counts(pool: &SqlitePool, build: BuildId) -> Result<BuildCounts> {
    let row = sqlx::query(COUNTS)
        .bind(signed(build.0))
        .bind(SKIPPED_BY_POLICY)
        .fetch_one(pool)
        .await?;
    Ok(BuildCounts {
        documents: row.number(0)?,
        parked: row.number(1)?,
        skipped: row.number(2)?,
        skipped_by_policy: row.number(3)?,
    })
}

/// Documents of a build of which another one has no trace.
pub async fn lost(
    pool: &SqlitePool,
    (active, next): (BuildId, BuildId),
    up_to: Option<u64>,
) -> Result<LostDocuments> {
    let query = |sql: &'static str| {
        let query = sqlx::query(sql).bind(signed(active.0));
        query.bind(signed(next.0)).bind(up_to.map(signed))
    };
    let examples = query(LOST_KEYS).bind(signed(LOST_KEYS_MAX as u64));
    let rows = examples.fetch_all(pool).await;
    let rows = rows?;
    let keys = rows.iter().map(|row| Ok(row.cell::<&str>(0)?.into()));
    let keys: Vec<Arc<str>> = keys.collect::<Result<_>>()?;
    let count = match keys.len() < LOST_KEYS_MAX {
        true => keys.len() as u64,
        false => {
            let row = query(LOST).fetch_one(pool).await;
            row?.number(0)?
        }
    };
    Ok(LostDocuments { count, keys })
}

/// Removes a part of what the first dropped build holds; true when there is more.
pub async fn sweep(connection: &mut SqliteConnection) -> Result<bool> {
    let Some(build) = dropped(connection).await? else {
        return Ok(false);
    };
    let mut rest = SWEEP;
    for sql in SWEEPS {
        let removed = sqlx::query(sql)
            .bind(build)
            .bind(signed(rest))
            .execute(&mut *connection)
            .await?;
        rest = rest.saturating_sub(removed.rows_affected());
        if rest == 0 {
            return Ok(true);
        }
    }
    let removed = sqlx::query(REMOVE_BUILD).bind(build);
    let removed = removed.execute(&mut *connection).await;
    removed?;
    Ok(dropped(connection).await?.is_some())
}

async fn dropped(connection: &mut SqliteConnection) -> Result<Option<i64>> {
    let row = sqlx::query(DROPPED).fetch_optional(connection).await;
    let row = row?;
    row.map(|row| row.cell(0)).transpose()
}
