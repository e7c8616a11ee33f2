//! Reading what a state is folded from: a snapshot, where one can be used, and the
//! events behind it.

use std::sync::Arc;

use super::Shared;
use super::snapshots::Policy;
use crate::deploy::Deployed;
use crate::fold::{self, Start, Until, Unusable};
use crate::model::{StreamId, Timestamp, Version};
use crate::store::{self, Head, LoadPage};

/// What a state is folded from.
pub struct Loaded {
    /// Where it begins; none: at the first event.
    pub start: Option<Start>,
    /// The events behind it.
    pub page: LoadPage,
    /// There are more events behind it than its category allows, of which none were read.
    pub is_too_long: bool,
}

/// Reads where a state begins, and the first events behind it. So many snapshots are
/// passed by, since the guest refused them.
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

/// Snapshots from which the fold may begin, whatever version the stream has.
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
        // Whether it has a mark is looked at behind the read.
        truncated_before: Version(1),
    };
    let (folder, rules) = (&shared.folder, &deployed.rules);
    Ok(folder.starts(rules, stream, &stored, anywhere, Until::End))
}

/// What is too long isn't folded at all.
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

/// The version of the newest snapshot from which a stream that stands at `head`, or
/// behind it, could be loaded now.
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

/// A load that panicked; it may be tried again.
pub(super) fn not_loaded(cause: &str) -> fold::Error {
    let text = format!("the stream was not loaded: a part of the host panicked: {cause}");
    fold::Error::Store(store::Error::Unavailable(text))
}
