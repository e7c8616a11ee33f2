//! Documents in the order of their keys, or of an index.

use super::dialect::Pool;
use super::tables::signed;
use crate::scan::{Bounds, page};
use crate::{BuildId, Result, Scan, ScannedDocument};

/// Live documents by key; bounds are bytes, which need not be a text.
macro_rules! by_key {
    ($order:literal) => {
        concat!(
            "SELECT CAST(key AS BLOB) AS value, key, document, change FROM documents \
             WHERE build = $1 AND key >= CAST($2 AS TEXT) AND key <= CAST($3 AS TEXT) \
                 AND document IS NOT NULL ORDER BY key ",
            $order,
            " LIMIT $4"
        )
    };
}

/// Live documents by the entries of an index.
macro_rules! by_index {
    ($order:literal) => {
        concat!(
            "SELECT e.value, e.key, d.document, d.change FROM document_entries AS e \
             CROSS JOIN documents AS d ON d.build = e.build AND d.key = e.key \
             WHERE e.build = $1 AND e.number = $5 \
                 AND (e.value, e.key) >= ($6, CAST($2 AS TEXT)) \
                 AND (e.value, e.key) <= ($7, CAST($3 AS TEXT)) \
                 AND d.document IS NOT NULL ORDER BY e.value ",
            $order,
            ", e.key ",
            $order,
            " LIMIT $4"
        )
    };
}

const BY_KEY: &str = by_key!("ASC");
const BY_KEY_DOWN: &str = by_key!("DESC");
const BY_INDEX: &str = by_index!("ASC");
const BY_INDEX_DOWN: &str = by_index!("DESC");
/// Returns documents in the order of an index, or of their keys.
pub async fn scan(pool: &Pool, build: BuildId, scan: &Scan) -> Result<Vec<ScannedDocument>> {
    let bounds = Bounds::of(scan);
    let sql = match (scan.index, scan.is_descending) {
        (None, false) => BY_KEY,
        (None, true) => BY_KEY_DOWN,
        (Some(_), false) => BY_INDEX,
        (Some(_), true) => BY_INDEX_DOWN,
    };
    let mut query = sqlx::query_as(sql)
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
    page(query.fetch(pool), scan).await
}
