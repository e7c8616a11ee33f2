//! How projections stand, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::model::{Lifecycle, Position};
use quipu::projection::{self, BuildStatus, Comparison, Deployed, Difference, Status, Trouble};
use quipu::store::{Role, SetAside, Subject};

use crate::choices;

/// How a projection stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProjectionView {
    /// Its name.
    pub name: String,
    /// What is deployed of it; null when no active component has it any more.
    pub deployed: Option<DeployedView>,
    /// `async`, `inline` or `live`.
    #[schema(value_type = choices::Lifecycle)]
    pub lifecycle: String,
    /// `stop`, `skip` or `park`.
    #[schema(value_type = choices::OnError)]
    pub on_error: String,
    /// What its active build does, without one its next build; `not-built` where there is
    /// none yet, `live` for a live one, whatever was built of it before.
    #[schema(value_type = choices::ProjectionStatus)]
    pub state: String,
    /// Whether an operator asked it to wait.
    pub paused: bool,
    /// Whether a rebuild waits for the order to take over.
    pub held: bool,
    /// How far the log can be read.
    pub log_head: u64,
    /// Copies of its documents, at most three: the active one, from which it answers, then
    /// the next one, which is being rebuilt, then the previous one, which is kept for a
    /// roll-back.
    pub builds: Vec<BuildView>,
}

/// What is deployed of a projection.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeployedView {
    /// The component's name.
    pub component: String,
    /// The component's digest.
    pub module: String,
    /// Version of the definition.
    pub version: u32,
}

/// A copy of a projection's documents.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BuildView {
    /// `active`, `next` or `previous`.
    #[schema(value_type = choices::BuildRole)]
    pub role: String,
    /// Version of the definition that it is of.
    pub version: u32,
    /// Digest of the module that folds it.
    pub module: String,
    /// `caught-up`; `catching-up`; `inline`: folded with the appends; `failing`: inline, and
    /// appends that it wants are refused; `retrying`: something failed and is tried again;
    /// `stopped`: something failed and someone has to look; `stale`: events that it has folded are
    /// read in another way by now, and another build is folded from scratch; `paused`; `ready`: a rebuild
    /// waits for the order to take over, held or because of what `waits` says; `kept`: for a roll-back; `orphaned`: no active
    /// component folds it.
    #[schema(value_type = choices::BuildState)]
    pub state: String,
    /// Everything up to this position is in it.
    pub position: u64,
    /// Positions of the log that it is behind.
    pub lag: u64,
    /// Documents.
    pub documents: u64,
    /// Events that wait, each once for each document or stream.
    pub parked: u64,
    /// Events that were left out, each once for each document or stream.
    pub skipped: u64,
    /// When it was begun.
    #[schema(format = "date-time")]
    pub started_at: String,
    /// Whether a host folds it now.
    pub owned: bool,
    /// Milliseconds until it has caught up, if it goes on as it did; absent while nothing can
    /// be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// Why it does not go on; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleView>,
    /// The plan under which its documents were last judged; absent where that is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// Why its documents are not those that a rebuild under the present plan would make; absent
    /// while they are. It goes on, and another build is folded from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
    /// Why a rebuild does not take over by itself, and what to do: it has parked or skipped more
    /// than the active build, or has no trace of some of its documents. Absent when nothing is
    /// in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How a rebuild compares with what it replaces; absent before it has caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonView>,
}

/// Why a build does not go on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TroubleView {
    /// Whether it waits for an operator; else it is tried again by itself.
    pub stopped: bool,
    /// The event that it stands before; null when it is no single one.
    pub position: Option<u64>,
    /// The event's stream.
    pub stream: Option<String>,
    /// The document that can't be folded; null when nothing tells which.
    pub document: Option<String>,
    /// What happened.
    pub error: String,
    /// Since when.
    #[schema(format = "date-time")]
    pub since: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// How the documents of a rebuild compare with those that it replaces.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComparisonView {
    /// When both were looked at.
    #[schema(format = "date-time")]
    pub at: String,
    /// How far the active build had come.
    pub active_position: u64,
    /// How far the rebuild had come.
    pub next_position: u64,
    /// Documents that are the same JSON value.
    pub same: u64,
    /// Documents with the same key that are not.
    pub different: u64,
    /// Documents that only the active build has.
    pub only_active: u64,
    /// Documents that only the rebuild has.
    pub only_next: u64,
    /// Whether all were looked at; else the time for it was over.
    pub complete: bool,
    /// Some of those that differ.
    pub examples: Vec<DifferenceView>,
}

/// A document of which two builds have something else.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DifferenceView {
    /// Its key.
    pub key: String,
    /// Text of the active build's, cut after 1 KiB; null: not there.
    pub active: Option<String>,
    /// Text of the rebuild's, likewise.
    pub next: Option<String>,
}

/// Every projection.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionList {
    /// By name.
    pub projections: Vec<ProjectionView>,
}

/// Events that wait, or were left out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SetAsideList {
    /// The events.
    pub events: Vec<SetAsideView>,
    /// `cursor` of the next page; null at the end.
    pub next: Option<String>,
}

