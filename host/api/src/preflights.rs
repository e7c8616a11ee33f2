//! The result of a preflight.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::proof::Preflight;

use crate::FindingView;

/// What a preflight found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PreflightView {
    /// Whether nothing blocks it.
    pub passes: bool,
    /// The module.
    pub module: String,
    /// The name under which it would be active.
    pub name: String,
    /// The names of the other components of the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// The plan that it would raise.
    pub plan: u64,
    /// Categories that it would serve otherwise.
    pub categories: Vec<String>,
    /// Position up to which the log was looked at.
    pub until: u64,
    /// Where the log ended.
    pub head: u64,
    /// Events that were looked at.
    pub events: u64,
    /// What speaks against it.
    pub objections: Vec<ObjectionView>,
    /// Recorded commands by type, decided by it.
    pub commands: Vec<JudgedView>,
    /// Examples: the first 10 of each kind and type of command, 100 in all.
    pub examples: Vec<FindingView>,
}

/// Something that speaks against a module.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ObjectionView {
    /// `event-type`: it can't read a type or version that is stored; `fold`: streams that it
    /// can't fold; of both those that the active decider can't read or fold either are an
    /// objection of their own, which does not block; `decision`: other events; `rejected`: newly rejected; `accepted`:
    /// newly accepted; `rejection`: rejected with another code; `command`: a command
    /// that it can't read; `fault`: it fails; `impure`: a fresh instance decides otherwise;
    /// `projection`: one could not read what would be written, or would be given less of what is
    /// stored; `unlifted`: stored events would be read as a later version to which no step leads;
    /// `unwritten`: a type that a projection names would not be written any more; `rebuild`: a
    /// projection is folded from scratch; `snapshot`: they would not be used;
    /// `fuel`: more than three times as much; `order`: the log itself has holes.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// Whether it blocks.
    pub blocks: bool,
    /// For people.
    pub text: String,
}

/// Recorded commands of one type, decided by another module.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JudgedView {
    /// The category.
    pub category: String,
    /// The command's type.
    pub command: String,
    /// They come to the recorded events, byte for byte.
    pub same: u64,
    /// They come to what the candidate reads of the recorded events, which have another form or
    /// name in the store.
    #[serde(default)]
    pub lifted: u64,
    /// They come to what the active decider comes to by now, which is not what is recorded.
    #[serde(default)]
    pub as_active: u64,
    /// They come to other events, or to none.
    pub different: u64,
    /// They are rejected.
    pub rejected: u64,
    /// They can't be read.
    pub unread: u64,
    /// The guest fails.
    pub failed: u64,
    /// A fresh instance decides otherwise.
    pub impure: u64,
    /// They could not be decided: the stream can't be folded so far.
    pub undecided: u64,
    /// Fuel of these decisions, as it was recorded.
    pub fuel_recorded: u64,
    /// The fuel that they take now.
    pub fuel: u64,
    /// Decisions that were timed: the first 64 of each thread, then every 16th.
    #[serde(default)]
    pub timed: u64,
    /// How long the active module takes for these, in nanoseconds; 0 without one.
    #[serde(default)]
    pub time_active_ns: u64,
    /// How long this one takes.
    #[serde(default)]
    pub time_ns: u64,
    /// Kept rejections that are rejected with the same code.
    #[serde(default)]
    pub refused_same: u64,
    /// They are rejected with another code.
    #[serde(default)]
    pub refused_other: u64,
    /// They are accepted.
    #[serde(default)]
    pub accepted: u64,
    /// They can't be read, or the guest or the fold fails.
    #[serde(default)]
    pub refused_failed: u64,
}

impl PreflightView {
    /// The view of what was found.
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
