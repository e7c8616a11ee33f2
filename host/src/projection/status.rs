use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Position, Settings, Timestamp};
use crate::store::{BuildCounts, Role, SetAside, Subject};

/// How a projection stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its name.
    pub name: Box<str>,
    /// What is deployed of it; none: no active component has it, and only what was built
    /// is left.
    pub deployed: Option<Deployed>,
    /// How it is kept.
    pub settings: Settings,
    /// Nothing of it is folded, but inline.
    pub is_paused: bool,
    /// A rebuild waits for the order to take over.
    pub is_held: bool,
    /// How far the log can be read.
    pub log_head: Position,
    /// Its builds: the active one first, then the next and the previous one.
    pub builds: Vec<BuildStatus>,
}

/// What is deployed of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The component's name.
    pub component: String,
    /// The component's digest.
    pub module: Digest,
    /// Version of the definition.
    pub version: u32,
}

/// How a build stands.
#[derive(Debug, Clone)]
pub struct BuildStatus {
    /// What it is to its projection.
    pub role: Role,
    /// Version of the definition that it is of.
    pub version: u32,
    /// The module that folds it.
    pub module: Digest,
    /// Everything up to here is in it.
    pub position: Position,
    /// What it does.
    pub state: State,
    /// How many there are of what.
    pub counts: BuildCounts,
    /// When it was begun.
    pub started_at: Timestamp,
    /// Whether a host owns it now.
    pub is_owned: bool,
    /// Why it does not go on.
    pub trouble: Option<Trouble>,
    /// The plan under which its documents were last judged: those that a rebuild under it would
    /// make, unless it is stale. None where it is not known yet.
    pub plan: Option<u64>,
    /// Why its documents are not those that a rebuild would make; none while they are.
    pub stale: Option<Box<str>>,
    /// How a rebuild compares, or compared, with what it replaces.
    pub comparison: Option<Comparison>,
    /// Why a rebuild does not take over by itself, and what to do; none when nothing is in its
    /// way.
    pub waits: Option<Box<str>>,
    /// How long it takes to catch up if it goes on as it did on average; none while nothing
    /// can be said.
    pub remaining: Option<Duration>,
}

/// What a build does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It holds everything up to the head of the log.
    CaughtUp,
    /// It is behind, and on its way.
    CatchingUp,
    /// It is folded in the transactions of appends.
    Inline,
    /// The same, but it keeps failing: appends that it wants are refused.
    Failing,
    /// Something failed, and is tried again.
    Retrying,
    /// Something failed, and someone has to look.
    Stopped,
    /// Events that it has folded are read in another way by now. It goes on, while another
    /// build is folded from scratch.
    Stale,
    /// An operator asked it to wait.
    Paused,
    /// A rebuild that has caught up, and waits for the order to take over: it is held, or lacks
    /// something of the active build.
    Ready,
    /// A previous one, kept for a roll-back.
    Kept,
    /// No active component folds it.
    Orphaned,
}

impl State {
    /// Its name.
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

/// Why a build does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Whether it has given up trying.
    pub is_stopped: bool,
    /// The event that it stands before; none when it is no single one.
    pub position: Option<Position>,
    /// The event's stream.
    pub stream: Option<Box<str>>,
    /// The document that can't be folded; none when nothing told which.
    pub document: Option<Box<str>>,
    /// What happened.
    pub error: Box<str>,
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// How the documents of a rebuild compare with those that it replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// When both were looked at, microseconds since 1970 UTC.
    pub at: Timestamp,
    /// How far the documents that are answered from had come.
    pub active_position: Position,
    /// How far those of the rebuild had come.
    pub next_position: Position,
    /// Documents that are the same JSON value.
    pub same: u64,
    /// Documents with the same key that are not.
    pub different: u64,
    /// Documents that only the active build has.
    pub only_active: u64,
    /// Documents that only the rebuild has.
    pub only_next: u64,
    /// Whether all were looked at; else the time for it was over.
    pub is_complete: bool,
    /// Some of those that differ.
    pub examples: Vec<Difference>,
}

/// A document of which two builds have something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its key.
    pub key: Box<str>,
    /// In the active build; none: not there. Cut after 1 KiB.
    pub active: Option<Box<str>>,
    /// In the rebuild; none: not there. Cut after 1 KiB.
    pub next: Option<Box<str>>,
}

/// What an operator orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Fold nothing until it is resumed. An inline projection goes on.
    Pause,
    /// Go on; also after it has stopped, with what it stopped at.
    Resume,
    /// Build it anew from the first event, beside the running one.
    Rebuild {
        /// Wait for [`Switch`](Self::Switch) when it has caught up.
        hold: bool,
    },
    /// Retry all parked events.
    RetryParked,
    /// Retry the parked events of one subject, in order, from the first on.
    RetryParkedOf {
        /// For whom they wait.
        subject: Subject,
        /// Only if this one is the first of them.
        position: Option<Position>,
    },
    /// Drop parked events for good, from every build: those of one subject, or all.
    DropParked {
        /// For whom they wait.
        subject: Option<Subject>,
        /// Only this one of the subject's; those that wait only for it are retried at once.
        position: Option<Position>,
        /// Why.
        reason: String,
    },
    /// Let the rebuild take over, whatever it lacks.
    Switch,
    /// Back to the build before.
    RollBack,
    /// Inline no longer, asynchronous from here on.
    Detach,
    /// Give the rebuild up.
    Cancel,
    /// Remove the build before; of a projection that is no longer deployed: all of it.
    Drop,
}

/// Events that wait, or were left out.
#[derive(Debug, Clone)]
pub struct ParkedPage {
    /// The events.
    pub events: Vec<SetAside>,
    /// Where to go on.
    pub next: Option<(Subject, Position)>,
}
