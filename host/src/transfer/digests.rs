//! Checks the digests of commits that are imported or exported.

use std::collections::HashMap;

use crate::model::{Digest, Position, StreamId, Version};
use crate::store::commit_digest::{CommitHasher, EventFields};
use crate::store::{DigestStore, EventReader, Result, StoredEvent};

/// Where the digest of the commit before the first one of a stream in the file is.
#[derive(Clone, Copy)]
pub enum Earlier<'a> {
    /// There is no commit before it.
    Nothing,
    /// At the head of the stream, after which the commit is imported.
    Head(&'a dyn EventReader),
    /// In the store that is exported.
    Store(&'a dyn DigestStore),
}

impl Earlier<'_> {
    async fn digest(self, event: &StoredEvent) -> Result<Option<Digest>> {
        let (stream, version) = (&event.stream, event.version.0);
        match self {
            Self::Nothing => Ok(None),
            Self::Head(reader) => Ok(reader.head(stream).await?.and_then(|head| head.digest)),
            Self::Store(_) if version <= 1 => Ok(None),
            Self::Store(digests) => {
                let span = digests.span(stream.as_str(), version, version).await?;
                let before = span.and_then(|span| span.before);
                let bytes = before.and_then(|(_, digest)| digest);
                // One of another length is found with its own commit.
                Ok(bytes.and_then(|it| <[u8; 32]>::try_from(it).map(Digest).ok()))
            }
        }
    }
}

/// The digests of a file. This takes about 100 bytes for each stream of the file.
#[derive(Debug, Default)]
pub struct CommitDigests {
    /// The digest of the last commit of each stream that was imported.
    last: HashMap<StreamId, Option<Digest>>,
    /// The commit whose events are being read, if it has a digest.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    hasher: CommitHasher,
    left: u64,
    digest: Digest,
    first: (Position, Version),
}

impl CommitDigests {
    /// What is wrong if the events end here: a commit with a digest lacks some of its events.
    pub fn lacking(&self) -> Option<String> {
        let open = self.open.as_ref()?;
        let ((position, _), left) = (open.first, open.left);
        Some(format!(
            "the commit at position {position} lacks {left} of its events"
        ))
    }

    /// Takes the next event of the file. Returns what is wrong, if its commit is whole and does not
    /// have its digest.
    pub async fn take(
        &mut self,
        earlier: Earlier<'_>,
        event: &StoredEvent,
    ) -> Result<Option<String>> {
        if let Some(commit) = &event.commit {
            if let Earlier::Store(_) = earlier
                && let Some(why) = self.lacking()
            {
                return Ok(Some(why));
            }
            let previous = match self.last.get(&event.stream) {
                Some(last) => *last,
                None => earlier.digest(event).await?,
            };
            self.last.insert(event.stream.clone(), commit.digest);
            self.open = match commit.digest {
                None => None,
                Some(digest) => {
                    // A digest may have been added to the one before after this one was written.
                    let previous = [previous, None];
                    let count = 1 + usize::from(previous[0].is_some());
                    let hasher = CommitHasher::of_stored(&previous[..count], commit, event)?;
                    Some(Open {
                        hasher,
                        left: commit.events.saturating_sub(1),
                        digest,
                        first: (event.position, event.version),
                    })
                }
            };
        } else if let Some(open) = &mut self.open {
            let fields = EventFields::of(&event.event, event.recorded_at);
            open.hasher.event(&fields);
            open.left = open.left.saturating_sub(1);
        }
        Ok(self.open.take_if(|open| open.left == 0).and_then(|open| {
            let is_right = open.hasher.digests().any(|digest| digest == open.digest);
            (!is_right).then(|| {
                let (position, version) = open.first;
                let stream = &event.stream;
                format!(
                    "the commit at position {position}, stream {stream}, version {version}, does not \
                     have its digest: it, or the commit before it in its stream, was changed"
                )
            })
        }))
    }
}
