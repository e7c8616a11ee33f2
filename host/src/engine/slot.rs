use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::recent_ids::RecentIds;
use super::replicas::Replicas;
use super::request::Request;
use crate::commit::Run;
use crate::deploy::Deployed;
use crate::model::{Timestamp, Version};

/// What a worker knows of one stream.
pub struct Slot {
    pub state: State,
    /// Commands that can't be decided yet, in order of arrival.
    pub waiting: VecDeque<Request>,
    /// Its guest faulted: it has an instance of its own from now on.
    pub is_apart: bool,
    /// Snapshots that the guest has refused, those of the latest versions.
    pub refused_snapshots: usize,
}

/// How far a stream is from being decided on.
pub enum State {
    /// Nothing is known, and nothing staged.
    Cold,
    /// Being read and folded.
    Loading(Warm),
    /// Decisions can be made.
    Warm(Warm),
    /// The state is gone; commands that were staged on it have not been answered yet.
    Draining(Arc<Run>),
}

/// The state of a stream in a guest.
pub struct Warm {
    pub run: Arc<Run>,
    pub deployed: Arc<Deployed>,
    pub replicas: Replicas,
    /// The version of the state; ahead of the log while appends are staged.
    pub version: Version,
    /// When its last event was recorded.
    pub recorded_at: Timestamp,
    pub is_archived: bool,
    pub ids: RecentIds,
    /// Version of the newest snapshot from which it could be loaded; 0 without one.
    pub snapshot_version: Version,
    /// Its version when a snapshot could not be taken; 0 if that never happened.
    pub tried_at: Version,
    /// A snapshot has been asked for.
    pub snapshot_is_asked: bool,
    /// Its events were not read, since they are too many: it refuses every command.
    pub is_unread: bool,
    /// A warning was logged that it comes near the bound of its category.
    pub is_warned: bool,
    /// When its loading was begun.
    pub begun: Instant,
}

impl Warm {
    /// A state before its first event.
    pub fn new(deployed: Arc<Deployed>, replicas: Replicas) -> Self {
        Self {
            run: Arc::new(Run::begin()),
            deployed,
            replicas,
            version: Version::NONE,
            recorded_at: Timestamp(0),
            is_archived: false,
            ids: RecentIds::default(),
            snapshot_version: Version::NONE,
            tried_at: Version::NONE,
            snapshot_is_asked: false,
            is_unread: false,
            is_warned: false,
            begun: Instant::now(),
        }
    }
}

impl Slot {
    /// A slot of a stream that nobody has asked for yet.
    pub fn new(is_apart: bool) -> Self {
        Self {
            state: State::Cold,
            waiting: VecDeque::new(),
            is_apart,
            refused_snapshots: 0,
        }
    }

    /// Queues a command at its place in the order of arrival.
    pub fn wait(&mut self, mut request: Request) {
        // A commit must not wait for what can't be decided yet.
        request.deciding = None;
        let place = self
            .waiting
            .partition_point(|other| other.arrival < request.arrival);
        self.waiting.insert(place, request);
    }

    /// Everything that was staged on the last state has been answered.
    pub fn end_draining(&mut self) {
        if let State::Draining(run) = &self.state
            && run.is_idle()
        {
            self.state = State::Cold;
        }
    }

    /// Whether nothing would be lost with it but the time of a load.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && match &self.state {
                State::Cold => true,
                State::Warm(warm) => warm.run.is_idle(),
                State::Loading(_) | State::Draining(_) => false,
            }
    }
}
