//! What would be different if a module decided.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::activate::release;
use super::params::Params;
use super::problem::{Problem, Result};
use super::request::JsonBytes;
use super::runs::{self, Run, RunLine, Telling};
use super::verify::{FindingView, scope};
use super::{App, choices};
use quipu::Host;
use quipu::deploy::{Keeping, Release};
use quipu::proof::{Policy, Preflight, Scope};

/// How long events are looked at without a word.
pub(super) const TIME_MS: u64 = 60_000;
/// How long they may be read at most.
const TIME_MS_MAX: u64 = 24 * 3_600_000;

/// What to check, and how much of the history.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreflightBody<'a> {
    /// SHA-256 of a component that was uploaded. Either this or `digests`.
    #[serde(borrow, default)]
    digest: Option<Cow<'a, str>>,
    /// The same for 1 to 64 components that would become active together.
    #[serde(default)]
    digests: Option<Vec<String>>,
    /// So many streams, drawn at random: 1 to 1000000; all without it.
    #[serde(default)]
    sample: Option<usize>,
    /// No more than so many events are read, from the first one on.
    #[serde(default)]
    events: Option<u64>,
    /// Events are read for so many milliseconds: up to 86400000, 60000 without it.
    #[serde(default)]
    time_ms: Option<u64>,
    /// Kinds of objections that do not block it, besides `fuel`, `snapshot`, `rebuild` and
    /// `unwritten`.
    #[serde(default)]
    allow: Vec<String>,
}

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
    pub(super) fn of(found: Preflight) -> Self {
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

/// A preflight that was asked for.
struct Asked {
    release: Release,
    policy: Policy,
    scope: Scope,
}

impl PreflightBody<'_> {
    async fn asked(self, app: &App) -> Result<Asked> {
        let time_ms = self.time_ms.unwrap_or(TIME_MS);
        if !(1..=TIME_MS_MAX).contains(&time_ms) {
            return Err(Problem::bad_request(format!(
                "time_ms is 1 to {TIME_MS_MAX}"
            )));
        }
        if self.events == Some(0) {
            return Err(Problem::bad_request("events begin at 1"));
        }
        Ok(Asked {
            release: release(app, self.digest.as_deref(), self.digests.as_deref()).await?,
            policy: Policy::allowing(&self.allow)?,
            scope: Scope {
                events: self.events,
                time: Some(Duration::from_millis(time_ms)),
                ..scope(None, self.sample)?
            },
        })
    }
}

impl Run for Asked {
    fn run<'a>(&'a self, host: &'a Host, mut telling: Telling) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let mut tell = |progress| telling.progress(progress);
            let keeping = Keeping::default();
            let given = (&keeping, &self.policy);
            let release = self.release.clone();
            let found = host.preflight_keeping(release, given, &self.scope, &mut tell);
            let view = PreflightView::of(found.await?);
            Ok(RunLine::Preflight(Box::new(view)))
        }
        .boxed()
    }
}

/// Says what would be different if a module, or a release of several, were activated.
///
/// Recorded commands of the categories that it would serve otherwise are decided by it, each
/// on the state that the recorded events before it lead to, some of them by a fresh instance
/// as well, and compared with what is recorded; likewise the last rejections that are kept. Types of stored events, snapshots, and what
/// active projections read are looked at beside. Nothing is written, and nothing activated.
/// One run at a time; it ends when the connection does. Lines of progress come first.
#[utoipa::path(
    post, path = "/v1/preflights", operation_id = "preflight", tag = "modules",
    request_body(content = PreflightBody, description = "The module"),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "Lines, each a `RunLine`, the last of which says what was found"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, as why it could not be activated at all"),
    ),
)]
pub async fn preflight(
    State(app): State<App>,
    params: Params,
    body: JsonBytes,
) -> Result<Response> {
    params.finish()?;
    let asked = body.parse::<PreflightBody<'_>>()?.asked(&app).await?;
    runs::answer(app, asked).await
}
