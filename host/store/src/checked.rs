//! A reader that compares what it reads with the digests of commits.
//!
//! Each page is read as usual, then the commits of its events are read a second time as they are
//! stored, and their digests are computed. So a checked read costs two to three times as much, and
//! the log of many streams more: two statements for each run of consecutive events of a stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::commit_digest::CommitHasher;
use super::digests::{DigestMarks, DigestStore, LogRow, RowCommit};
use super::{
    Direction, Error, EventReader, Filter, Head, LOG_PAGE_MAX, LoadPage, LogPage, Loss, Result,
    StoredPage, StreamFilter, StreamPage, StreamsPage,
};
use quipu_model::{Digest, Position, RecordedEvent, StreamId, Version};

/// Checks the events of streams, of the log and of loads. Everything else is read without a check:
/// exports and imports compare the digests themselves.
pub struct CheckedReader {
    reader: Arc<dyn EventReader>,
    digests: Arc<dyn DigestStore>,
    /// As they were when they were last read.
    marks: Mutex<Option<DigestMarks>>,
}

impl CheckedReader {
    /// Checks what a reader reads.
    pub fn new(reader: Arc<dyn EventReader>, digests: Arc<dyn DigestStore>) -> Self {
        Self {
            reader,
            digests,
            marks: Mutex::new(None),
        }
    }

    /// Checks the commits of events, which are in order of stream and version.
    async fn check(&self, events: impl Iterator<Item = (&StreamId, Version)>) -> Result<()> {
        let mut versions: BTreeMap<&StreamId, Vec<u64>> = BTreeMap::new();
        for (stream, version) in events {
            versions.entry(stream).or_default().push(version.0);
        }
        for (stream, mut versions) in versions {
            versions.sort_unstable();
            for run in versions.chunk_by(|one, next| one + 1 == *next) {
                if let (Some(first), Some(last)) = (run.first(), run.last()) {
                    self.check_run(stream, *first, *last).await?;
                }
            }
        }
        Ok(())
    }

    async fn check_run(&self, stream: &StreamId, from: u64, to: u64) -> Result<()> {
        let known = *self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marks) = known
            && self.check_under(stream, (from, to), marks).await.is_ok()
        {
            return Ok(());
        }
        // An import, or an addition of digests, may have changed them.
        let marks = self.digests.marks().await?;
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) = Some(marks);
        self.check_under(stream, (from, to), marks).await
    }

    async fn check_under(
        &self,
        stream: &StreamId,
        (from, to): (u64, u64),
        marks: DigestMarks,
    ) -> Result<()> {
        let span = self.digests.span(stream.as_str(), from, to).await?;
        let Some(span) = span else {
            return Err(damaged(stream, from, "its event is missing"));
        };
        let before = span.before.map(|(position, digest)| {
            let digest = digest.map(|bytes| <[u8; 32]>::try_from(bytes).map(Digest));
            (position, digest.and_then(std::result::Result::ok))
        });
        let mut chain = Chain {
            stream,
            marks,
            before,
            next: span.first,
            open: None,
        };
        while chain.next <= span.last {
            let digests = &self.digests;
            let rows = digests.stream_rows(stream.as_str(), chain.next, span.last, LOG_PAGE_MAX);
            let rows = rows.await?;
            if rows.is_empty() {
                return Err(damaged(stream, chain.next, "its event is missing"));
            }
            for row in rows {
                chain.take(row)?;
            }
        }
        match chain.open {
            Some(open) => Err(damaged(
                stream,
                open.first,
                "events of its commit are missing",
            )),
            None => Ok(()),
        }
    }
}

/// A part of the chain of a stream.
struct Chain<'a> {
    stream: &'a StreamId,
    marks: DigestMarks,
    /// The commit before the next one: its position and its digest.
    before: Option<(Position, Option<Digest>)>,
    /// The version of the next row.
    next: u64,
    open: Option<Open>,
}

