//! What back-ends share of reading documents in an order.

use super::{DOCUMENTS_PAGE_MAX, Found, Scan, StoredDocument};

/// Behind every value: none has more than 1,024 bytes.
static VALUES_END: [u8; 1_025] = [u8::MAX; 1_025];
/// Behind every key, which has at most 255 bytes: the last character, 64 times.
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

/// Where a scan reads.
pub struct Bounds<'a> {
    /// The least, inside.
    pub first: End<'a>,
    /// The greatest, inside.
    pub last: End<'a>,
    /// At most so many rows: one more than are asked for.
    pub limit: usize,
}

impl<'a> Bounds<'a> {
    /// Where this one reads.
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

/// What a scan asks for of what was found between its ends, which are inside.
pub fn page(mut found: Vec<Found>, scan: &Scan) -> Vec<Found> {
    if let Some((value, key)) = &scan.after {
        let is_by_key = scan.index.is_none();
        found.retain(|it| it.key != *key || !(is_by_key || it.value == *value));
    }
    found.truncate(limit(scan));
    found
}

/// How many documents to read for a page of changes.
pub fn changes_limit(limit: usize) -> usize {
    limit.min(DOCUMENTS_PAGE_MAX) + 1
}

/// Up to `limit` of the documents that were read, in the order of their changes; not a part
/// of those of the last change, unless that is all there is.
pub fn whole_changes(mut read: Vec<StoredDocument>, limit: usize) -> Vec<StoredDocument> {
    let limit = limit.min(DOCUMENTS_PAGE_MAX);
    if let Some(cut) = read.get(limit).map(|document| document.change) {
        let whole = read.partition_point(|document| document.change < cut);
        read.truncate(if whole == 0 { limit } else { whole });
    }
    read
}
