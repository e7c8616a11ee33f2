//! The status of projections as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::model::{Lifecycle, Position};
use quipu::projection::{self, BuildStatus, Comparison, Deployed, Difference, Status, Trouble};
use quipu::store::{FailedEvent, Role, Subject};

use crate::choices;

/// The status of a projection.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProjectionView {
    /// Its name.
    pub name: String,
    /// The deployed definition; null when no active component has the projection any more.
    pub deployed: Option<DeployedView>,
    /// `async`, `inline` or `live`.
    #[schema(value_type = choices::Lifecycle)]
    pub lifecycle: String,
    /// `stop`, `skip` or `park`.
    #[schema(value_type = choices::OnError)]
    pub on_error: String,
    /// The state of its active build, or of its next build if there is no active one; `not-built`
    /// when there is neither; `live` for a live projection, even if it has builds from before.
    #[schema(value_type = choices::ProjectionStatus)]
    pub state: String,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Whether a rebuild waits for the action `switch`.
    pub held: bool,
    /// The last position of the log that can be read.
    pub log_head: u64,
    /// The builds, at most three: the active one, which answers; the next one, which is being
    /// rebuilt; the previous one, which is stored for a rollback.
    pub builds: Vec<BuildView>,
}

/// The deployed definition of a projection.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeployedView {
    /// The component's name.
    pub component: String,
    /// The component's digest.
    pub module: String,
    /// Version of the definition.
    pub version: u32,
}

/// A build: one copy of a projection's documents.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BuildView {
    /// `active`, `next` or `previous`.
    #[schema(value_type = choices::BuildRole)]
    pub role: String,
    /// Version of its definition.
    pub version: u32,
    /// Digest of the module that folds it.
    pub module: String,
    /// `caught-up`; `catching-up`; `inline`: folded with the appends; `failing`: inline, and
    /// appends with events for it are rejected; `retrying`: an error occurred and the event is
    /// retried; `stopped`: an error occurred and an operator has to act; `stale`: events that it
    /// has folded are now read in another way, and another build is folded from scratch; `paused`;
    /// `ready`: a rebuild waits for the action `switch`, because it was requested or because of
    /// `waits`; `kept`: stored for a rollback; `orphaned`: no active component folds it.
    #[schema(value_type = choices::BuildState)]
    pub state: String,
    /// Everything up to this position is in it.
    pub position: u64,
    /// Its lag in positions of the log.
    pub lag: u64,
    /// Number of documents.
    pub documents: u64,
    /// Parked events, counted once for each document or stream.
    pub parked: u64,
    /// Skipped events, counted once for each document or stream.
    pub skipped: u64,
    /// When the build was begun.
    #[schema(format = "date-time")]
    pub started_at: String,
    /// Whether a host is folding it now.
    pub owned: bool,
    /// Estimated milliseconds until it has caught up; absent when there is no estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// Why it does not continue; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleView>,
    /// The plan under which its documents were last checked; absent when that is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// Why its documents differ from those of a rebuild under the current plan; absent while they
    /// do not. It continues, and another build is folded from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
    /// Why a rebuild does not take over by itself, and what to do: it has parked or skipped more
    /// events than the active build, or lacks every trace of some of its documents. Absent when
    /// nothing prevents the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How a rebuild compares with the build that it replaces; absent before it has caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonView>,
}

/// Why a build does not continue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TroubleView {
    /// Whether it waits for an operator; otherwise it is retried automatically.
    pub stopped: bool,
    /// The event before which it stopped; null when it is not a single event.
    pub position: Option<u64>,
    /// The event's stream.
    pub stream: Option<String>,
    /// The document that can't be folded; null when it is unknown.
    pub document: Option<String>,
    /// A description of the error.
    pub error: String,
    /// When it first occurred.
    #[schema(format = "date-time")]
    pub since: String,
    /// Number of attempts.
    pub attempts: u32,
}

/// How the documents of a rebuild compare with those of the build that it replaces.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComparisonView {
    /// When both were compared.
    #[schema(format = "date-time")]
    pub at: String,
    /// The position that the active build had reached.
    pub active_position: u64,
    /// The position that the rebuild had reached.
    pub next_position: u64,
    /// Documents that are the same JSON value.
    pub same: u64,
    /// Documents with the same key but different values.
    pub different: u64,
    /// Documents that only the active build has.
    pub only_active: u64,
    /// Documents that only the rebuild has.
    pub only_next: u64,
    /// Whether all documents were compared; otherwise the time limit was reached.
    pub complete: bool,
    /// Some of the documents that differ.
    pub examples: Vec<DifferenceView>,
}

/// A document that differs between two builds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DifferenceView {
    /// Its key.
    pub key: String,
    /// Text in the active build, cut after 1 KiB; null: the document does not exist there.
    pub active: Option<String>,
    /// Text in the rebuild, cut in the same way.
    pub next: Option<String>,
}

/// Every projection.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionList {
    /// The projections by name.
    pub projections: Vec<ProjectionView>,
}

/// Parked or skipped events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FailedEventList {
    /// The events.
    pub events: Vec<FailedEventView>,
    /// `cursor` of the next page; null at the end.
    pub next: Option<String>,
}

/// A parked or skipped event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailedEventView {
    /// Key of the document that the event can't be folded into, or whose earlier event is parked;
    /// absent when the event's documents are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// For an event without a document: its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The event's position in the log.
    pub position: u64,
    /// When it was parked or skipped.
    #[schema(format = "date-time")]
    pub at: String,
    /// The error; absent for an event that only waits for an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Number of attempts.
    pub attempts: u32,
    /// Why it was skipped; absent while it is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ProjectionView {
    /// The view of a projection's status.
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

    /// The build that answers, or the one that will answer if there is none yet.
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

impl FailedEventList {
    /// The view of a page.
    pub fn of(page: &projection::ParkedPage) -> Self {
        let next = page.next.as_ref();
        Self {
            events: page.events.iter().map(FailedEventView::of).collect(),
            next: next.map(|(subject, position)| cursor(subject, *position)),
        }
    }
}

/// The cursor of a parked or skipped event: `document.POSITION.KEY` or `stream.POSITION.STREAM`.
pub fn cursor(subject: &Subject, position: Position) -> String {
    match subject {
        Subject::Document(key) => format!("document.{position}.{key}"),
        Subject::Stream(stream) => format!("stream.{position}.{stream}"),
    }
}

impl FailedEventView {
    fn of(event: &FailedEvent) -> Self {
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
