//! The results of re-deciding the history.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::digests::Digests;
use super::name::FindingName;
use super::{ALIKE_MAX, FINDINGS_MAX, TEXT_MAX};
use crate::model::{
    CommandId, Digest, Invalid, Mismatch, Name, NewEvent, Position, StreamId, Version,
};

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here has been read.
    pub position: Position,
    /// The last position of the run.
    pub head: Position,
}

/// The findings and counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Everything up to here was checked.
    pub until: Position,
    /// The end of the log.
    pub head: Position,
    /// Number of events that were checked.
    pub events: u64,
    /// Commits without a decision: direct appends, and those of the host.
    pub raw: u64,
    /// Decisions by category and type of the command.
    pub commands: BTreeMap<(Box<str>, Name), Tally>,
    /// Stored snapshots that were compared with the events.
    pub snapshots: Snapshots,
    /// Stored bytes that were checked against their digests.
    pub digests: Digests,
    /// The first findings of each kind and command type, in log order. If there are too many, those
    /// that are not acknowledged take precedence.
    pub findings: Vec<Finding>,
    /// Projections whose documents were folded from scratch, by name.
    pub projections: Vec<ProjectionTally>,
    /// The first documents of each projection and mismatch that differ from what they should be.
    pub documents: Vec<DocumentFinding>,
    /// Number of findings by kind.
    pub found: BTreeMap<Kind, u64>,
    /// Number of acknowledged findings by kind.
    pub acknowledged: BTreeMap<Kind, u64>,
    /// Number of findings in streams that a candidate can't fold and the active decider can't fold
    /// either.
    pub shared: u64,
}

/// How much a finding counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// The finding fails the run.
    #[default]
    Open,
    /// An operator has acknowledged the finding.
    Acknowledged,
    /// A candidate can't fold the stream, and the active decider can't either.
    Shared,
}

/// The documents of one projection, compared with what is folded from scratch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionTally {
    /// Name of the projection.
    pub projection: Box<str>,
    /// The position up to which the projection was folded. Documents that changed meanwhile were
    /// folded further.
    pub position: Position,
    /// Documents that are equal, byte for byte.
    pub same: u64,
    /// Documents that differ, exist only on one side, or can't be folded.
    pub different: u64,
    /// Documents and streams that were left out because events are parked for them.
    pub parked: u64,
    /// Whether every document was compared. False if the plan, the build or the events parked for
    /// streams changed meanwhile.
    pub is_complete: bool,
}

/// A document that differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFinding {
    /// Name of the finding.
    pub name: FindingName,
    /// How much the finding counts.
    pub weight: Weight,
    /// Name of the projection.
    pub projection: Box<str>,
    /// Key of the document. For an unreadable event, its stream.
    pub key: Box<str>,
    /// What is wrong with the document.
    pub mismatch: Mismatch,
    /// The position up to which the document was folded, or that of the event that fails.
    pub position: Position,
    /// A description for operators: `-` is the stored document, `+` the folded one.
    pub text: String,
}

/// Counts of the decisions on commands of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decisions with the recorded events, byte for byte.
    pub same: u64,
    /// Decisions with the recorded events as the candidate reads them. In the store, these have
    /// another form or another name.
    pub lifted: u64,
    /// Decisions that differ from what is recorded, but are what the active decider would decide
    /// now.
    pub as_active: u64,
    /// Decisions with other events or none, and commits that name a wrong module.
    pub different: u64,
    /// Commands that are rejected now.
    pub rejected: u64,
    /// Commands that can't be read now.
    pub unread: u64,
    /// Commands for which the guest failed.
    pub failed: u64,
    /// Commands that a new instance decided differently.
    pub impure: u64,
    /// Commands that were not re-decided, because their stream can't be folded up to there.
    pub undecided: u64,
    /// Recorded fuel of the decisions that were repeated.
    pub fuel_recorded: u64,
    /// Fuel of the same decisions now.
    pub fuel: u64,
    /// Timing of some of the decisions.
    pub times: Times,
    /// Stored rejections of such commands that were re-decided.
    pub refusals: Refusals,
}

/// The time of decisions that were made several times in a row, in new instances, by both the
/// active decider and the candidate. Only the shortest time of each decision counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Number of decisions.
    pub decisions: u64,
    /// Total time of the active decider.
    pub active: Duration,
    /// Total time of the candidate.
    pub candidate: Duration,
}

/// Counts of stored rejections that were re-decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Rejected with the same code.
    pub same: u64,
    /// Rejected with another code.
    pub other: u64,
    /// Accepted.
    pub accepted: u64,
    /// The command can't be read, or the guest or the fold fails.
    pub failed: u64,
}

/// Counts of stored snapshots that were compared with what is folded from scratch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Snapshots with the same state.
    pub agree: u64,
    /// Snapshots with another state.
    pub differ: u64,
    /// Snapshots that are not used: their streams are folded without them.
    pub unusable: u64,
}

