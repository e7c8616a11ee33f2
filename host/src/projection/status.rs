use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Position, Settings, Timestamp};
use crate::store::{BuildCounts, FailedEvent, Role, Subject};

/// The status of a projection.
#[derive(Debug, Clone)]
pub struct Status {
    /// Name of the projection.
    pub name: Box<str>,
    /// The deployed definition. `None` if no active component defines the projection, and only its
    /// builds are left.
    pub deployed: Option<Deployed>,
    /// Settings: lifecycle and error policy.
    pub settings: Settings,
    /// Whether the projection is paused: no build is folded, except an inline one.
    pub is_paused: bool,
    /// Whether a rebuild waits for a `switch`.
    pub is_held: bool,
    /// The last position up to which the log can be read.
    pub log_head: Position,
    /// The builds: the active one first, then the next and the previous one.
    pub builds: Vec<BuildStatus>,
}

/// The deployed definition of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Name of the component.
    pub component: String,
    /// Digest of the component.
    pub module: Digest,
    /// Version of the definition.
    pub version: u32,
}

/// The status of a build.
#[derive(Debug, Clone)]
pub struct BuildStatus {
    /// Role of the build in its projection.
    pub role: Role,
    /// Version of the definition that the build was made with.
    pub version: u32,
    /// The module that folds the build.
    pub module: Digest,
    /// The checkpoint: the build includes everything up to here.
    pub position: Position,
    /// What the build is doing.
    pub state: State,
    /// Counts of documents, parked events and skipped events.
    pub counts: BuildCounts,
    /// When the build was started.
    pub started_at: Timestamp,
    /// Whether a host owns the build now.
    pub is_owned: bool,
    /// The error that holds the build up.
    pub trouble: Option<Trouble>,
    /// The plan under which the documents were last checked. Unless the build is stale, they are
    /// what a rebuild under this plan would produce. `None` if it is not known yet.
    pub plan: Option<u64>,
    /// Why the documents differ from what a rebuild would produce. `None` if they do not.
    pub stale: Option<Box<str>>,
    /// How a rebuild compares with the build it replaces, or did when it took over.
    pub comparison: Option<Comparison>,
    /// Why a rebuild does not take over automatically, and what to do. `None` if nothing prevents
    /// it.
    pub waits: Option<Box<str>>,
    /// Estimated time until the build has caught up, from its average speed. `None` if there is no
    /// estimate.
    pub remaining: Option<Duration>,
}

/// The state of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The build includes everything up to the head of the log.
    CaughtUp,
    /// The build lags and is catching up.
    CatchingUp,
    /// The build is folded in the transactions of appends.
    Inline,
    /// The build is inline but keeps failing: appends that it has to fold are rejected.
    Failing,
    /// Something failed and is being retried.
    Retrying,
    /// Something failed, and an operator must act.
    Stopped,
    /// Events that the build has folded are read differently now. The build continues while a
    /// rebuild is folded from scratch.
    Stale,
    /// An operator paused the projection.
    Paused,
    /// A rebuild has caught up and waits for a `switch`, because it is held or lacks something that
    /// the active build has.
    Ready,
    /// The previous build, stored for a roll-back.
    Kept,
    /// No active component defines the projection.
    Orphaned,
}

impl State {
    /// Returns the name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CaughtUp => "caught-up",
            Self::CatchingUp => "catching-up",
            Self::Inline => "inline",
            Self::Failing => "failing",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
            Self::Stale => "stale",
            Self::Paused => "paused",
            Self::Ready => "ready",
            Self::Kept => "kept",
            Self::Orphaned => "orphaned",
        }
    }
}

/// An error that holds a build up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Whether the build has stopped retrying.
    pub is_stopped: bool,
    /// The event before which the build has stopped. `None` if the error is not about a single
    /// event.
    pub position: Option<Position>,
    /// Stream of the event.
    pub stream: Option<Box<str>>,
    /// The document that can't be folded. `None` if it is unknown.
    pub document: Option<Box<str>>,
    /// What happened.
    pub error: Box<str>,
    /// When it first happened.
    pub since: Timestamp,
    /// Number of attempts so far.
    pub attempts: u32,
}

/// How the documents of a rebuild compare with those that it replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// When the builds were compared, in microseconds since 1970 UTC.
    pub at: Timestamp,
    /// Position of the active build at that time.
    pub active_position: Position,
    /// Position of the rebuild at that time.
    pub next_position: Position,
    /// Documents that have the same JSON value in both builds.
    pub same: u64,
    /// Documents with the same key but different values.
    pub different: u64,
    /// Documents that only the active build has.
    pub only_active: u64,
    /// Documents that only the rebuild has.
    pub only_next: u64,
    /// Whether all documents were compared. If not, the time limit was reached.
    pub is_complete: bool,
    /// Some of the differences.
    pub examples: Vec<Difference>,
}

/// A document that differs between two builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Key of the document.
    pub key: Box<str>,
    /// The document in the active build, truncated to 1 KiB. `None` if it does not exist there.
    pub active: Option<Box<str>>,
    /// The document in the rebuild, truncated to 1 KiB. `None` if it does not exist there.
    pub next: Option<Box<str>>,
}

/// A command to a projection, from an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Stops folding until the projection is resumed. An inline projection continues.
    Pause,
    /// Continues after a pause, or retries after the build has stopped.
    Resume,
    /// Builds the projection from scratch, starting at the first event, next to the active build.
    Rebuild {
        /// Whether the rebuild waits for [`Switch`](Self::Switch) after it has caught up.
        hold: bool,
    },
    /// Retries all parked events.
    RetryParked,
    /// Retries the parked events of one subject, in order, starting with the first.
    RetryParkedOf {
        /// The document or stream for which the events are parked.
        subject: Subject,
        /// If given, it must be the position of the first of them.
        position: Option<Position>,
    },
    /// Drops parked events for good, from every build: those of one subject, or all.
    DropParked {
        /// The document or stream for which the events are parked.
        subject: Option<Subject>,
        /// Drops only this event of the subject. Events that are parked only because of it are then
        /// retried immediately.
        position: Option<Position>,
        /// Why the events are dropped.
        reason: String,
    },
    /// Lets the rebuild take over, even if it lacks something that the active build has.
    Switch,
    /// Makes the previous build active.
    RollBack,
    /// Makes an inline projection asynchronous.
    Detach,
    /// Cancels the rebuild and removes it.
    Cancel,
    /// Removes the previous build. Removes all builds of a projection that is no longer deployed.
    Drop,
}

/// A page of parked or skipped events.
#[derive(Debug, Clone)]
pub struct ParkedPage {
    /// The events.
    pub events: Vec<FailedEvent>,
    /// Where the next page starts.
    pub next: Option<(Subject, Position)>,
}
