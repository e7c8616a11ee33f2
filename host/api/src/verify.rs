//! The result of a verification.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::proof::{DocumentFinding, Finding, Kind, Verified, Weight};

/// What was found in the history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerifiedView {
    /// Whether nothing was found that nobody has acknowledged.
    pub sound: bool,
    /// Position up to which the log was read.
    pub head: u64,
    /// Events that were looked at.
    pub events: u64,
    /// Commits without a decision: raw appends, and those of the host.
    pub raw: u64,
    /// Decisions by type of the command.
    pub commands: Vec<TallyView>,
    /// Stored snapshots, compared with the events: at most 1000 of each category, those
    /// that were taken last.
    pub snapshots: SnapshotTallyView,
    /// Projections whose documents were compared, if that was asked for; by name. Live ones
    /// have no documents.
    #[serde(default)]
    pub projections: Vec<ProjectionTallyView>,
    /// What is not as it should be, in the order of the log: the first 10 of each kind and
    /// type of command, 100 in all. Those that are acknowledged leave room for the others.
    /// Then documents: the first 10 of each projection and mismatch, 100 in all.
    pub findings: Vec<FindingView>,
    /// How many findings there are.
    pub found: u64,
    /// How many of them are acknowledged.
    #[serde(default)]
    pub acknowledged: u64,
}

/// Documents of one projection, compared with what is folded from the first event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProjectionTallyView {
    /// The projection.
    pub projection: String,
    /// Up to here it was folded; documents that changed meanwhile, further.
    pub position: u64,
    /// They are equal, byte for byte.
    pub same: u64,
    /// They are not, or are missing on one side, or can't be folded.
    pub different: u64,
    /// Documents and streams that were left out, because events are parked for them.
    pub parked: u64,
    /// Every document was compared. False when the plan, the build, or what is parked for streams
    /// changed meanwhile, or when the build is stale: run it again then.
    pub complete: bool,
}

/// Decisions on commands of one type.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TallyView {
    /// The category.
    pub category: String,
    /// The command's type.
    pub command: String,
    /// They came to the recorded events, byte for byte.
    pub same: u64,
    /// They came to something else, or to nothing.
    pub different: u64,
    /// They could not be made again.
    pub undecided: u64,
    /// Kept rejections of such commands that were rejected again, in the same words.
    #[serde(default)]
    pub refused_same: u64,
    /// That came to something else.
    #[serde(default)]
    pub refused_different: u64,
}

/// Stored snapshots, compared with what is folded from the first event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SnapshotTallyView {
    /// They say the same.
    pub agree: u64,
    /// They say something else.
    pub differ: u64,
    /// They are not used: streams are folded without them.
    pub unusable: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// Its name, by which it is acknowledged; null for what only a candidate does.
    pub name: Option<String>,
    /// `open`: it fails the run; `acknowledged`: it does not; `shared`: a candidate can't fold
    /// the stream, and the active decider can't either.
    pub weight: String,
    /// `decision`: it came to other events than are recorded; `rejected`: the command is
    /// rejected now; `command`: it can't be read now; `module`: the commit names
    /// another module than its plan; `fold`: the events before it can't be folded; `fault`:
    /// the guest failed; `order`: versions or commits have holes; `snapshot`: it says
    /// something else than the events; `document`: it is not what its events fold to.
    pub kind: String,
    /// Position of the first event that it concerns; null for a snapshot. Of a document: up to
    /// where it was folded, or the event that can't be.
    pub position: Option<u64>,
    /// The stream; null for a document.
    pub stream: Option<String>,
    /// The version there; null for a document.
    pub version: Option<u64>,
    /// Of a document: its projection.
    #[serde(default)]
    pub projection: Option<String>,
    /// Of a document: its key; of an `unreadable` event, its stream.
    #[serde(default)]
    pub key: Option<String>,
    /// Of a document: `different`, `only-stored`, `only-folded`; `unfoldable`: an event can't be
    /// folded into it; `unreadable`: an event of a stream can't be lifted or given keys.
    #[serde(default)]
    pub mismatch: Option<String>,
    /// Id of the command, if one led to it.
    pub command_id: Option<String>,
    /// Its type.
    pub command: Option<String>,
    /// Digest of the module that the commit names.
    pub module: Option<String>,
    /// The plan that the commit names.
    pub plan: u64,
    /// For people. For `decision` a line for each event that differs: `-` as it is recorded,
    /// `+` as it is decided now. For `document`: `-` as it is stored, `+` as it is folded.
    pub text: String,
}

