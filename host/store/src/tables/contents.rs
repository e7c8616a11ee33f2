//! The contents of builds: changes, counts and removal.

use std::sync::Arc;

use super::cell::{Cells, from_row};
use super::dialect::{Connection, Pool, SWEEPS, for_update_of_one, of_build};
use super::signed;
use crate::scan::{changes_limit, whole_changes};
use crate::{
    BuildCounts, BuildId, ChangedDocument, LOST_KEYS_MAX, LostDocuments, Result, SKIPPED_BY_POLICY,
    ScannedDocument, StoredDocument,
};

/// Rows that a sweep removes at once.
const SWEEP: u64 = 2_000;

const CHANGED: &str = concat!(
    "SELECT key, change, CAST(coalesce(octet_length(document), 0) AS bigint) AS bytes FROM documents WHERE ",
    of_build!("$1"),
    " AND change > $2 ORDER BY change, key LIMIT $3"
);
const COUNTS: &str = concat!(
    "SELECT (SELECT count(*) FROM documents WHERE build = $1) \
         - (SELECT count(*) FROM documents WHERE ",
    of_build!("$1"),
    " AND document IS NULL) AS documents, \
     (SELECT count(*) FROM parked_events WHERE build = $1) AS parked, \
     (SELECT count(*) FROM skipped_events WHERE build = $1) AS skipped, \
     (SELECT count(*) FROM skipped_events WHERE build = $1 AND reason = $2) AS skipped_by_policy"
);
/// Live documents of build $1 that build $2 has never had.
macro_rules! lost {
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM documents AS a WHERE a.build = $1 AND a.document IS NOT NULL \
             AND ($3 IS NULL OR a.change <= $3) \
             AND NOT EXISTS (SELECT 1 FROM documents AS n \
                 WHERE n.build = $2 AND n.key = a.key)",
            $rest
        )
    };
}

const LOST: &str = lost!("count(*)", "");
const LOST_KEYS: &str = lost!("a.key", " ORDER BY a.key LIMIT $4");

/// When several hosts sweep at once, each takes another build.
const DROPPED: &str = concat!(
    "SELECT id FROM builds WHERE role = 'dropped' ORDER BY id LIMIT 1",
    for_update_of_one!()
);
const REMOVE_BUILD: &str = "DELETE FROM builds WHERE id = $1";

from_row!(StoredDocument, |row| Ok(StoredDocument {
    key: row.cell::<&str>("key")?.into(),
    document: row.cell::<Option<&str>>("document")?.map(Arc::from),
    change: row.number("change")?,
}));

from_row!(ChangedDocument, |row| Ok(ChangedDocument {
    key: row.cell::<&str>("key")?.into(),
    change: row.number("change")?,
    bytes: row.number("bytes")?,
}));

from_row!(ScannedDocument, |row| Ok(ScannedDocument {
    value: row.cell::<&[u8]>("value")?.into(),
    key: row.cell::<&str>("key")?.into(),
    document: row.cell::<&str>("document")?.into(),
    change: row.number("change")?,
}));

from_row!(BuildCounts, |row| Ok(BuildCounts {
    documents: row.number("documents")?,
    parked: row.number("parked")?,
    skipped: row.number("skipped")?,
    skipped_by_policy: row.number("skipped_by_policy")?,
}));

/// Documents that changed.
pub async fn changed(
    pool: &Pool,
    build: BuildId,
    after: u64,
    limit: usize,
) -> Result<Vec<ChangedDocument>> {
    let changed = sqlx::query_as(CHANGED)
        .bind(signed(build.0))
        .bind(signed(after))
        .bind(signed(changes_limit(limit) as u64));
    Ok(whole_changes(changed.fetch_all(pool).await?, limit))
}

/// Returns the counts of the contents.
pub async fn counts(pool: &Pool, build: BuildId) -> Result<BuildCounts> {
    let counts = sqlx::query_as(COUNTS)
        .bind(signed(build.0))
        .bind(SKIPPED_BY_POLICY);
    Ok(counts.fetch_one(pool).await?)
}

/// Documents of a build that another build has never had.
pub async fn lost(
    pool: &Pool,
    (active, next): (BuildId, BuildId),
    up_to: Option<u64>,
) -> Result<LostDocuments> {
    let query = |sql: &'static str| {
        let query = sqlx::query(sql).bind(signed(active.0));
        query.bind(signed(next.0)).bind(up_to.map(signed))
    };
    let examples = query(LOST_KEYS).bind(signed(LOST_KEYS_MAX as u64));
    let rows = examples.fetch_all(pool).await?;
    let keys = rows.iter().map(|row| Ok(row.cell::<&str>(0)?.into()));
    let keys: Vec<Arc<str>> = keys.collect::<Result<_>>()?;
    let count = match keys.len() < LOST_KEYS_MAX {
        true => keys.len() as u64,
        false => query(LOST).fetch_one(pool).await?.number(0)?,
    };
    Ok(LostDocuments { count, keys })
}

/// Removes a part of the contents of a dropped build. Returns true when there is more.
pub async fn sweep(connection: &mut Connection) -> Result<bool> {
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
    removed.execute(&mut *connection).await?;
    Ok(dropped(connection).await?.is_some())
}

async fn dropped(connection: &mut Connection) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar(DROPPED)
        .fetch_optional(connection)
        .await?)
}
