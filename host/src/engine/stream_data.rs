//! Reads the data from which a state is folded: a snapshot, if one can be used, and the events
//! after it.

use std::sync::Arc;

use super::Shared;
use super::resume::Resume;
use super::snapshots::Policy;
use crate::deploy::Deployed;
use crate::fold::{self, Start, Until, Unusable};
use crate::model::{StreamId, Timestamp, Version};
use crate::store::{self, Head, LoadPage};

/// The data from which a state is folded.
pub struct Loaded {
    /// Where the fold begins.
    pub begin: Begin,
    /// The first events after it.
    pub page: LoadPage,
    /// Whether more events follow than the category allows. In that case none of them were read.
    pub is_too_long: bool,
}

/// Where the fold of a stream begins.
pub enum Begin {
    /// At the first event, or where the last page ended.
    Events,
    /// At a stored snapshot.
    Snapshot(Start),
    /// At a state that was kept after a conflict.
    Resume(Resume),
}

impl Begin {
    /// Version of the stored snapshot on which the fold rests; 0 without one.
    fn snapshot_version(&self) -> Version {
        match self {
            Self::Events => Version::NONE,
            Self::Snapshot(start) => start.version,
            Self::Resume(resume) => resume.snapshot_version,
        }
    }
}

/// Reads the state to begin with, and the first events after it: the one that was kept, if it
/// serves, otherwise a snapshot. The newest `passed_by` snapshots are skipped, because the guest
/// refused them.
pub async fn begin(
    shared: &Shared,
    deployed: &Deployed,
    stream: &StreamId,
    resume: Option<Resume>,
    passed_by: usize,
) -> Result<Loaded, fold::Error> {
    let load = |after| {
        let limit = shared.options.load_page;
        shared.reader.load(stream, after, limit)
    };
    if let Some(resume) = resume {
        let page = load(resume.start.version).await?;
        if page.head.is_some_and(|head| resume.start.serves_at(head)) {
            let loaded = guarded(shared, stream, Begin::Resume(resume), page).await?;
            // Otherwise a snapshot that was stored since may make the stream short enough.
            if !loaded.is_too_long {
                return Ok(loaded);
            }
        }
    }
    let mut first = None;
    if shared.options.snapshots.of(stream.category()) == Policy::Off {
        let page = load(Version::NONE).await?;
        let max = shared.options.stream_events_max.get(stream.category());
        let needs_no_snapshot = page.head.is_none_or(|head| {
            head.first() == Version(1) && max.is_none_or(|max| head.version.0 <= *max)
        });
        if page.is_last && needs_no_snapshot {
            return guarded(shared, stream, Begin::Events, page).await;
        }
        first = Some(page);
    }
    for start in starts(shared, deployed, stream)
        .await?
        .into_iter()
        .skip(passed_by)
    {
        let page = load(start.version).await?;
        let head = page.head.filter(|head| head.version >= start.version);
        match head {
            Some(head) if start.serves(head) => {
                return guarded(shared, stream, Begin::Snapshot(start), page).await;
            }
            Some(_) => {}
            None => {
                let why = Unusable::Beyond(start.version);
                shared.folder.ignore(stream, why.code(), &why);
            }
        }
    }
    let page = match first {
        Some(page) => page,
        None => load(Version::NONE).await?,
    };
    match page.head {
        Some(head) if head.first() > Version(1) => Err(fold::no_anchor(stream, head)),
        _ => guarded(shared, stream, Begin::Events, page).await,
    }
}

/// Returns the snapshots from which the fold may begin, whatever version the stream has.
async fn starts(
    shared: &Shared,
    deployed: &Deployed,
    stream: &StreamId,
) -> Result<Vec<Start>, fold::Error> {
    let stored = shared.folder.snapshots(stream).await?;
    let anywhere = Head {
        version: Version(u64::MAX),
        recorded_at: Timestamp(0),
        archived: false,
        // The mark is checked after the read.
        truncated_before: Version(1),
        digest: None,
    };
    let (folder, rules) = (&shared.folder, &deployed.rules);
    Ok(folder.starts(rules, stream, &stored, anywhere, Until::End))
}

/// Checks the length of a stream. A stream that is too long is not folded at all.
async fn guarded(
    shared: &Shared,
    stream: &StreamId,
    begin: Begin,
    page: LoadPage,
) -> Result<Loaded, fold::Error> {
    let base = begin.snapshot_version().0;
    let max = shared.options.stream_events_max.get(stream.category());
    let head = match (max, page.is_last) {
        (Some(_), false) => shared.reader.head(stream).await?,
        _ => page.head,
    };
    let events = head.map_or(0, |head| head.version.0.saturating_sub(base));
    if max.is_none_or(|max| events <= *max) {
        return Ok(Loaded {
            begin,
            page,
            is_too_long: false,
        });
    }
    Ok(Loaded {
        begin,
        page: LoadPage {
            head,
            events: Vec::new(),
            is_last: true,
        },
        is_too_long: true,
    })
}

/// Returns the version of the newest snapshot from which a stream at version `head`, or later,
/// could be loaded now.
pub async fn newest_start(
    shared: &Arc<Shared>,
    deployed: &Deployed,
    stream: &StreamId,
    head: Version,
) -> Option<Version> {
    let starts = starts(shared, deployed, stream).await.ok()?;
    let mut versions = starts.iter().map(|start| start.version);
    versions.find(|version| *version <= head)
}

/// Returns the error for a load that panicked. It may be repeated.
pub(super) fn not_loaded(cause: &str) -> fold::Error {
    let text = format!("the stream was not loaded: a part of the host panicked: {cause}");
    fold::Error::Store(store::Error::Unavailable(text))
}
