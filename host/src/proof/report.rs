//! What came of deciding the history again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::name::FindingName;
use super::{ALIKE_MAX, FINDINGS_MAX, TEXT_MAX};
use crate::model::{
    CommandId, Digest, Invalid, Mismatch, Name, NewEvent, Position, StreamId, Version,
};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here has been read.
    pub position: Position,
    /// Where it ends.
    pub head: Position,
}

/// What was found in a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Everything up to here was looked at.
    pub until: Position,
    /// Where the log ended.
    pub head: Position,
    /// Events that were looked at.
    pub events: u64,
    /// Commits that no decider made: raw appends, and those of the host.
    pub raw: u64,
    /// Decisions, by category and type of the command.
    pub commands: BTreeMap<(Box<str>, Name), Tally>,
    /// Stored snapshots that were compared with the events.
    pub snapshots: Snapshots,
    /// What is not as it should be, in the order of the log: the first ones of each kind
    /// and type of command. Those that nobody has acknowledged come before the others where
    /// there are more than fit.
    pub findings: Vec<Finding>,
    /// Projections whose documents were folded from the first event, by name.
    pub projections: Vec<ProjectionTally>,
    /// Documents that are not as they should be: the first ones of each projection and
    /// mismatch.
    pub documents: Vec<DocumentFinding>,
    /// How many findings there are, by kind.
    pub found: BTreeMap<Kind, u64>,
    /// How many of these are acknowledged.
    pub acknowledged: BTreeMap<Kind, u64>,
    /// How many of these, in streams that a candidate can't fold, the active decider can't
    /// fold either.
    pub shared: u64,
}

/// How much a finding counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// It fails the run.
    #[default]
    Open,
    /// An operator has acknowledged it.
    Acknowledged,
    /// A candidate can't fold the stream, and the active decider can't either.
    Shared,
}

/// Documents of one projection, compared with what is folded from the first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionTally {
    /// The projection.
    pub projection: Box<str>,
    /// Up to here it was folded; documents that changed meanwhile, further.
    pub position: Position,
    /// They are equal, byte for byte.
    pub same: u64,
    /// They are not, or are missing on one side, or can't be folded.
    pub different: u64,
    /// Documents and streams that were left out, because events are parked for them.
    pub parked: u64,
    /// Every document was compared. False when the plan, the build, or what is parked for streams
    /// changed meanwhile.
    pub is_complete: bool,
}

/// A document that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFinding {
    /// Its name.
    pub name: FindingName,
    /// How much it counts.
    pub weight: Weight,
    /// The projection.
    pub projection: Box<str>,
    /// The document's key; of an unreadable event, its stream.
    pub key: Box<str>,
    /// What is wrong with it.
    pub mismatch: Mismatch,
    /// Up to here it was folded, or the event that fails.
    pub position: Position,
    /// For people: `-` as it is stored, `+` as it is folded.
    pub text: String,
}

/// Decisions on commands of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// They came to the recorded events, byte for byte.
    pub same: u64,
    /// They came to what the candidate reads of the recorded events: these have another form
    /// in the store, or another name.
    pub lifted: u64,
    /// They came to what the active decider comes to by now, which is not what is recorded.
    pub as_active: u64,
    /// They came to other events, or to none, or the commit names what it can't.
    pub different: u64,
    /// They were rejected.
    pub rejected: u64,
    /// The command could not be read.
    pub unread: u64,
    /// The guest failed.
    pub failed: u64,
    /// A fresh instance came to something else.
    pub impure: u64,
    /// They were not made again: the stream can't be folded so far.
    pub undecided: u64,
    /// Fuel of those that were made again, as it was recorded.
    pub fuel_recorded: u64,
    /// The fuel that they took now.
    pub fuel: u64,
    /// Some of them, timed.
    pub times: Times,
    /// Kept rejections of such commands, decided again.
    pub refusals: Refusals,
}

/// Decisions that both who decides now and who may decide made in fresh instances, each several
/// times in a row, and how long the shortest ones took together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// How many.
    pub decisions: u64,
    /// Of who is active.
    pub active: Duration,
    /// Of the candidate.
    pub candidate: Duration,
}

/// Kept rejections that were decided again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// They are rejected with the same code.
    pub same: u64,
    /// They are rejected with another code.
    pub other: u64,
    /// They are accepted.
    pub accepted: u64,
    /// They can't be read, or the guest or the fold fails.
    pub failed: u64,
}

/// Stored snapshots, compared with what is folded from the first event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// They say the same.
    pub agree: u64,
    /// They say something else.
    pub differ: u64,
    /// They are not used: streams are folded without them.
    pub unusable: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub name: FindingName,
    /// How much it counts.
    pub weight: Weight,
    /// What it is.
    pub kind: Kind,
    /// Position of the first event that it concerns.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its version there.
    pub version: Version,
    /// The command, if one led to it.
    pub command: Option<(CommandId, Name)>,
    /// The module that the commit names.
    pub module: Option<Digest>,
    /// The plan that the commit names.
    pub plan: u64,
    /// For people, of one line or several.
    pub text: String,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A type or version of events that the candidate can't read.
    EventType,
    /// The decision came to other events than are recorded.
    Decision,
    /// The command is rejected now.
    Rejected,
    /// A rejected command is accepted now.
    Accepted,
    /// A rejected command is rejected with another code now.
    Rejection,
    /// The command can't be read now.
    Command,
    /// A fresh instance comes to another decision.
    Impure,
    /// The commit names another module than its plan.
    Module,
    /// The events before it can't be folded.
    Fold,
    /// The guest failed where it had decided.
    Fault,
    /// Versions or commits have holes, or overlap.
    Order,
    /// A snapshot says something else than the events, or would not be used.
    Snapshot,
    /// A projection can't read what would be written, or is given less of what is stored.
    Projection,
    /// A projection names a type that would be written no longer.
    Unwritten,
    /// Stored events would be read as a later version, to which no step leads.
    Unlifted,
    /// A projection would be folded from scratch.
    Rebuild,
    /// Decisions take much more fuel than before.
    Fuel,
    /// A stored document is not what its events fold to.
    Document,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
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
    ];

    /// Its stable name.
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
    /// Those that came to what is recorded.
    pub fn all_same(&self) -> u64 {
        self.same + self.lifted + self.as_active
    }

    /// Those that did not come to what is recorded.
    pub fn not_the_same(&self) -> u64 {
        self.different + self.rejected + self.unread + self.failed + self.impure
    }

    /// Counts one that was not the same.
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

    /// Counts a rejection that was decided again.
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
    /// How many findings there are.
    pub fn found(&self) -> u64 {
        self.found.values().sum()
    }

    /// How many of them are acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.values().sum()
    }

    /// How many of them fail the run.
    pub fn open(&self) -> u64 {
        let others = self.acknowledged() + self.shared;
        self.found().saturating_sub(others)
    }

    /// Whether nothing was found that nobody has acknowledged.
    pub fn is_sound(&self) -> bool {
        self.open() == 0
    }

    /// Takes a finding, whose weight is known. Those of the earliest positions are kept.
    pub(super) fn find(&mut self, finding: Finding) {
        self.count(finding.kind, finding.weight);
        self.findings.push(finding);
        if self.findings.len() >= FINDINGS_MAX * 4 {
            self.trim();
        }
    }

    /// Takes a document, whose weight is known. The first ones are kept.
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

    /// Takes what another part of the log came to.
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
        // What is acknowledged must not push out what is new.
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

/// Where decided events are others than the recorded ones: a line for each, `-` recorded
/// and `+` decided now.
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

/// A text of at most so many bytes.
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
