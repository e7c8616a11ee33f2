//! Long looks at the history, whose progress is told on the way.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::deployments::DeploymentView;
use super::preflights::PreflightView;
use super::problem::{Problem, Result};
use super::shadows::ShadowView;
use super::verify::VerifiedView;
use super::{App, answer as answers};
use quipu::Host;
use quipu::proof::{Error, Progress};

/// Between two lines of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);
/// Lines that wait for a slow reader; of progress, what is more is left out.
const LINES_MAX: usize = 8;

/// A line of the answer. The last one is no progress.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunLine {
    /// How far it has come.
    Progress(ProgressView),
    /// What a verification found.
    Verified(Box<VerifiedView>),
    /// What a preflight found.
    Preflight(Box<PreflightView>),
    /// What came of a shadow so far.
    Shadow(Box<ShadowView>),
    /// The activation that it led to.
    Deployment(Box<DeploymentView>),
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

/// What is run on a host.
pub trait Run: Send + 'static {
    /// Runs it; its last line.
    fn run<'a>(&'a self, host: &'a Host, telling: Telling) -> BoxFuture<'a, Result<RunLine>>;
}

/// Tells who asked of what comes before the last line.
pub struct Telling {
    /// None: nobody listens.
    lines: Option<mpsc::Sender<RunLine>>,
    told_at: Option<Instant>,
}

impl Telling {
    /// To nobody.
    pub fn silent() -> Self {
        Self {
            lines: None,
            told_at: None,
        }
    }

    /// Tells of progress, now and then.
    pub fn progress(&mut self, progress: Progress) {
        if self
            .told_at
            .is_some_and(|told| told.elapsed() < PROGRESS_PAUSE)
        {
            return;
        }
        self.told_at = Some(Instant::now());
        self.offer(RunLine::Progress(ProgressView {
            position: progress.position.0,
            head: progress.head.0,
        }));
    }

    /// A line that is left out when the reader is too slow.
    pub fn offer(&self, line: RunLine) {
        if let Some(lines) = &self.lines {
            _ = lines.try_send(line);
        }
    }

    /// A line that is waited for.
    pub async fn tell(&self, line: RunLine) {
        if let Some(lines) = &self.lines {
            // Who asked may be gone.
            _ = lines.send(line).await;
        }
    }
}

/// Answers with the lines of a run. It ends when the connection does.
pub async fn answer(app: App, run: impl Run + Sync) -> Result<Response> {
    let (lines, mut told) = mpsc::channel(LINES_MAX);
    tokio::spawn(async move {
        let telling = Telling {
            lines: Some(lines.clone()),
            told_at: None,
        };
        let running = AssertUnwindSafe(run.run(&app.host, telling)).catch_unwind();
        let last = tokio::select! {
            last = running => {
                last.unwrap_or_else(|_| Err(Problem::internal(&"a run panicked")))
            }
            () = lines.closed() => return,
            () = app.ending.cancelled() => Err(Error::Stopped.into()),
        };
        let last = last.unwrap_or_else(RunLine::Problem);
        // Who asked may be gone.
        _ = lines.send(last).await;
    });
    // What fails at once has a status of its own.
    let first = match told.recv().await {
        Some(RunLine::Problem(problem)) => return Err(problem),
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
    Ok(answers::ndjson(Body::from_stream(lines)))
}