/// An event that waits, or was left out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SetAsideView {
    /// Key of the document that it can't be folded into, or for which it comes behind such
    /// an event; absent when nothing told which documents the event concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Without a document: the event's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The event's place in the log.
    pub position: u64,
    /// Since when.
    #[schema(format = "date-time")]
    pub at: String,
    /// What failed; absent for one that waits behind another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was left out; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ProjectionView {
    /// The view of how a projection stands.
    pub fn of(status: &Status) -> Self {
        let head = status.log_head.0;
        let builds: Vec<_> = status
            .builds
            .iter()
            .map(|build| BuildView::of(build, head))
            .collect();
        let is_live = status.settings.lifecycle == Lifecycle::Live && status.deployed.is_some();
        let state = match main(&builds) {
            _ if is_live => "live",
            Some(build) => build.state.as_str(),
            None => "not-built",
        };
        Self {
            name: status.name.to_string(),
            deployed: status.deployed.as_ref().map(DeployedView::of),
            lifecycle: status.settings.lifecycle.to_string(),
            on_error: status.settings.on_error.to_string(),
            state: state.to_owned(),
            paused: status.is_paused,
            held: status.is_held,
            log_head: head,
            builds,
        }
    }

    /// The build that is answered from, without one that which will be.
    pub fn main_build(&self) -> Option<&BuildView> {
        main(&self.builds)
    }
}

const PREVIOUS: &str = "previous";

fn main(builds: &[BuildView]) -> Option<&BuildView> {
    builds.iter().find(|build| build.role != PREVIOUS)
}

impl DeployedView {
    fn of(deployed: &Deployed) -> Self {
        Self {
            component: deployed.component.clone(),
            module: deployed.module.to_string(),
            version: deployed.version,
        }
    }
}

impl BuildView {
    fn of(build: &BuildStatus, head: u64) -> Self {
        let role = match build.role {
            Role::Active => "active",
            Role::Next => "next",
            Role::Previous => PREVIOUS,
        };
        let remaining = build.remaining.map(|time| time.as_millis());
        Self {
            role: role.to_owned(),
            version: build.version,
            module: build.module.to_string(),
            state: build.state.as_str().to_owned(),
            position: build.position.0,
            lag: head.saturating_sub(build.position.0),
            documents: build.counts.documents,
            parked: build.counts.parked,
            skipped: build.counts.skipped,
            started_at: build.started_at.to_string(),
            owned: build.is_owned,
            remaining_ms: remaining.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            trouble: build.trouble.as_ref().map(TroubleView::of),
            plan: build.plan,
            stale: owned(build.stale.as_deref()),
            waits: owned(build.waits.as_deref()),
            comparison: build.comparison.as_ref().map(ComparisonView::of),
        }
    }
}

impl TroubleView {
    fn of(trouble: &Trouble) -> Self {
        Self {
            stopped: trouble.is_stopped,
            position: trouble.position.map(|position| position.0),
            stream: owned(trouble.stream.as_deref()),
            document: owned(trouble.document.as_deref()),
            error: trouble.error.to_string(),
            since: trouble.since.to_string(),
            attempts: trouble.attempts,
        }
    }
}

impl ComparisonView {
    fn of(comparison: &Comparison) -> Self {
        let example = |difference: &Difference| DifferenceView {
            key: difference.key.to_string(),
            active: owned(difference.active.as_deref()),
            next: owned(difference.next.as_deref()),
        };
        Self {
            at: comparison.at.to_string(),
            active_position: comparison.active_position.0,
            next_position: comparison.next_position.0,
            same: comparison.same,
            different: comparison.different,
            only_active: comparison.only_active,
            only_next: comparison.only_next,
            complete: comparison.is_complete,
            examples: comparison.examples.iter().map(example).collect(),
        }
    }
}

impl SetAsideList {
    /// The view of a page.
    pub fn of(page: &projection::ParkedPage) -> Self {
        let next = page.next.as_ref();
        Self {
            events: page.events.iter().map(SetAsideView::of).collect(),
            next: next.map(|(subject, position)| cursor(subject, *position)),
        }
    }
}

/// Names a place among parked or skipped events: `document.POSITION.KEY` or
/// `stream.POSITION.STREAM`.
pub fn cursor(subject: &Subject, position: Position) -> String {
    match subject {
        Subject::Document(key) => format!("document.{position}.{key}"),
        Subject::Stream(stream) => format!("stream.{position}.{stream}"),
    }
}

impl SetAsideView {
    fn of(event: &SetAside) -> Self {
        let (document, stream) = match &event.subject {
            Subject::Document(key) => (Some(key.to_string()), None),
            Subject::Stream(stream) => (None, Some(stream.to_string())),
        };
        Self {
            document,
            stream,
            position: event.position.0,
            at: event.at.to_string(),
            error: owned(event.error.as_deref()),
            attempts: event.attempts,
            reason: owned(event.reason.as_deref()),
        }
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}