/// A commit of which events are still to come.
struct Open {
    first: u64,
    position: Position,
    events: u64,
    seen: u64,
    stored: Option<Vec<u8>>,
    hasher: CommitHasher,
}

impl Chain<'_> {
    fn take(&mut self, row: LogRow) -> Result<()> {
        let version = row.version;
        if version != self.next {
            return Err(damaged(self.stream, self.next, "its event is missing"));
        }
        self.next = version.saturating_add(1);
        let content = row.content.map_err(|why| {
            let why = format!("it can't be read: {why}");
            damaged(self.stream, version, &why)
        })?;
        let mut open = match (&content.commit, self.open.take()) {
            (Some(commit), None) if commit.events > 0 => self.begin(commit, row.position, version),
            (None, Some(open)) if content.offset == open.seen => open,
            _ => {
                let why = "it is not the next event of a commit";
                return Err(damaged(self.stream, version, why));
            }
        };
        open.hasher.event(&content.fields());
        open.seen += 1;
        match open.seen == open.events {
            true => self.finish(&open),
            false => {
                self.open = Some(open);
                Ok(())
            }
        }
    }

    fn begin(&self, commit: &RowCommit, position: Position, version: u64) -> Open {
        let mut previous = vec![self.before.and_then(|(_, digest)| digest)];
        // The digest of the one before may have been added after this commit was written.
        let late = self.marks.proved.max(self.marks.unproved);
        if let Some((at, Some(_))) = self.before
            && at <= late
        {
            previous.push(None);
        }
        let fields = commit.fields(self.stream.as_str(), version);
        Open {
            first: version,
            position,
            events: commit.events,
            seen: 0,
            stored: commit.digest.clone(),
            hasher: CommitHasher::new(&previous, &fields),
        }
    }

    fn finish(&mut self, open: &Open) -> Result<()> {
        let Some(stored) = &open.stored else {
            if open.position <= self.marks.unproved {
                self.before = Some((open.position, None));
                return Ok(());
            }
            let why = "its commit has no digest: it was inserted, or its digest was removed";
            return Err(damaged(self.stream, open.first, why));
        };
        let found = open
            .hasher
            .digests()
            .find(|digest| digest.0[..] == stored[..]);
        if found.is_none() {
            let why = "its commit does not have its digest: it was changed";
            return Err(damaged(self.stream, open.first, why));
        }
        self.before = Some((open.position, found));
        Ok(())
    }
}

fn damaged(stream: &StreamId, version: u64, why: &str) -> Error {
    Error::Damaged(format!(
        "stream {stream}, version {version}: {why}; `quipu verify --digests` names everything that \
         was changed"
    ))
}

fn recorded(events: &[RecordedEvent]) -> impl Iterator<Item = (&StreamId, Version)> {
    events.iter().map(|event| (&event.stream, event.version))
}

#[async_trait]
impl EventReader for CheckedReader {
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        self.reader.head(stream).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamPage>> {
        let page = self.reader.read_stream(stream, from, direction, limit);
        let page = page.await?;
        if let Some(page) = &page {
            self.check(recorded(&page.events)).await?;
        }
        Ok(page)
    }

    async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage> {
        let page = self.reader.read_log(after, direction, limit, filter);
        let page = page.await?;
        self.check(recorded(&page.events)).await?;
        Ok(page)
    }

    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage> {
        let page = self.reader.load(stream, after, limit).await?;
        let events = page.events.iter();
        self.check(events.map(|event| (stream, event.version)))
            .await?;
        Ok(page)
    }

    async fn log_head(&self) -> Result<Position> {
        self.reader.log_head().await
    }

    async fn last_taken(&self) -> Result<Position> {
        self.reader.last_taken().await
    }

    async fn bytes(&self) -> Result<Option<u64>> {
        self.reader.bytes().await
    }

    fn lost(&self) -> Option<Loss> {
        self.reader.lost()
    }

    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage> {
        self.reader.streams(after, limit, filter).await
    }

    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage> {
        self.reader.read_stored(after, limit).await
    }
}
