//! The history, decided again.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::App;
use super::params::Params;
use super::problem::{Problem, Result};
use super::request::OptionalJson;
use crate::Host;
use crate::model::{Category, Invalid};
use crate::proof::{Error, Finding, Progress, Scope, Verified};

/// Between two lines of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);
/// Lines that wait for a slow reader; of progress, what is more is left out.
const LINES_MAX: usize = 8;
/// Most streams of a sample: their ids are held in memory.
const SAMPLE_MAX: usize = 1_000_000;

/// What of the history is decided again; all of it without a word.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    /// Streams of this category alone.
    #[serde(default)]
    category: Option<String>,
    /// So many streams, drawn at random: 1 to 1000000.
    #[serde(default)]
    sample: Option<usize>,
}

/// A line of the answer. The last one is no progress.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLine {
    /// How far it has come.
    Progress(ProgressView),
    /// What was found.
    Verified(VerifiedView),
    /// It did not come to its end.
    Problem(Box<Problem>),
}

/// How far a run has come.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// Everything up to here has been read.
    pub position: u64,
    /// Where it ends.
    pub head: u64,
}

/// What was found in the history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerifiedView {
    /// Whether nothing was found that is not as it should be.
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
    /// What is not as it should be, in the order of the log: the first 100.
    pub findings: Vec<FindingView>,
    /// How many findings there are.
    pub found: u64,
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
    /// `decision`: it came to other events than are recorded; `module`: the commit names
    /// another module than its plan; `fold`: the events before it can't be folded; `fault`:
    /// the guest failed; `order`: versions or commits have holes; `snapshot`: it says
    /// something else than the events.
    pub kind: String,
    /// Position of the first event that it concerns; null for a snapshot.
    pub position: Option<u64>,
    /// The stream.
    pub stream: String,
    /// The version there.
    pub version: u64,
    /// Id of the command, if one led to it.
    pub command_id: Option<String>,
    /// Its type.
    pub command: Option<String>,
    /// Digest of the module that the commit names.
    pub module: Option<String>,
    /// The plan that the commit names.
    pub plan: u64,
    /// For people. For `decision` a line for each event that differs: `-` as it is recorded,
    /// `+` as it is decided now.
    pub text: String,
}

impl VerifiedView {
    fn of(verified: Verified) -> Self {
        let commands = verified.commands.iter();
        let snapshots = verified.snapshots;
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
                    different: tally.different,
                    undecided: tally.undecided,
                })
                .collect(),
            snapshots: SnapshotTallyView {
                agree: snapshots.agree,
                differ: snapshots.differ,
                unusable: snapshots.unusable,
            },
            found: verified.found,
            findings: verified.findings.into_iter().map(FindingView::of).collect(),
        }
    }
}

impl FindingView {
    fn of(finding: Finding) -> Self {
        let (command_id, command) = finding.command.unzip();
        Self {
            kind: finding.kind.to_string(),
            position: Some(finding.position.0).filter(|position| *position > 0),
            stream: finding.stream.to_string(),
            version: finding.version.0,
            command_id: command_id.map(|id| id.to_string()),
            command: command.map(|name| name.to_string()),
            module: finding.module.map(|digest| digest.to_string()),
            plan: finding.plan,
            text: finding.text,
        }
    }
}

impl VerifyBody {
    fn scope(self) -> std::result::Result<Scope, Invalid> {
        let category = self.category.map(|category| Category::new(&category));
        let category = category.transpose()?;
        if self
            .sample
            .is_some_and(|sample| !(1..=SAMPLE_MAX).contains(&sample))
        {
            return Err(Invalid(format!("a sample is 1 to {SAMPLE_MAX} streams")));
        }
        Ok(Scope {
            category: category.map(|category| category.as_str().to_owned()),
            sample: self.sample,
        })
    }
}

/// Decides the history again.
///
/// Every recorded command is decided anew by the module and the upcasters of its commit's
/// plan, on the state that the recorded events before it lead to, and compared with what is
/// recorded, byte for byte; fuel is not. Versions and commits are checked, and snapshots are
/// compared with the events. Nothing is written. One run at a time; it ends when the
/// connection does. Lines of progress come first.
#[utoipa::path(
    post, path = "/v1/verify", operation_id = "verify", tag = "operations",
    request_body(content = Option<VerifyBody>, description = "What is decided again; all without it"),
    responses(
        (status = 200, body = VerifyLine, content_type = "application/x-ndjson", description = "Lines, the last of which says what was found"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn verify(
    State(app): State<App>,
    params: Params,
    body: OptionalJson,
) -> Result<Response> {
    params.finish()?;
    let scope = body.parse::<VerifyBody>()?.scope()?;
    let (lines, mut told) = mpsc::channel(LINES_MAX);
    tokio::spawn(async move {
        let running = run(&app.host, &scope, &lines);
        let last = tokio::select! {
            last = running => last,
            () = lines.closed() => return,
            () = app.ending.cancelled() => Err(Error::Stopped),
        };
        let last = match last {
            Ok(verified) => VerifyLine::Verified(VerifiedView::of(verified)),
            Err(error) => VerifyLine::Problem(error.into()),
        };
        // Who asked may be gone.
        _ = lines.send(last).await;
    });
    // What fails at once has a status of its own.
    let first = match told.recv().await {
        Some(VerifyLine::Problem(problem)) => return Err(problem),
        first => first,
    };
    let lines = futures::stream::unfold((first, told), |(first, mut told)| async {
        let line = match first {
            Some(line) => line,
            None => told.recv().await?,
        };
        let written = serde_json::to_vec(&line).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((written, (None, told)))
    });
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, ndjson)], Body::from_stream(lines)).into_response())
}

async fn run(
    host: &Host,
    scope: &Scope,
    lines: &mpsc::Sender<VerifyLine>,
) -> std::result::Result<Verified, Error> {
    let mut told_at: Option<Instant> = None;
    let mut tell = |progress: Progress| {
        if told_at.is_some_and(|told| told.elapsed() < PROGRESS_PAUSE) {
            return;
        }
        told_at = Some(Instant::now());
        let view = ProgressView {
            position: progress.position.0,
            head: progress.head.0,
        };
        // A reader that is too slow hears of the next one.
        _ = lines.try_send(VerifyLine::Progress(view));
    };
    host.verify(scope, &mut tell).await
}
