//! The result of a verification.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::proof::{DocumentFinding, Finding, Kind, LOG, Verified, Weight};

/// The findings in the history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerifiedView {
    /// Whether all findings are acknowledged, or there are none.
    pub sound: bool,
    /// Position up to which the log was checked: `head`, or less when the time was over before.
    #[serde(default)]
    pub until: u64,
    /// The end of the log when the run began.
    pub head: u64,
    /// Events that were checked.
    pub events: u64,
    /// Commits without a decision: raw appends, and commits of the host.
    pub raw: u64,
    /// Decisions by type of command.
    pub commands: Vec<TallyView>,
    /// Stored snapshots, compared with the events: at most the newest 1000 of each category.
    pub snapshots: SnapshotTallyView,
    /// Stored bytes, compared with their digests.
    #[serde(default)]
    pub digests: DigestTallyView,
    /// Projections whose documents were compared, if that was requested; by name. Live projections
    /// have no documents.
    #[serde(default)]
    pub projections: Vec<ProjectionTallyView>,
    /// The findings in the order of the log: the first 10 of each kind and type of command, 100 in
    /// total. Open findings come before acknowledged ones when there are too many. Then documents:
    /// the first 10 of each projection and mismatch, 100 in total.
    pub findings: Vec<FindingView>,
    /// Number of findings.
    pub found: u64,
    /// Number of acknowledged findings.
    #[serde(default)]
    pub acknowledged: u64,
}

/// Documents of one projection, compared with what is folded from the first event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProjectionTallyView {
    /// The projection.
    pub projection: String,
    /// The position up to which events were folded; later for documents that changed meanwhile.
    pub position: u64,
    /// Documents that are equal, byte for byte.
    pub same: u64,
    /// Documents that differ, are missing on one side, or can't be folded.
    pub different: u64,
    /// Documents and streams that were left out because events are parked for them.
    pub parked: u64,
    /// Whether every document was compared. False when the plan, the build or the parked events of
    /// streams changed meanwhile, or when the build is stale: start the verification a second time
    /// then.
    pub complete: bool,
}

/// Decisions on commands of one type.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TallyView {
    /// The category.
    pub category: String,
    /// The command's type.
    pub command: String,
    /// Decisions that led to the recorded events, byte for byte.
    pub same: u64,
    /// Decisions that led to other events, or to none.
    pub different: u64,
    /// Decisions that could not be repeated.
    pub undecided: u64,
    /// Stored rejections of such commands that were rejected with the same content.
    #[serde(default)]
    pub refused_same: u64,
    /// Stored rejections with another result.
    #[serde(default)]
    pub refused_different: u64,
}

/// Stored snapshots, compared with what is folded from the first event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SnapshotTallyView {
    /// Snapshots that agree with the events.
    pub agree: u64,
    /// Snapshots that differ from the events.
    pub differ: u64,
    /// Snapshots that are not used: streams are replayed without them.
    pub unusable: u64,
}

/// Stored bytes, compared with their digests.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct DigestTallyView {
    /// Commits that have their digest.
    pub proved: u64,
    /// Commits without a digest: they are older than digests, or were imported without.
    pub unproved: u64,
    /// Modules that have their digest.
    pub modules: u64,
    /// Snapshots that have their checksum: all anchors, and the newest 1000 of each category.
    pub snapshots: u64,
    /// Documents that have their digest. With `projections`, documents are folded instead.
    #[serde(default)]
    pub documents: u64,
    /// Documents without a digest: they were last written by a program without digests.
    #[serde(default)]
    pub unproved_documents: u64,
    /// Audit records that are in order and have their digest.
    #[serde(default)]
    pub audit: u64,
}

/// A finding: a difference or an inconsistency in the history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// Its name, by which it can be acknowledged; null for findings that concern only a candidate.
    pub name: Option<String>,
    /// `open`: it fails the run; `acknowledged`: it does not; `shared`: neither a candidate nor the
    /// active decider can fold the stream.
    pub weight: String,
    /// `decision`: the decision led to other events than the recorded ones; `rejected`: the command
    /// is rejected now; `command`: the command can't be read now; `module`: the commit names
    /// another module than its plan; `fold`: the events before it can't be folded; `fault`: the
    /// guest failed; `order`: versions or commits have gaps; `snapshot`: it differs from the
    /// events, or was changed; `document`: it differs from the fold of its events; `digest`: a
    /// commit does not have its digest, or events are missing; `stored-module`: the bytes of a
    /// module were changed; `audit`: a record of the audit was changed, inserted or removed.
    pub kind: String,
    /// Position of the first event that it concerns; null for a snapshot or a module. For a document: the
    /// position up to which it was folded, or the event that can't be folded.
    pub position: Option<u64>,
    /// The stream; null for a document, a module, and a position without an event.
    pub stream: Option<String>,
    /// The version in the stream; null without a stream.
    pub version: Option<u64>,
    /// For a document: its projection.
    #[serde(default)]
    pub projection: Option<String>,
    /// For a document: its key; for an `unreadable` event, its stream.
    #[serde(default)]
    pub key: Option<String>,
    /// For a document: `different`, `only-stored`, `only-folded`; `unfoldable`: an event can't be
    /// folded into it; `unreadable`: an event of a stream can't be lifted or given keys; `changed`:
    /// it does not have its digest.
    #[serde(default)]
    pub mismatch: Option<String>,
    /// Id of the command, if one led to it.
    pub command_id: Option<String>,
    /// The command's type.
    pub command: Option<String>,
    /// Digest of the module that the commit names.
    pub module: Option<String>,
    /// The plan that the commit names.
    pub plan: u64,
    /// A message for people. For `decision` a line for each event that differs: `-` for the
    /// recorded one, `+` for the current decision. For `document`: `-` for the stored one, `+` for
    /// the folded one.
    pub text: String,
}

impl VerifiedView {
    /// The view of a verification.
    pub fn of(verified: &Verified) -> Self {
        let commands = verified.commands.iter();
        let snapshots = verified.snapshots;
        let digests = verified.digests;
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
            until: verified.until.0,
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
            digests: DigestTallyView {
                proved: digests.proved,
                unproved: digests.unproved,
                modules: digests.modules,
                snapshots: digests.snapshots,
                documents: digests.documents,
                unproved_documents: digests.unproved_documents,
                audit: digests.audit,
            },
            found: verified.found(),
            acknowledged: verified.acknowledged(),
            projections: projections.collect(),
            findings: findings.chain(documents).collect(),
        }
    }
}

impl FindingView {
    /// The view of a candidate's finding: it can be acknowledged only if it concerns only the log.
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
        let has_stream = finding.stream.as_str() != LOG;
        Self {
            name: Some(finding.name.to_string()),
            weight: weight(finding.weight),
            kind: finding.kind.to_string(),
            position: Some(finding.position.0).filter(|position| *position > 0),
            version: Some(finding.version.0).filter(|_| has_stream),
            stream: Some(finding.stream.to_string()).filter(|_| has_stream),
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