/// A difference between what is recorded and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the finding.
    pub name: FindingName,
    /// How much the finding counts.
    pub weight: Weight,
    /// Kind of the finding.
    pub kind: Kind,
    /// Position of the first event that the finding concerns.
    pub position: Position,
    /// Stream of the event.
    pub stream: StreamId,
    /// Version of the event in its stream.
    pub version: Version,
    /// The command, if the event results from one.
    pub command: Option<(CommandId, Name)>,
    /// The module that the commit names.
    pub module: Option<Digest>,
    /// The plan that the commit names.
    pub plan: u64,
    /// A description for operators, of one or more lines.
    pub text: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A type or version of events that the candidate can't read.
    EventType,
    /// The decision has other events than are recorded.
    Decision,
    /// The command is rejected now.
    Rejected,
    /// A rejected command is accepted now.
    Accepted,
    /// A rejected command is rejected with another code now.
    Rejection,
    /// The command can't be read now.
    Command,
    /// A new instance makes another decision.
    Impure,
    /// The commit names another module than its plan.
    Module,
    /// The events before it can't be folded.
    Fold,
    /// The guest failed where it had decided before.
    Fault,
    /// Versions or commits have gaps, or overlap.
    Order,
    /// A snapshot differs from the events, or would not be used.
    Snapshot,
    /// A projection can't read what would be written, or would receive fewer of the stored events.
    Projection,
    /// A projection names a type that would not be written any more.
    Unwritten,
    /// Stored events would be read as a later version without an upcaster step to it.
    Unlifted,
    /// A projection would be folded from scratch.
    Rebuild,
    /// Decisions take much more fuel than before.
    Fuel,
    /// A stored document differs from what its events produce.
    Document,
    /// A commit does not have its digest, or events are missing.
    Digest,
    /// The stored bytes of a module do not have its digest.
    StoredModule,
    /// An audit record was changed, inserted or removed.
    Audit,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 21] = [
        Self::EventType,
        Self::Decision,
        Self::Rejected,
        Self::Accepted,
        Self::Rejection,
        Self::Command,
        Self::Impure,
        Self::Module,
        Self::Fold,
        Self::Fault,
        Self::Order,
        Self::Snapshot,
        Self::Projection,
        Self::Unwritten,
        Self::Unlifted,
        Self::Rebuild,
        Self::Fuel,
        Self::Document,
        Self::Digest,
        Self::StoredModule,
        Self::Audit,
    ];

    /// Returns the stable name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventType => "event-type",
            Self::Decision => "decision",
            Self::Rejected => "rejected",
            Self::Accepted => "accepted",
            Self::Rejection => "rejection",
            Self::Command => "command",
            Self::Impure => "impure",
            Self::Module => "module",
            Self::Fold => "fold",
            Self::Fault => "fault",
            Self::Order => "order",
            Self::Snapshot => "snapshot",
            Self::Projection => "projection",
            Self::Unwritten => "unwritten",
            Self::Unlifted => "unlifted",
            Self::Rebuild => "rebuild",
            Self::Fuel => "fuel",
            Self::Document => "document",
            Self::Digest => "digest",
            Self::StoredModule => "stored-module",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            Invalid(format!(
                "there is no kind of finding {name:?}; there are: {all}"
            ))
        })
    }
}

impl Times {
    pub(super) fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.active += other.active;
        self.candidate += other.candidate;
    }
}

impl Tally {
    /// Returns the number of decisions that are equivalent to what is recorded.
    pub fn all_same(&self) -> u64 {
        self.same + self.lifted + self.as_active
    }

    /// Returns the number of decisions that are not equivalent to what is recorded.
    pub fn not_the_same(&self) -> u64 {
        self.different + self.rejected + self.unread + self.failed + self.impure
    }

    /// Counts a decision that was not the same.
    pub(super) fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::Rejected => &mut self.rejected,
            Kind::Command => &mut self.unread,
            Kind::Fault => &mut self.failed,
            Kind::Impure => &mut self.impure,
            Kind::Fold => &mut self.undecided,
            _ => &mut self.different,
        } += 1;
    }

    /// Counts a rejection that was re-decided.
    pub(super) fn refuse(&mut self, found: Option<Kind>) {
        *match found {
            None => &mut self.refusals.same,
            Some(Kind::Rejection) => &mut self.refusals.other,
            Some(Kind::Accepted) => &mut self.refusals.accepted,
            Some(_) => &mut self.refusals.failed,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        let Self {
            same,
            lifted,
            as_active,
            different,
            rejected,
            unread,
            failed,
            impure,
            undecided,
            fuel_recorded,
            fuel,
            times,
            refusals,
        } = other;
        self.same += same;
        self.lifted += lifted;
        self.as_active += as_active;
        self.different += different;
        self.rejected += rejected;
        self.unread += unread;
        self.failed += failed;
        self.impure += impure;
        self.undecided += undecided;
        self.fuel_recorded = self.fuel_recorded.saturating_add(fuel_recorded);
        self.fuel = self.fuel.saturating_add(fuel);
        self.times.add(times);
        self.refusals.same += refusals.same;
        self.refusals.other += refusals.other;
        self.refusals.accepted += refusals.accepted;
        self.refusals.failed += refusals.failed;
    }
}

