use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::recent_ids::RecentIds;
use super::replicas::Replicas;
use super::request::Request;
use crate::commit::Run;
use crate::deploy::Deployed;
use crate::model::{Timestamp, Version};

/// Data of a worker about one stream.
pub struct Slot {
    pub state: State,
    /// Commands that can't be decided yet, in order of arrival.
    pub waiting: VecDeque<Request>,
    /// Whether the guest faulted at this stream. The stream then always has a separate instance.
    pub is_separate: bool,
    /// Number of the newest snapshots that the guest has refused.
    pub refused_snapshots: usize,
    /// Whether others wrote to the stream before a command of this worker was committed.
    pub is_contested: bool,
}

/// State of a stream in a worker.
pub enum State {
    /// Nothing is known, and nothing is staged.
    Cold,
    /// The stream is being read and folded.
    Loading(Warm),
    /// Commands can be decided.
    Warm(Warm),
    /// The state is gone, but commands staged on it have not been answered yet.
    Draining(Arc<Run>),
}

/// The state of a stream in a guest.
pub struct Warm {
    pub run: Arc<Run>,
    pub deployed: Arc<Deployed>,
    pub replicas: Replicas,
    /// Version of the state. It is ahead of the log while appends are staged.
    pub version: Version,
    /// Time at which the last event was recorded.
    pub recorded_at: Timestamp,
    pub is_archived: bool,
    pub ids: RecentIds,
    /// Version of the newest snapshot from which the stream could be loaded; 0 without one.
    pub snapshot_version: Version,
    /// Version at which a snapshot could not be taken; 0 if that never happened.
    pub tried_at: Version,
    /// Whether a snapshot has been requested.
    pub snapshot_is_requested: bool,
    /// Whether the events were not read because there are too many. All commands are then rejected.
    pub is_unread: bool,
    /// Whether a warning was logged that the stream is near the limit of its category.
    pub is_warned: bool,
    /// Version after which events were read.
    pub begun_at: Version,
    /// Time at which loading began.
    pub begun: Instant,
}

impl Warm {
    /// Creates a state before its first event.
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
            snapshot_is_requested: false,
            is_unread: false,
            is_warned: false,
            begun_at: Version::NONE,
            begun: Instant::now(),
        }
    }
}

impl Slot {
    /// Creates a slot for a stream without requests.
    pub fn new(is_separate: bool) -> Self {
        Self {
            state: State::Cold,
            waiting: VecDeque::new(),
            is_separate,
            refused_snapshots: 0,
            is_contested: false,
        }
    }

    /// Queues a command, ordered by arrival.
    pub fn wait(&mut self, mut request: Request) {
        // A commit must not wait for a command that can't be decided yet.
        request.deciding = None;
        let place = self
            .waiting
            .partition_point(|other| other.arrival < request.arrival);
        self.waiting.insert(place, request);
    }

    /// Ends draining if everything that was staged on the last state has been answered.
    pub fn end_draining(&mut self) {
        if let State::Draining(run) = &self.state
            && run.is_idle()
        {
            self.state = State::Cold;
        }
    }

    /// Whether the slot can be dropped. Its only cost is then the time of a load.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && match &self.state {
                State::Cold => true,
                State::Warm(warm) => warm.run.is_idle(),
                State::Loading(_) | State::Draining(_) => false,
            }
    }
}
