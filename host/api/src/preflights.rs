//! The result of a preflight.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::deploy::ReleaseChange;
use quipu::proof::Preflight;

use crate::{FindingView, choices};

/// The findings of a preflight.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PreflightView {
    /// Whether nothing blocks the activation.
    pub passes: bool,
    /// The module.
    pub module: String,
    /// The name under which it would be active.
    pub name: String,
    /// The names of the other components of the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// The plan that an activation would replace.
    pub plan: u64,
    /// Categories that the candidate would serve differently.
    pub categories: Vec<String>,
    /// Position up to which the log was checked.
    pub until: u64,
    /// Position of the end of the log.
    pub head: u64,
    /// Events that were checked.
    pub events: u64,
    /// Objections to the candidate.
    pub objections: Vec<ObjectionView>,
    /// What the release changes for callers, readers and others: the first 100, those that break
    /// something first. They block nothing. Absent if nothing is replaced or described otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ReleaseChangeView>,
    /// Recorded commands by type, as the candidate decides them.
    pub commands: Vec<JudgedView>,
    /// Examples: the first 10 of each kind and type of command, 100 in all.
    pub examples: Vec<FindingView>,
}

/// An objection to a candidate.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ObjectionView {
    /// `event-type`: the candidate can't read a stored type or version; `fold`: it can't fold
    /// streams. Types and streams that the active decider can't read or fold either are a separate
    /// objection, which does not block. `decision`: it decides other events; `rejected`: newly
    /// rejected; `accepted`: newly accepted; `rejection`: rejected with another code; `command`: it
    /// can't read a command; `fault`: it fails; `impure`: a fresh instance decides differently;
    /// `projection`: a projection could not read what would be written, or would receive fewer of
    /// the stored events; `unlifted`: stored events would be read as a later version to which no
    /// step leads; `unwritten`: a type that a projection names would not be written any more;
    /// `rebuild`: a projection is folded from scratch; `snapshot`: snapshots would not be used;
    /// `fuel`: more than three times as much; `order`: the log itself has gaps.
    pub kind: String,
    /// How often it occurs.
    pub count: u64,
    /// Whether it blocks the activation.
    pub blocks: bool,
    /// A message for people.
    pub text: String,
}

/// A difference between the descriptions of a component and of the active one that it replaces.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseChangeView {
    /// Name of the component.
    pub component: String,
    /// Whether something that works with the active component may fail with the new one.
    pub breaks: bool,
    /// Who is affected: programs that send commands, readers of events, readers of documents,
    /// states that are restored from snapshots, or operators.
    #[schema(value_type = choices::Affected)]
    pub affected: String,
    /// A message for people.
    pub text: String,
}

/// Recorded commands of one type, decided by the candidate.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JudgedView {
    /// The category.
    pub category: String,
    /// The command's type.
    pub command: String,
    /// Commands that lead to the recorded events, byte for byte.
    pub same: u64,
    /// Commands that lead to the lifted form of the recorded events: the candidate reads them in
    /// another form or under another name than they are stored.
    #[serde(default)]
    pub lifted: u64,
    /// Commands that lead to the same result as with the active decider, which differs from the
    /// recorded one.
    #[serde(default)]
    pub as_active: u64,
    /// Commands that lead to other events, or to none.
    pub different: u64,
    /// Commands that are rejected.
    pub rejected: u64,
    /// Commands that the candidate can't read.
    pub unread: u64,
    /// Commands on which the guest fails.
    pub failed: u64,
    /// Commands that a fresh instance decides differently.
    pub impure: u64,
    /// Commands that could not be decided because the stream can't be folded up to there.
    pub undecided: u64,
    /// Recorded fuel of these decisions.
    pub fuel_recorded: u64,
    /// Fuel that the candidate uses for these decisions.
    pub fuel: u64,
    /// Decisions that were timed: the first 64 of each thread, then every 16th.
    #[serde(default)]
    pub timed: u64,
    /// Time that the active module takes for these, in nanoseconds; 0 if there is none.
    #[serde(default)]
    pub time_active_ns: u64,
    /// Time that the candidate takes for these, in nanoseconds.
    #[serde(default)]
    pub time_ns: u64,
    /// Stored rejections that are rejected with the same code.
    #[serde(default)]
    pub refused_same: u64,
    /// Stored rejections that are rejected with another code.
    #[serde(default)]
    pub refused_other: u64,
    /// Stored rejections that are accepted.
    #[serde(default)]
    pub accepted: u64,
    /// Stored rejections that can't be read, or on which the guest or the fold fails.
    #[serde(default)]
    pub refused_failed: u64,
}

impl ReleaseChangeView {
    /// The view of a change.
    pub fn of(changed: ReleaseChange) -> Self {
        Self {
            component: changed.component.into(),
            breaks: changed.change.breaks,
            affected: changed.change.affected.to_string(),
            text: changed.change.text,
        }
    }
}

impl PreflightView {
    /// The view of a preflight.
    pub fn of(found: Preflight) -> Self {
        let commands = found.decided.commands.iter();
        Self {
            passes: found.passes(),
            module: found.module.to_string(),
            commands: commands
                .map(|((category, command), tally)| JudgedView {
                    category: category.to_string(),
                    command: command.to_string(),
                    same: tally.same,
                    lifted: tally.lifted,
                    as_active: tally.as_active,
                    different: tally.different,
                    rejected: tally.rejected,
                    unread: tally.unread,
                    failed: tally.failed,
                    impure: tally.impure,
                    undecided: tally.undecided,
                    fuel_recorded: tally.fuel_recorded,
                    fuel: tally.fuel,
                    timed: tally.times.decisions,
                    time_active_ns: nanos(tally.times.active),
                    time_ns: nanos(tally.times.candidate),
                    refused_same: tally.refusals.same,
                    refused_other: tally.refusals.other,
                    accepted: tally.refusals.accepted,
                    refused_failed: tally.refusals.failed,
                })
                .collect(),
            name: found.name,
            others: found.others,
            plan: found.plan,
            categories: found.categories,
            until: found.decided.until.0,
            head: found.decided.head.0,
            events: found.decided.events,
            objections: found
                .objections
                .into_iter()
                .map(|objection| ObjectionView {
                    kind: objection.kind.to_string(),
                    count: objection.count,
                    blocks: objection.blocks,
                    text: objection.text,
                })
                .collect(),
            changes: found
                .changes
                .into_iter()
                .map(ReleaseChangeView::of)
                .collect(),
            examples: found
                .decided
                .findings
                .into_iter()
                .map(FindingView::of_candidate)
                .collect(),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