impl Verified {
    /// Returns the number of findings.
    pub fn found(&self) -> u64 {
        self.found.values().sum()
    }

    /// Returns the number of acknowledged findings.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.values().sum()
    }

    /// Returns the number of findings that fail the run.
    pub fn open(&self) -> u64 {
        let others = self.acknowledged() + self.shared;
        self.found().saturating_sub(others)
    }

    /// Whether there are no findings, except acknowledged ones.
    pub fn is_sound(&self) -> bool {
        self.open() == 0
    }

    /// Adds a finding whose weight is known. The findings at the earliest positions are retained.
    pub(super) fn find(&mut self, finding: Finding) {
        self.count(finding.kind, finding.weight);
        self.findings.push(finding);
        if self.findings.len() >= FINDINGS_MAX * 4 {
            self.trim();
        }
    }

    /// Adds a document whose weight is known. The first ones are retained.
    pub(super) fn find_document(&mut self, finding: DocumentFinding) {
        self.count(Kind::Document, finding.weight);
        let is_alike = |it: &&DocumentFinding| {
            (&it.projection, it.mismatch, it.weight)
                == (&finding.projection, finding.mismatch, finding.weight)
        };
        if self.documents.iter().filter(is_alike).count() < ALIKE_MAX {
            self.documents.push(finding);
            self.documents.sort_by_key(|it| it.weight);
            self.documents.truncate(FINDINGS_MAX);
        }
    }

    fn count(&mut self, kind: Kind, weight: Weight) {
        *self.found.entry(kind).or_default() += 1;
        match weight {
            Weight::Open => {}
            Weight::Acknowledged => *self.acknowledged.entry(kind).or_default() += 1,
            Weight::Shared => self.shared += 1,
        }
    }

    /// Adds the results of a check of digests.
    pub(crate) fn with_digests(mut self, other: Self) -> Self {
        self.digests = other.digests;
        self.documents.extend(other.documents.iter().cloned());
        self.add(Self { events: 0, ..other });
        self
    }

    /// Adds the results of another part of the log.
    pub(super) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.raw += other.raw;
        for (command, tally) in other.commands {
            self.commands.entry(command).or_default().add(tally);
        }
        for (kind, found) in other.found {
            *self.found.entry(kind).or_default() += found;
        }
        for (kind, acknowledged) in other.acknowledged {
            *self.acknowledged.entry(kind).or_default() += acknowledged;
        }
        self.shared += other.shared;
        self.findings.extend(other.findings);
        self.trim();
    }

    fn trim(&mut self) {
        // Acknowledged findings must not displace new ones.
        self.findings
            .sort_by_key(|finding| (finding.weight, finding.position, finding.kind));
        let mut alike: HashMap<(Kind, Weight, Option<Name>), usize> = HashMap::new();
        self.findings.retain(|finding| {
            let command = finding.command.as_ref().map(|(_, name)| name.clone());
            let key = (finding.kind, finding.weight, command);
            let alike = alike.entry(key).or_default();
            *alike += 1;
            *alike <= ALIKE_MAX
        });
        self.findings.truncate(FINDINGS_MAX);
        self.findings
            .sort_by_key(|finding| (finding.position, finding.kind));
    }
}

/// Returns the differences between recorded and decided events, one per line: `-` is recorded, `+`
/// is decided now.
pub(super) fn diff(recorded: &[NewEvent], decided: &[NewEvent]) -> String {
    let mut lines = Vec::new();
    for at in 0..recorded.len().max(decided.len()) {
        let (before, now) = (recorded.get(at), decided.get(at));
        if let (Some(before), Some(now)) = (before, now)
            && before.is_same_decision(now)
        {
            continue;
        }
        lines.extend(before.map(|event| format!("- {}", line(event))));
        lines.extend(now.map(|event| format!("+ {}", line(event))));
    }
    lines.join("\n")
}

fn line(event: &NewEvent) -> String {
    let body = match event.body.as_json() {
        Some(text) => shortened(text),
        None => format!("{} bytes, {:?}", event.body.len(), event.body.bytes()),
    };
    let (name, version) = (&event.name, event.schema_version);
    let mut line = format!("{name} {version} {}", shortened(&body));
    if let Some(metadata) = &event.metadata {
        line += &format!(
            " metadata {}",
            shortened(&String::from_utf8_lossy(metadata))
        );
    }
    if !event.tags.is_empty() {
        line += &format!(" tags {}", event.tags.join(", "));
    }
    line
}

/// Truncates a text for a finding.
pub(super) fn shortened(text: &str) -> String {
    if text.len() <= TEXT_MAX {
        return text.to_owned();
    }
    let mut end = TEXT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
