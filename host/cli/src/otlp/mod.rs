//! Traces of commands and of folds by OTLP, switched on by the standard variables of OpenTelemetry.
//!
//! Written here instead of with the crates `opentelemetry`, `opentelemetry_sdk`, `opentelemetry-otlp`
//! and `tracing-opentelemetry`: those take about 15 crates, of which each minor version breaks, to
//! send what is one JSON document of a fixed form. A command of a host has four spans whose times
//! are measured anyway.
//!
//! Commands and projections never wait for a collector. Their spans go into a queue of bounded
//! length; while it is full, spans are dropped and counted.

mod document;
mod settings;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use quipu::meters::{CommandSpans, FoldSpan, SpanSink};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::document::Clock;
use self::settings::{Sampler, Settings};
use crate::exit::WrongUse;

/// Commands and folds that wait to be sent; further ones are dropped.
const QUEUE_MAX: usize = 16_384;
/// Commands and folds of one request.
const BATCH_MAX: usize = 512;
/// How long they wait for others.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the end of the host waits for the last request.
const CLOSE: Duration = Duration::from_secs(2);

/// The sink of this process.
static SINK: OnceLock<Arc<Queue>> = OnceLock::new();

/// Where hosts of this process send spans, if traces are switched on.
pub fn sink() -> Option<Arc<dyn SpanSink>> {
    let sink = SINK.get()?;
    Some(Arc::<Queue>::clone(sink))
}

/// What is sent.
pub enum Traced {
    /// A command with its phases.
    Command(CommandSpans),
    /// A page of events that a projection folded.
    Fold(FoldSpan),
}

/// The queue of what is sent.
struct Queue {
    sampler: Sampler,
    traced: mpsc::Sender<Traced>,
    dropped: AtomicU64,
}

impl Queue {
    fn add(&self, traced: Traced) {
        if self.traced.try_send(traced).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl SpanSink for Queue {
    fn wants(&self, traceparent: Option<&str>) -> bool {
        self.sampler.wants(traceparent)
    }

    fn take(&self, command: CommandSpans) {
        self.add(Traced::Command(command));
    }

    fn take_fold(&self, fold: FoldSpan) {
        self.add(Traced::Fold(fold));
    }
}

/// Sends spans to a collector until it is closed.
pub struct Exporter {
    ending: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts, if the variables of the environment name a collector.
    ///
    /// # Errors
    /// When a variable is wrong.
    pub fn start() -> Result<Option<Self>, WrongUse> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(settings) = Settings::read(variable).map_err(WrongUse)? else {
            return Ok(None);
        };
        let (traced, queue) = mpsc::channel(QUEUE_MAX);
        let sink = Arc::new(Queue {
            sampler: settings.sampler,
            traced,
            dropped: AtomicU64::default(),
        });
        _ = SINK.set(Arc::clone(&sink));
        let (ending, ended) = oneshot::channel();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.timeout)
            .build()
            .map_err(|error| WrongUse(format!("traces: no client can be made: {error}")))?;
        let sending = Sending {
            clock: Clock::new(Instant::now(), SystemTime::now()),
            settings,
            http,
            sink,
            is_failing: false,
        };
        let task = tokio::spawn(sending.run(queue, ended));
        Ok(Some(Self { ending, task }))
    }

    /// Sends what waits, within 2 s.
    pub async fn close(self) {
        _ = self.ending.send(());
        _ = tokio::time::timeout(CLOSE, self.task).await;
    }
}

struct Sending {
    settings: Settings,
    clock: Clock,
    http: reqwest::Client,
    sink: Arc<Queue>,
    is_failing: bool,
}

impl Sending {
    async fn run(mut self, mut queue: mpsc::Receiver<Traced>, ended: oneshot::Receiver<()>) {
        let mut ended = std::pin::pin!(ended);
        let mut is_over = false;
        while !is_over {
            tokio::select! {
                _ = &mut ended => is_over = true,
                () = tokio::time::sleep(PAUSE) => {}
            }
            loop {
                let mut batch = Vec::new();
                while batch.len() < BATCH_MAX
                    && let Ok(traced) = queue.try_recv()
                {
                    batch.push(traced);
                }
                let is_last = batch.len() < BATCH_MAX;
                if !batch.is_empty() {
                    let sending = AssertUnwindSafe(self.send(&batch));
                    if sending.catch_unwind().await.is_err() {
                        tracing::error!("a batch of traces panicked; it is dropped");
                    }
                }
                if is_last {
                    break;
                }
            }
        }
    }

    /// Sends a batch once. What a collector does not take is dropped.
    async fn send(&mut self, batch: &[Traced]) {
        let document = document::of(batch, &self.settings, &self.clock);
        let mut request = self
            .http
            .post(&self.settings.url)
            .header("content-type", "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let failed = match request.body(document).send().await {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the status is {}", response.status())),
            // Without the address, which may have a password.
            Err(error) => Some(error.without_url().to_string()),
        };
        let dropped = self.sink.dropped.swap(0, Ordering::Relaxed);
        match &failed {
            None if self.is_failing => tracing::info!("the collector takes traces again"),
            Some(why) if !self.is_failing => {
                tracing::warn!(why, "the collector takes no traces; they are dropped");
            }
            _ => {}
        }
        self.is_failing = failed.is_some();
        if dropped > 0 {
            tracing::warn!(dropped, "traces were dropped because the collector is slow");
        }
    }
}
