//! Reads the documents of a build, page by page.

use std::sync::Arc;

use crate::store::{
    self, BuildId, DOCUMENTS_PAGE_MAX, DocumentStore, PAGE_BYTES_MAX, Scan, ScannedDocument,
};

/// Number of documents in the first page, before their size is known.
const AT_FIRST: usize = 32;

/// The documents of a scan. A page has about [`PAGE_BYTES_MAX`] at most.
pub(super) struct Scanned<'a> {
    documents: &'a dyn DocumentStore,
    build: BuildId,
    scan: Scan,
    bytes: usize,
    read: usize,
    is_last: bool,
}

impl<'a> Scanned<'a> {
    pub(super) fn new(documents: &'a dyn DocumentStore, build: BuildId, scan: Scan) -> Self {
        Self {
            documents,
            build,
            scan,
            bytes: 0,
            read: 0,
            is_last: false,
        }
    }

    /// Returns the next page with `most` documents at most, which may have none. `None` after the
    /// last page.
    pub(super) async fn next(
        &mut self,
        most: usize,
    ) -> store::Result<Option<Vec<ScannedDocument>>> {
        if self.is_last {
            return Ok(None);
        }
        self.scan.limit = self.fitting().min(most);
        let page = self.documents.scan(self.build, &self.scan).await?;
        self.is_last = self.scan.ends_with(&page);
        self.read += page.len();
        self.bytes += page.iter().map(|found| found.document.len()).sum::<usize>();
        if let Some(last) = page.last() {
            self.scan.after = Some((last.value.clone(), Arc::clone(&last.key)));
        }
        Ok(Some(page))
    }

    /// Returns whether `next` returns nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_last
    }

    /// Returns how many documents to read at once, based on the average size so far. A database
    /// may send all of them, although the page ends before.
    fn fitting(&self) -> usize {
        match self.bytes.checked_div(self.read) {
            None => AT_FIRST,
            Some(each) => (PAGE_BYTES_MAX / each.max(1)).clamp(1, DOCUMENTS_PAGE_MAX),
        }
    }
}
