//! Imports events commit by commit, in parts of limited size.

use bytes::Bytes;

use super::Error;
use super::digests::Earlier;
use super::import::Importing;
use super::resume::Open;
use crate::model::{Position, StreamId};
use crate::store::{self, StoredCommit, StoredEvent};

/// Largest number of events in a part.
const PART_EVENTS_MAX: usize = 1_000;
/// Limit for the bytes of a part.
const PART_BYTES_MAX: usize = 8 << 20;

/// The stream that records what happened to other streams, and the type of its event for a removed
/// mark.
const STREAMS: &str = "$streams";
const RESTORED: &str = "restored";

impl Importing<'_> {
    pub(super) async fn commit(
        &mut self,
        first: Position,
        commit: StoredCommit,
    ) -> Result<(), Error> {
        self.check_commit_is_whole()?;
        if let Some(decided) = &commit.decided {
            self.check_module(decided.module)?;
        }
        if commit.plan > self.counts.plans {
            let reason = format!("plan {} is not in the file", commit.plan);
            return Err(self.wrong(reason));
        }
        // A commit is imported in one part, unless it is larger than a part.
        let events = usize::try_from(commit.events).unwrap_or(usize::MAX);
        if self.batch.len().saturating_add(events) > PART_EVENTS_MAX
            || self.batch_bytes > PART_BYTES_MAX / 2
        {
            self.put().await?;
        }
        self.counts.commits += 1;
        self.commit = Some((first, commit));
        Ok(())
    }

    pub(super) async fn event(&mut self, mut event: StoredEvent) -> Result<(), Error> {
        let position = event.position;
        if position.0 <= self.counts.head {
            let last = self.counts.head;
            return Err(self.wrong(format!(
                "position {position} does not come after position {last}"
            )));
        }
        if let Some((first, commit)) = self.commit.take() {
            if first != position {
                let reason = format!("the commit before it is that of position {first}");
                return Err(self.wrong(reason));
            }
            event.commit = Some(commit);
        }
        self.open = self.opened(&event)?;
        self.counts.head = position.0;
        self.counts.events += 1;
        if position <= self.present.head() {
            return self.skip(&event);
        }
        if !self.is_found {
            return Err(self.not_found());
        }
        self.check_restored(&event).await?;
        let earlier = match self.present.last {
            None => Earlier::Nothing,
            Some(_) => Earlier::Head(&*self.target.reader),
        };
        if let Some(why) = self.digests.take(earlier, &event).await? {
            // Nothing of the commit is stored.
            let begun = usize::try_from(event.commit_offset).unwrap_or(usize::MAX);
            self.batch.truncate(self.batch.len().saturating_sub(begun));
            return Err(self.wrong(why));
        }
        let bytes = bytes(&event);
        if self.batch.len() >= PART_EVENTS_MAX
            || self.batch_bytes.saturating_add(bytes) > PART_BYTES_MAX
        {
            self.put().await?;
        }
        if self.batch.is_empty() {
            self.batch_line = self.line;
        }
        self.batch_bytes += bytes;
        self.batch.push(event);
        Ok(())
    }

    /// Returns what the commit lacks after this event. The event must be the next one of its
    /// commit.
    fn opened(&self, event: &StoredEvent) -> Result<Option<Open>, Error> {
        let left = match (&event.commit, &self.open) {
            (Some(commit), _) if event.commit_offset == 0 => commit.events - 1,
            (None, Some(open))
                if (&event.stream, event.version, event.commit_offset)
                    == (&open.stream, open.version, open.offset) =>
            {
                open.left - 1
            }
            // A file may start within a commit whose beginning the store has.
            (None, None) if !self.is_found && self.counts.commits == 0 => 0,
            _ => {
                let reason = "the event does not belong to the commit before it";
                return Err(self.wrong(reason.to_owned()));
            }
        };
        Ok((left > 0).then(|| Open {
            stream: event.stream.clone(),
            version: event.version.next(),
            offset: event.commit_offset + 1,
            left,
        }))
    }

    fn skip(&mut self, event: &StoredEvent) -> Result<(), Error> {
        if let Some(last) = &self.present.last
            && last.event.position == event.position
        {
            if !last.is(event) {
                let position = event.position;
                let reason = format!("another event is at position {position}");
                return Err(Error::Differs(reason));
            }
            self.is_found = true;
            self.open.clone_from(&last.open);
        }
        self.imported.skipped += 1;
        Ok(())
    }

    /// Checks that the event does not remove a mark: an import can't remove one that an earlier
    /// import has set.
    async fn check_restored(&mut self, event: &StoredEvent) -> Result<(), Error> {
        if event.stream.as_str() != STREAMS || event.event.name.as_str() != RESTORED {
            return Ok(());
        }
        #[derive(serde::Deserialize)]
        struct RestoredBody {
            stream: StreamId,
        }
        let Ok(restored) = serde_json::from_slice::<RestoredBody>(event.event.body.bytes()) else {
            return Ok(());
        };
        let head = self.target.reader.head(&restored.stream).await?;
        if head.is_some_and(|head| head.archived) {
            let stream = restored.stream;
            return Err(Error::Differs(format!(
                "stream {stream} is archived in it, and restored in the file"
            )));
        }
        Ok(())
    }

    pub(super) fn check_commit_is_whole(&self) -> Result<(), Error> {
        let left = match (&self.commit, &self.open) {
            (Some((_, commit)), _) => commit.events,
            (None, Some(open)) => open.left,
            (None, None) => return Ok(()),
        };
        Err(self.wrong(format!(
            "the commit before this line lacks {left} of its events"
        )))
    }

    /// Stores the events that were read.
    pub(super) async fn put(&mut self) -> Result<(), Error> {
        let (Some(last), first_line) = (self.batch.last(), self.batch_line) else {
            return Ok(());
        };
        let (head, count) = (last.position, self.batch.len() as u64);
        let part = store::Import::Events(std::mem::take(&mut self.batch));
        self.batch_bytes = 0;
        let put = self.target.committer.import(part).await;
        put.map_err(|error| self.refused(first_line, error))?;
        self.imported.events += count;
        self.imported.head = head;
        (self.report)(&self.imported);
        Ok(())
    }

    /// Stores the events that were read, except those of an incomplete commit.
    pub(super) async fn put_whole_commits(&mut self) -> Result<(), Error> {
        if let Some(open) = &self.open {
            let begun = usize::try_from(open.offset).unwrap_or(usize::MAX);
            self.batch.truncate(self.batch.len().saturating_sub(begun));
        }
        self.put().await
    }
}

/// Returns the approximate memory use of an event.
fn bytes(event: &StoredEvent) -> usize {
    let metadata = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let command = event.commit.as_ref().and_then(|it| it.command.as_ref());
    event.event.body.len()
        + metadata(&event.event.metadata)
        + command.map_or(0, |it| it.body.len() + metadata(&it.metadata))
}
