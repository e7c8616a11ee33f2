//! Snapshots and counts of types.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{Log, Shared};
use crate::{
    Anchor, Result, SNAPSHOTS_PAGE_MAX, SnapshotStore, StoredSnapshot, TypeStore, TypeUse,
};
use quipu_model::{ContentType, Name, StreamId, Version};

/// What is kept of a stream besides its events.
#[derive(Default)]
pub struct Kept {
    pub snapshot: Option<StoredSnapshot>,
    pub anchor: Option<StoredSnapshot>,
    /// The mark of a truncated stream; 0: none.
    pub truncated_before: Version,
}

impl Kept {
    /// Sets the mark, or removes it.
    pub fn truncate(&mut self, before: Version, anchor: Option<&StoredSnapshot>) {
        self.truncated_before = before;
        self.anchor = anchor.map(|anchor| StoredSnapshot {
            is_anchor: true,
            ..anchor.clone()
        });
    }

    fn all(&self) -> impl Iterator<Item = &StoredSnapshot> {
        self.snapshot.iter().chain(&self.anchor)
    }
}

impl Log {
    fn keep_snapshot(&mut self, stream: &StreamId, snapshot: &StoredSnapshot) -> bool {
        let Some(places) = self.streams.get_mut(stream) else {
            return false;
        };
        let head = Version(places.events.len() as u64);
        let is_later = places.kept.snapshot.as_ref().is_some_and(|known| {
            let is_reached = known.version > snapshot.version && known.version <= head;
            known.fold == snapshot.fold && is_reached
        });
        if is_later || snapshot.version > head {
            return false;
        }
        places.kept.snapshot = Some(StoredSnapshot {
            is_anchor: false,
            ..snapshot.clone()
        });
        true
    }
}

impl SnapshotStore for Shared {
    fn find<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Vec<StoredSnapshot>>> {
        let log = self.lock();
        let kept = log.streams.get(stream).map(|places| &places.kept);
        let mut found: Vec<_> = kept.into_iter().flat_map(Kept::all).cloned().collect();
        found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.version));
        ready(Ok(found)).boxed()
    }

    fn keep<'a>(
        &'a self,
        stream: &'a StreamId,
        snapshot: &'a StoredSnapshot,
    ) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(self.lock().keep_snapshot(stream, snapshot))).boxed()
    }

    fn newest<'a>(
        &'a self,
        category: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(StreamId, StoredSnapshot)>>> {
        let log = self.lock();
        let streams = log.streams.iter();
        let of_category = streams.filter(|(stream, _)| stream.category() == category);
        let all = of_category.flat_map(|(stream, places)| {
            let snapshots = places.kept.all();
            snapshots.map(|snapshot| (stream.clone(), snapshot.clone()))
        });
        let mut found: Vec<_> = all.collect();
        found.sort_by_key(|(_, snapshot)| std::cmp::Reverse(snapshot.taken_at));
        found.truncate(limit.min(SNAPSHOTS_PAGE_MAX));
        ready(Ok(found)).boxed()
    }

    fn anchors<'a>(
        &'a self,
        category: Option<&'a str>,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Anchor>>> {
        let log = self.lock();
        let streams = log.streams.iter().filter(|(stream, _)| {
            after.is_none_or(|after| stream.as_str() > after)
                && category.is_none_or(|category| stream.category() == category)
        });
        let anchors = streams.filter_map(|(stream, places)| {
            Some(Anchor {
                stream: stream.clone(),
                before: places.kept.truncated_before,
                snapshot: places.kept.anchor.clone()?,
            })
        });
        let found = anchors.take(limit.min(SNAPSHOTS_PAGE_MAX)).collect();
        ready(Ok(found)).boxed()
    }
}

impl TypeStore for Shared {
    fn types(&self) -> BoxFuture<'_, Result<Vec<TypeUse>>> {
        let log = self.lock();
        let mut uses: BTreeMap<(String, Name, u32, String), TypeUse> = BTreeMap::new();
        for event in log.events.iter().map(|kept| &kept.seen) {
            let (category, content_type) = (event.stream.category(), event.body.content_type());
            let key = (
                category.to_owned(),
                event.name.clone(),
                event.schema_version,
                content_type.as_str().to_owned(),
            );
            let place = (event.position, event.recorded_at);
            let used = uses.entry(key).or_insert_with(|| TypeUse {
                category: category.into(),
                name: event.name.clone(),
                schema_version: event.schema_version,
                content_type: ContentType::clone(content_type),
                events: 0,
                oldest: place,
                newest: place,
            });
            used.events += 1;
            used.newest = place;
        }
        ready(Ok(uses.into_values().collect())).boxed()
    }
}
