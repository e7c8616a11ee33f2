//! What came of deciding the history again.

use std::collections::BTreeMap;
use std::fmt;

use super::{FINDINGS_MAX, TEXT_MAX};
use crate::model::{CommandId, Digest, Name, NewEvent, Position, StreamId, Version};

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
    pub head: Position,
    /// Events that were looked at.
    pub events: u64,
    /// Commits that no decider made: raw appends, and those of the host.
    pub raw: u64,
    /// Decisions, by category and type of the command.
    pub commands: BTreeMap<(Box<str>, Name), Tally>,
    /// Stored snapshots that were compared with the events.
    pub snapshots: Snapshots,
    /// What is not as it should be, in the order of the log; the first ones of them.
    pub findings: Vec<Finding>,
    /// How many findings there are.
    pub found: u64,
}

/// Decisions on commands of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// They came to the recorded events, byte for byte.
    pub same: u64,
    /// They came to something else, or to nothing.
    pub different: u64,
    /// They were not made again: the stream can't be folded so far, or the command is
    /// not kept.
    pub undecided: u64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The decision came to other events than are recorded.
    Decision,
    /// The commit names another module than its plan.
    Module,
    /// The events before it can't be folded.
    Fold,
    /// The guest failed where it had decided.
    Fault,
    /// Versions or commits have holes, or overlap.
    Order,
    /// A snapshot says something else than the events.
    Snapshot,
}

impl Kind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Module => "module",
            Self::Fold => "fold",
            Self::Fault => "fault",
            Self::Order => "order",
            Self::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.same += other.same;
        self.different += other.different;
        self.undecided += other.undecided;
    }
}

impl Verified {
    /// Whether nothing was found.
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }

    /// Takes a finding. Those of the earliest positions are kept.
    pub(super) fn find(&mut self, finding: Finding) {
        self.found += 1;
        self.findings.push(finding);
        if self.findings.len() >= FINDINGS_MAX * 2 {
            self.trim();
        }
    }

    /// Takes what another part of the log came to.
    pub(super) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.raw += other.raw;
        for (command, tally) in other.commands {
            self.commands.entry(command).or_default().add(tally);
        }
        self.found += other.found;
        self.findings.extend(other.findings);
        self.trim();
    }

    fn trim(&mut self) {
        self.findings
            .sort_by_key(|finding| (finding.position, finding.kind));
        self.findings.truncate(FINDINGS_MAX);
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
