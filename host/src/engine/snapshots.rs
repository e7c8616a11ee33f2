//! Takes snapshots of committed state, independently of commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::worker::{Inbox, Message};
use crate::deploy::Registry;
use crate::fold::Folder;
use crate::model::{Clock, SharedThrottle, StreamId, Version};
use crate::supervise::Supervisor;

/// Highest number of streams that wait for a snapshot. If there are more, the next command of the
/// stream requests it once more.
const WAITING_MAX: usize = 1_024;

/// Limits log entries about snapshots that fail: those of all streams may, for one reason.
static SAID: SharedThrottle = SharedThrottle::new();

/// When a snapshot of a stream is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Never automatically.
    #[default]
    Off,
    /// When this many events follow the newest usable snapshot; 0 counts as 1.
    Every(u64),
    /// When loading the stream took longer.
    SlowerThan(Duration),
}

/// Policies by category.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// Policy of all other categories.
    pub others: Policy,
    /// Policies of these categories.
    pub by_category: HashMap<String, Policy>,
}

impl Policies {
    /// Returns the policy of a category.
    pub fn of(&self, category: &str) -> Policy {
        let named = self.by_category.get(category);
        named.copied().unwrap_or(self.others)
    }
}

/// Requests snapshots. The task that takes them ends when the last clone is dropped.
#[derive(Clone)]
pub struct Snapshotter(mpsc::Sender<(StreamId, Inbox)>);

/// Takes snapshots.
struct Taking {
    folder: Arc<Folder>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

impl Snapshotter {
    /// Starts the task.
    pub fn start(
        (runtime, supervisor): (&tokio::runtime::Handle, &Supervisor),
        folder: Arc<Folder>,
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(StreamId, Inbox)>(WAITING_MAX);
        let taking = Taking {
            folder,
            registry,
            clock,
        };
        let seat = supervisor.seat("snapshots".to_owned());
        // A panic of a snapshot is noticed by the seat, and the task goes on with the next one.
        runtime.spawn(async move {
            while let Some((stream, worker)) = receiver.recv().await {
                let version = seat.attempt(taking.take(&stream)).await;
                worker.send(Message::Snapshotted(stream, version.unwrap_or_default()));
            }
        });
        Self(sender)
    }

    /// Requests a snapshot of a stream. Its worker is notified when it was stored or could not be
    /// taken. Returns false if too many wait.
    pub(super) fn ask(&self, stream: &StreamId, worker: &Inbox) -> bool {
        self.0.try_send((stream.clone(), worker.clone())).is_ok()
    }
}

impl Taking {
    /// Takes a snapshot and returns its version, if one was stored.
    async fn take(&self, stream: &StreamId) -> Option<Version> {
        let plan = self.registry.plan();
        let rules = &plan.decider(stream.category())?.rules;
        let counts = self.folder.counts();
        let snapshot = match self.folder.renew(rules, stream, self.clock.now()).await {
            Ok(snapshot) => snapshot?,
            Err(error) => {
                counts.failed();
                if let Some(left_out) = SAID.pass(&error.to_string()) {
                    tracing::warn!(%stream, %error, left_out, "no snapshot was taken");
                }
                return None;
            }
        };
        match self.folder.store().keep(stream, &snapshot).await {
            Ok(true) => {
                counts.taken();
                Some(snapshot.version)
            }
            Ok(false) => None,
            Err(error) => {
                counts.failed();
                if let Some(left_out) = SAID.pass(&error.to_string()) {
                    tracing::warn!(%stream, %error, left_out, "a snapshot was not stored");
                }
                None
            }
        }
    }
}