impl VerifiedView {
    /// The view of a verification.
    pub fn of(verified: &Verified) -> Self {
        let commands = verified.commands.iter();
        let snapshots = verified.snapshots;
        let projections = verified.projections.iter();
        let projections = projections.map(|tally| ProjectionTallyView {
            projection: tally.projection.to_string(),
            position: tally.position.0,
            same: tally.same,
            different: tally.different,
            parked: tally.parked,
            complete: tally.is_complete,
        });
        let findings = verified.findings.iter().cloned().map(FindingView::of);
        let documents = verified.documents.iter().map(FindingView::of_document);
        Self {
            sound: verified.is_sound(),
            head: verified.head.0,
            events: verified.events,
            raw: verified.raw,
            commands: commands
                .map(|((category, command), tally)| TallyView {
                    category: category.to_string(),
                    command: command.to_string(),
                    same: tally.same,
                    different: tally.not_the_same(),
                    undecided: tally.undecided,
                    refused_same: tally.refusals.same,
                    refused_different: tally.refusals.other
                        + tally.refusals.accepted
                        + tally.refusals.failed,
                })
                .collect(),
            snapshots: SnapshotTallyView {
                agree: snapshots.agree,
                differ: snapshots.differ,
                unusable: snapshots.unusable,
            },
            found: verified.found(),
            acknowledged: verified.acknowledged(),
            projections: projections.collect(),
            findings: findings.chain(documents).collect(),
        }
    }
}

impl FindingView {
    /// The view of what a candidate does: it is acknowledged where it is about the log alone.
    pub(crate) fn of_candidate(finding: Finding) -> Self {
        let is_of_log = matches!(finding.kind, Kind::Fold | Kind::Order);
        let mut view = Self::of(finding);
        view.name = view.name.filter(|_| is_of_log);
        view
    }

    fn of_document(finding: &DocumentFinding) -> Self {
        Self {
            name: Some(finding.name.to_string()),
            weight: weight(finding.weight),
            kind: Kind::Document.to_string(),
            position: Some(finding.position.0),
            stream: None,
            version: None,
            projection: Some(finding.projection.to_string()),
            key: Some(finding.key.to_string()),
            mismatch: Some(finding.mismatch.to_string()),
            command_id: None,
            command: None,
            module: None,
            plan: 0,
            text: finding.text.clone(),
        }
    }

    /// The view of a finding.
    fn of(finding: Finding) -> Self {
        let (command_id, command) = finding.command.unzip();
        Self {
            name: Some(finding.name.to_string()),
            weight: weight(finding.weight),
            kind: finding.kind.to_string(),
            position: Some(finding.position.0).filter(|position| *position > 0),
            stream: Some(finding.stream.to_string()),
            version: Some(finding.version.0),
            projection: None,
            key: None,
            mismatch: None,
            command_id: command_id.map(|id| id.to_string()),
            command: command.map(|name| name.to_string()),
            module: finding.module.map(|digest| digest.to_string()),
            plan: finding.plan,
            text: finding.text,
        }
    }
}

fn weight(weight: Weight) -> String {
    let name = match weight {
        Weight::Open => "open",
        Weight::Acknowledged => "acknowledged",
        Weight::Shared => "shared",
    };
    name.to_owned()
}
