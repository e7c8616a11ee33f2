//! Code that back-ends share to read documents in an order.

use futures::{Stream, StreamExt};

use super::page::Room;
use super::{ChangedDocument, DOCUMENTS_PAGE_MAX, PAGE_BYTES_MAX, Result, Scan, ScannedDocument};

/// Sorts after every value, because none has more than 1,024 bytes.
static VALUES_END: [u8; 1_025] = [u8::MAX; 1_025];
/// Sorts after every key, which has at most 255 bytes: the last character, 64 times.
static KEYS_END: [u8; 256] = {
    let (mut bytes, mut at) = ([0; 256], 0);
    while at < bytes.len() {
        bytes[at] = [0xF4, 0x8F, 0xBF, 0xBF][at % 4];
        at += 1;
    }
    bytes
};

/// The value and key of an end of a scan; by key, the value is empty.
pub type End<'a> = (&'a [u8], &'a [u8]);

/// The range of a scan.
pub struct Bounds<'a> {
    /// The lower end, inclusive.
    pub first: End<'a>,
    /// The upper end, inclusive.
    pub last: End<'a>,
    /// The limit of rows: one more than the caller wants.
    pub limit: usize,
}

impl<'a> Bounds<'a> {
    /// Returns the range of this scan.
    pub fn of(scan: &'a Scan) -> Self {
        let is_by_key = scan.index.is_none();
        let (from, to) = (scan.from.as_deref(), scan.to.as_deref());
        let (mut first, mut last): (End<'a>, End<'a>) = if is_by_key {
            let (from, to) = (from.unwrap_or_default(), to.unwrap_or(&KEYS_END));
            ((&[], from), (&[], to))
        } else {
            let (from, to) = (from.unwrap_or_default(), to.unwrap_or(&VALUES_END));
            ((from, &[]), (to, &KEYS_END))
        };
        if let Some((value, key)) = &scan.after {
            let after: End<'a> = (if is_by_key { &[] } else { value }, key.as_bytes());
            match scan.is_descending {
                false => first = first.max(after),
                true => last = last.min(after),
            }
        }
        Self {
            first,
            last,
            limit: limit(scan).saturating_add(1),
        }
    }
}

fn limit(scan: &Scan) -> usize {
    scan.limit.min(DOCUMENTS_PAGE_MAX)
}

/// Reads the documents of a scan, out of those found between its ends, which are inclusive, until
/// the limit or the bytes of a page are reached.
pub async fn page(
    mut found: impl Stream<Item = sqlx::Result<ScannedDocument>> + Unpin,
    scan: &Scan,
) -> Result<Vec<ScannedDocument>> {
    let (mut page, mut room) = (Vec::new(), Room::default());
    while page.len() < limit(scan)
        && let Some(next) = found.next().await
    {
        let next = next?;
        if scan.is_at(&next) {
            continue;
        }
        let has_room = room.take(next.document.len());
        page.push(next);
        if !has_room {
            break;
        }
    }
    Ok(page)
}

impl Scan {
    /// Whether a document is the one after which the scan begins.
    fn is_at(&self, found: &ScannedDocument) -> bool {
        let is_by_key = self.index.is_none();
        let after = self.after.as_ref();
        after.is_some_and(|(value, key)| found.key == *key && (is_by_key || found.value == *value))
    }

    /// Whether a page that was read by this scan is the last one.
    pub fn ends_with(&self, page: &[ScannedDocument]) -> bool {
        let bytes: usize = page.iter().map(|found| found.document.len()).sum();
        page.is_empty() || page.len() < limit(self) && bytes < PAGE_BYTES_MAX
    }
}

/// Returns how many documents to read for a page of changes.
pub fn changes_limit(limit: usize) -> usize {
    limit.min(DOCUMENTS_PAGE_MAX) + 1
}

/// Returns up to `limit` of the documents that were read, in the order of their changes. Never
/// returns a part of the documents of the last change, unless there is only one change.
pub fn whole_changes(mut read: Vec<ChangedDocument>, limit: usize) -> Vec<ChangedDocument> {
    let limit = limit.min(DOCUMENTS_PAGE_MAX);
    if let Some(cut) = read.get(limit).map(|document| document.change) {
        let whole = read.partition_point(|document| document.change < cut);
        read.truncate(if whole == 0 { limit } else { whole });
    }
    read
}
