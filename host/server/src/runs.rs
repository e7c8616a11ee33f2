//! Long runs over the history, which report their progress.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::deed::{DONE, Deed, LEFT};
use super::failure::{Failure, Result};
use super::newest::{Kind, Watch};
use super::{App, answer as answers, log_context};
use quipu::Host;
use quipu::proof::{Error, Progress};
use quipu_api::{ProgressView, RunLine};

/// Pause between two lines of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);
/// Number of lines that wait for a slow reader; further lines of progress are left out.
const LINES_MAX: usize = 8;

/// A run on a host.
pub trait Run: Send + 'static {
    /// What the newest run is shown as; none: it is not shown.
    const KIND: Option<Kind> = None;

    /// Performs the run and returns its last line.
    fn run<'a>(&'a self, host: &'a Host, reporter: Reporter) -> BoxFuture<'a, Result<RunLine>>;
}

/// Sends the lines before the last one to the client.
pub struct Reporter {
    /// None: nobody listens.
    lines: Option<mpsc::Sender<RunLine>>,
    reported_at: Option<Instant>,
    watch: Option<Arc<Watch>>,
}

impl Reporter {
    /// Sends nothing.
    pub fn silent() -> Self {
        Self {
            lines: None,
            reported_at: None,
            watch: None,
        }
    }

    /// Reports progress, at intervals.
    pub fn progress(&mut self, progress: Progress) {
        if self
            .reported_at
            .is_some_and(|at| at.elapsed() < PROGRESS_PAUSE)
        {
            return;
        }
        self.reported_at = Some(Instant::now());
        self.offer(RunLine::Progress(ProgressView {
            position: progress.position.0,
            head: progress.head.0,
        }));
    }

    /// Sends a line, or leaves it out when the reader is too slow.
    pub fn offer(&self, line: RunLine) {
        if let Some(watch) = &self.watch {
            watch.set(&line);
        }
        if let Some(lines) = &self.lines {
            _ = lines.try_send(line);
        }
    }

    /// Sends a line, and waits for the reader.
    pub async fn send(&self, line: RunLine) {
        if let Some(lines) = &self.lines {
            // The client may have disconnected.
            _ = lines.send(line).await;
        }
    }
}

/// Answers with the lines of a run. Closing the connection cancels it.
pub async fn answer<R: Run + Sync>(app: App, run: R, deed: Deed) -> Result<Response> {
    deed.claim();
    let watch = R::KIND.map(|kind| Arc::new(app.newest.watch(kind, deed.principal())));
    let (lines, mut receiver) = mpsc::channel(LINES_MAX);
    let context = log_context::current();
    let running = async move {
        let reporter = Reporter {
            lines: Some(lines.clone()),
            reported_at: None,
            watch: watch.clone(),
        };
        let running = AssertUnwindSafe(run.run(&app.host, reporter)).catch_unwind();
        let last = tokio::select! {
            last = running => {
                last.unwrap_or_else(|_| Err(Failure::internal(&"a run panicked")))
            }
            () = lines.closed() => return deed.record(LEFT).await,
            () = app.ending.cancelled() => Err(Error::Stopped.into()),
        };
        let last = last.unwrap_or_else(|Failure(problem)| RunLine::Problem(problem));
        if let Some(watch) = watch {
            watch.set(&last);
        }
        let result = match &last {
            RunLine::Problem(problem) => &problem.code,
            _ => DONE,
        };
        deed.record(result).await;
        // The client may have disconnected.
        _ = lines.send(last).await;
    };
    // After a panic its sender is dropped, and the answer ends without its last line.
    tokio::spawn(async move {
        match context {
            Some(context) => context.scope(running).await,
            None => running.await,
        }
    });
    // A run that fails at once has its own status.
    let first = match receiver.recv().await {
        Some(RunLine::Problem(problem)) => return Err(Failure(problem)),
        first => first,
    };
    let lines = futures::stream::unfold((first, receiver), |(first, mut receiver)| async {
        let line = match first {
            Some(line) => line,
            None => receiver.recv().await?,
        };
        let written = serde_json::to_vec(&line).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((written, (None, receiver)))
    });
    Ok(answers::ndjson(Body::from_stream(lines)))
}
