//! Reads the data from which a state is folded: a snapshot, if one can be used, and the events
//! after it.

use std::sync::Arc;

use super::Shared;
use super::snapshots::Policy;
use crate::deploy::Deployed;
use crate::fold::{self, Start, Until, Unusable};
use crate::model::{StreamId, Timestamp, Version};
use crate::store::{self, Head, LoadPage};

/// The data from which a state is folded.
pub struct Loaded {
    /// The snapshot to begin with. `None`: the fold begins at the first event.
    pub start: Option<Start>,
    /// The first events after it.
    pub page: LoadPage,
    /// Whether more events follow than the category allows. In that case none of them were read.
    pub is_too_long: bool,
}

/// Reads the snapshot to begin with, and the first events after it. The newest `passed_by`
/// snapshots are skipped, because the guest refused them.
pub async fn begin(
    shared: &Shared,
    deployed: &Deployed,
    stream: &StreamId,
    passed_by: usize,
) -> Result<Loaded, fold::Error> {
    let load = |after| {
        let limit = shared.options.load_page;
        shared.reader.load(stream, after, limit)
    };
    let mut first = None;
    if shared.options.snapshots.of(stream.category()) == Policy::Off {
        let page = load(Version::NONE).await?;
        let max = shared.options.stream_events_max.get(stream.category());
        let needs_no_snapshot = page.head.is_none_or(|head| {
            head.first() == Version(1) && max.is_none_or(|max| head.version.0 <= *max)
        });
        if page.is_last && needs_no_snapshot {
            return guarded(shared, stream, None, page).await;
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
                return guarded(shared, stream, Some(start), page).await;
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
        _ => guarded(shared, stream, None, page).await,
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
    start: Option<Start>,
    page: LoadPage,
) -> Result<Loaded, fold::Error> {
    let base = start.as_ref().map_or(0, |start| start.version.0);
    let max = shared.options.stream_events_max.get(stream.category());
    let head = match (max, page.is_last) {
        (Some(_), false) => shared.reader.head(stream).await?,
        _ => page.head,
    };
    let events = head.map_or(0, |head| head.version.0.saturating_sub(base));
    if max.is_none_or(|max| events <= *max) {
        return Ok(Loaded {
            start,
            page,
            is_too_long: false,
        });
    }
    Ok(Loaded {
        start,
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
