//! A worker's part in snapshots: when to ask for one, and what it means that it is there.

use std::sync::Arc;

use super::load;
use super::request::Request;
use super::slot::{State, Warm};
use super::snapshots::Policy;
use super::worker::{Core, Message};
use crate::model::{StreamId, Version};

/// A stream comes near its bound at this share of it, in percent.
const NEAR_PERCENT: u64 = 90;

impl Core {
    /// Asks for a snapshot of a stream, if one is due.
    pub(super) fn consider_snapshot(&mut self, stream: &StreamId, is_loaded: bool) {
        if !self.snapshot_is_due(stream, is_loaded) {
            return;
        }
        if self.shared.snapshotter.ask(stream, &self.myself)
            && let Some(warm) = self.warm(stream)
        {
            warm.snapshot_is_asked = true;
        }
    }

    /// Whether the policy of a stream's category wants a snapshot by now.
    pub(super) fn snapshot_is_due(&mut self, stream: &StreamId, is_loaded: bool) -> bool {
        let policy = self.shared.options.snapshots.of(stream.category());
        if policy == Policy::Off {
            return false;
        }
        let Some(warm) = self.warm(stream) else {
            return false;
        };
        if warm.snapshot_is_asked || warm.is_unread {
            return false;
        }
        let newest = warm.snapshot_version.max(warm.tried_at);
        let behind = warm.version.0.saturating_sub(newest.0);
        match policy {
            Policy::Off => false,
            Policy::Every(events) => behind >= events.max(1),
            Policy::SlowerThan(time) => is_loaded && behind > 0 && warm.begun.elapsed() > time,
        }
    }

    /// A snapshot was stored, found, or could not be taken.
    pub(super) fn snapshotted(&mut self, stream: &StreamId, version: Option<Version>) {
        let Some(warm) = self.warm(stream) else {
            return;
        };
        warm.snapshot_is_asked = false;
        let Some(version) = version else {
            // Asked for again only when as many events have come behind this one.
            warm.tried_at = warm.version;
            return;
        };
        let is_newer = version > warm.snapshot_version;
        warm.snapshot_version = warm.snapshot_version.max(version);
        warm.is_warned = false;
        if is_newer && warm.is_unread {
            self.retire(stream);
            self.advance(stream);
        }
    }

    /// Looks whether another host, or a person, has taken a snapshot of a stream that is
    /// too long, and decides the command again.
    pub(super) fn seek_snapshot(&self, mut request: Request) {
        let Some(State::Warm(warm)) = self.slots.get(&request.stream).map(|slot| &slot.state)
        else {
            return self.myself.send(Message::Again(request));
        };
        request.snapshot_was_sought = true;
        request.deciding = None;
        let (shared, myself) = (Arc::clone(&self.shared), self.myself.clone());
        let (deployed, head) = (Arc::clone(&warm.deployed), warm.version);
        self.shared.runtime.spawn(async move {
            let stream = &request.stream;
            let newest = load::newest_start(&shared, &deployed, stream, head);
            let newest = shared.loading.attempt(newest).await.unwrap_or_default();
            if let Some(version) = newest {
                myself.send(Message::Snapshotted(stream.clone(), Some(version)));
            }
            myself.send(Message::Again(request));
        });
    }

    /// Says once that a stream comes near the bound of its category.
    pub(super) fn warn_of_length(&mut self, stream: &StreamId) {
        let bounds = &self.shared.options.stream_events_max;
        let Some(max) = bounds.get(stream.category()).copied() else {
            return;
        };
        let folder = Arc::clone(&self.shared.folder);
        let Some(warm) = self.warm(stream) else {
            return;
        };
        let events = warm.version.0.saturating_sub(warm.snapshot_version.0);
        if warm.is_warned || events < max.saturating_mul(NEAR_PERCENT) / 100 {
            return;
        }
        warm.is_warned = true;
        folder.counts().near_length();
        tracing::warn!(%stream, events, max, "the stream comes near the bound of its category: \
            take a snapshot, or raise the bound");
    }

    fn warm(&mut self, stream: &StreamId) -> Option<&mut Warm> {
        match &mut self.slots.get_mut(stream)?.state {
            State::Warm(warm) => Some(warm),
            State::Cold | State::Loading(_) | State::Draining(_) => None,
        }
    }
}
