//! Documents in the order of their keys, or of an index.

use super::dialect::Pool;
use super::tables::signed;
use crate::scan::{Bounds, page};
use crate::{BuildId, Result, Scan, ScannedDocument};

/// Live documents by key. Bounds that are not a text are compared a second time, as bytes.
macro_rules! by_key {
    ($order:literal) => {
        concat!(
            "SELECT convert_to(key, 'UTF8') AS value, key, document, change FROM documents \
             WHERE build = $1 AND key >= $2 AND key <= $3 \
                 AND ($5::bytea IS NULL OR convert_to(key, 'UTF8') >= $5) \
                 AND ($6::bytea IS NULL OR convert_to(key, 'UTF8') <= $6) \
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
             CROSS JOIN LATERAL (\
                 SELECT document, change FROM documents \
                 WHERE build = e.build AND key = e.key AND document IS NOT NULL LIMIT 1\
             ) AS d \
             WHERE e.build = $1 AND e.number = $5 \
                 AND (e.value, e.key) >= ($6, $2) AND (e.value, e.key) <= ($7, $3) \
             ORDER BY e.value ",
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
    let (first, exact_first) = text(bounds.first.1);
    let (last, exact_last) = text(bounds.last.1);
    let all = Scan::default();
    // A key that is less than the bytes may be greater than the text that they begin with.
    let last = match exact_last {
        Some(_) => text(Bounds::of(&all).last.1).0,
        None => last,
    };
    let query = sqlx::query_as(sql)
        .bind(signed(build.0))
        .bind(first)
        .bind(last)
        .bind(signed(bounds.limit as u64));
    let query = match scan.index {
        Some(index) => query
            .bind(i32::from(index))
            .bind(bounds.first.0)
            .bind(bounds.last.0),
        None => query.bind(exact_first).bind(exact_last),
    };
    page(query.fetch(pool), scan).await
}

/// Returns the text that bytes begin with, and if there is more, the bytes. PostgreSQL stores no
/// text with a NUL in it.
fn text(bytes: &[u8]) -> (&str, Option<&[u8]>) {
    let plain = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = match std::str::from_utf8(plain) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&plain[..error.valid_up_to()]).unwrap_or_default(),
    };
    (text, (text.len() < bytes.len()).then_some(bytes))
}
