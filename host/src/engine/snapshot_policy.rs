//! Decides when a worker requests a snapshot of a stream, and records the result.

use std::sync::Arc;

use super::executor::Executor;
use super::request::Request;
use super::slot::{Slot, State, Warm};
use super::snapshots::Policy;
use super::stream_data;
use super::worker::Message;
use crate::model::{StreamId, Version};

/// Share of its limit at which a stream is near the limit, in percent.
const NEAR_PERCENT: u64 = 90;

impl Executor {
    /// Asks for a snapshot of a stream, if one is due.
    pub(super) fn consider_snapshot(&self, stream: &StreamId, warm: &mut Warm, is_loaded: bool) {
        if self.snapshot_is_due(stream, warm, is_loaded)
            && self.shared.snapshotter.ask(stream, &self.inbox)
        {
            warm.snapshot_is_requested = true;
        }
    }

    /// Whether the policy of a stream's category wants a snapshot by now.
    pub(super) fn snapshot_is_due(&self, stream: &StreamId, warm: &Warm, is_loaded: bool) -> bool {
        let policy = self.shared.options.snapshots.of(stream.category());
        if policy == Policy::Off || warm.snapshot_is_requested || warm.is_unread {
            return false;
        }
        let newest = warm.snapshot_version.max(warm.tried_at);
        let since = warm.version.0.saturating_sub(newest.0);
        match policy {
            Policy::Off => false,
            Policy::Every(events) => since >= events.max(1),
            Policy::SlowerThan(time) => is_loaded && since > 0 && warm.begun.elapsed() > time,
        }
    }

    /// Records that a snapshot was stored, found, or could not be taken.
    pub(super) fn snapshotted(&mut self, slot: &mut Slot, version: Option<Version>) {
        let State::Warm(warm) = &mut slot.state else {
            return;
        };
        warm.snapshot_is_requested = false;
        let Some(version) = version else {
            // The next one is requested when as many events follow this version.
            warm.tried_at = warm.version;
            return;
        };
        let is_newer = version > warm.snapshot_version;
        warm.snapshot_version = warm.snapshot_version.max(version);
        warm.is_warned = false;
        if is_newer && warm.is_unread {
            self.retire(slot);
        }
    }

    /// Checks whether another host, or a person, has taken a snapshot of a stream that is too
    /// long. The command is then re-decided.
    pub(super) fn seek_snapshot(&self, warm: &Warm, mut request: Request) {
        request.snapshot_was_sought = true;
        request.deciding = None;
        let (shared, inbox) = (Arc::clone(&self.shared), self.inbox.clone());
        let (deployed, head) = (Arc::clone(&warm.deployed), warm.version);
        self.shared.runtime.spawn(async move {
            let stream = &request.stream;
            let newest = stream_data::newest_start(&shared, &deployed, stream, head);
            let newest = shared.loading.attempt(newest).await.unwrap_or_default();
            if let Some(version) = newest {
                inbox.send(Message::Snapshotted(stream.clone(), Some(version)));
            }
            inbox.send(Message::Again(request));
        });
    }

    /// Warns once when a stream is near the limit of its category.
    pub(super) fn warn_of_length(&self, stream: &StreamId, warm: &mut Warm) {
        let bounds = &self.shared.options.stream_events_max;
        let Some(max) = bounds.get(stream.category()).copied() else {
            return;
        };
        let events = warm.version.0.saturating_sub(warm.snapshot_version.0);
        if warm.is_warned || events < max.saturating_mul(NEAR_PERCENT) / 100 {
            return;
        }
        warm.is_warned = true;
        self.shared.folder.counts().near_length();
        tracing::warn!(%stream, events, max, "the stream is near the limit of its category: \
            take a snapshot, or raise the limit");
    }
}
