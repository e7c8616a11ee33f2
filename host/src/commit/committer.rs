use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::{Gauge, Handle, Message, Staged, Verdict};
use crate::meters::Meters;
use crate::model::Throttle;
use crate::store::{self, EventWriter, Import, InlineFold, Item, Outcome};
use crate::supervise::Supervisor;

/// Options for forming batches.
#[derive(Debug, Clone)]
pub struct Options {
    /// Highest number of items in a batch.
    pub batch_max: usize,
    /// From this number of staged items on, the next commit starts before the callers of the last
    /// one are answered. Below it, they are answered first, because they will stage the next items.
    pub full_batch: usize,
    /// Longest time that a batch below `full_batch` waits for decisions in progress. The batch is
    /// committed as soon as the last of them is staged.
    pub company_wait: Duration,
    /// How long an import waits for other hosts of the store to disconnect before it is refused. A
    /// database notices a little later that a host was killed.
    pub hosts_wait_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_max: 1_024,
            full_batch: 64,
            company_wait: Duration::from_millis(1),
            hosts_wait_max: Duration::from_secs(10),
        }
    }
}

/// Returns the inline projections of the newest plan known to the host, or `None` if there are
/// none. It is called before each batch, so it must be short and must not wait.
pub type Inline = Arc<dyn Fn() -> Option<Arc<dyn InlineFold>> + Send + Sync>;

/// For a store without inline projections.
pub fn no_inline() -> Inline {
    Arc::new(|| None)
}

/// Starts the committer of a store on a separate thread, with a separate runtime. The receiver
/// reports how the store was closed, after the last handle was dropped. It fails when the committer
/// panicked.
///
/// # Errors
/// When the operating system can't create a thread.
pub fn start(
    writer: Box<dyn EventWriter>,
    options: Options,
    inline: Inline,
    supervisor: &Supervisor,
) -> std::io::Result<(Handle, oneshot::Receiver<store::Result<()>>)> {
    let (queue, staged) = mpsc::unbounded_channel();
    let gauge = Arc::new(Gauge::default());
    let meters = Arc::new(Meters::default());
    let handle = Handle {
        queue,
        gauge: Arc::clone(&gauge),
        meters: Arc::clone(&meters),
        hosts_wait_max: options.hosts_wait_max,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (closed, closing) = oneshot::channel();
    let supervisor = supervisor.clone();
    std::thread::Builder::new()
        .name("quipu-committer".to_owned())
        .spawn(move || {
            let committer = Committer {
                writer,
                options,
                inline,
                staged,
                gauge,
                meters,
                failures: Throttle::default(),
            };
            // The state of a batch is unknown after a panic.
            let running = supervisor.essential("committer", committer.run());
            if let Some(end) = runtime.block_on(running) {
                // The receiver may have been dropped.
                _ = closed.send(end);
            }
        })?;
    Ok((handle, closing))
}

struct Committer {
    writer: Box<dyn EventWriter>,
    options: Options,
    inline: Inline,
    staged: mpsc::UnboundedReceiver<Message>,
    gauge: Arc<Gauge>,
    meters: Arc<Meters>,
    /// Limits log entries about batches that were not stored: each may fail for the same reason.
    failures: Throttle,
}

/// An item whose caller has not been answered yet.
type Finished = (Staged, Verdict);

impl Committer {
    async fn run(mut self) -> store::Result<()> {
        let mut batch = Vec::new();
        let mut finished = Vec::new();
        let mut is_closing = false;
        loop {
            if is_closing && batch.is_empty() {
                for (staged, verdict) in finished.drain(..) {
                    answer(staged, verdict);
                }
                break;
            }
            if batch.len() + self.staged.len() < self.options.full_batch {
                for (staged, verdict) in finished.drain(..) {
                    answer(staged, verdict);
                }
                if batch.is_empty() {
                    match self.staged.recv().await {
                        Some(Message::Staged(staged)) => batch.push(staged),
                        Some(Message::Import(part, sender)) => {
                            self.import(part, sender).await;
                            continue;
                        }
                        Some(Message::Check(sender)) => {
                            self.check(sender).await;
                            continue;
                        }
                        Some(Message::Close) | None => break,
                    }
                }
                self.gather(&batch).await;
            }
            let (mut import, mut checks) = (None, Vec::new());
            while !is_closing
                && import.is_none()
                && batch.len() < self.options.batch_max
                && let Ok(message) = self.staged.try_recv()
            {
                match message {
                    Message::Staged(staged) => batch.push(staged),
                    Message::Import(part, sender) => import = Some((part, sender)),
                    Message::Check(sender) => checks.push(sender),
                    Message::Close => {
                        is_closing = true;
                        self.staged.close();
                    }
                }
            }
            if !batch.is_empty() {
                finished = self.commit(&mut batch, finished).await;
            }
            for sender in checks {
                self.check(sender).await;
            }
            if let Some((part, sender)) = import {
                self.import(part, sender).await;
            }
        }
        self.writer.close().await
    }

    async fn import(&mut self, part: Import, sender: oneshot::Sender<store::Result<()>>) {
        // The caller may have gone.
        _ = sender.send(self.writer.import(&part).await);
    }

    async fn check(&mut self, sender: oneshot::Sender<store::Result<()>>) {
        // The caller may have gone.
        if !sender.is_closed() {
            _ = sender.send(self.writer.check().await);
        }
    }

    /// Lets a small batch wait until the decisions in progress have been staged.
    async fn gather(&self, batch: &[Staged]) {
        tokio::task::yield_now().await;
        let is_small = |staged: usize| batch.len() + staged < self.options.full_batch;
        if self.gauge.deciding.load(Ordering::SeqCst) == 0 || !is_small(self.staged.len()) {
            return;
        }
        let all_decided = async {
            while self.gauge.deciding.load(Ordering::SeqCst) > 0 && is_small(self.staged.len()) {
                self.gauge.decided.notified().await;
            }
        };
        _ = tokio::time::timeout(self.options.company_wait, all_decided).await;
    }

    /// Commits a batch and, at the same time, answers the callers of the previous one.
    async fn commit(
        &mut self,
        batch: &mut Vec<Staged>,
        mut before: Vec<Finished>,
    ) -> Vec<Finished> {
        let mut finished = Vec::with_capacity(batch.len());
        let mut retries = Vec::new();
        let mut parts = split(std::mem::take(batch));
        while let Some(part) = parts.pop() {
            let (items, rest) = open(part, &mut finished);
            let inline = (self.inline)();
            let begun = Instant::now();
            let committing = self.writer.commit(&items, inline.as_deref());
            let answering = async {
                for (staged, verdict) in before.drain(..) {
                    answer(staged, verdict);
                }
            };
            let (result, ()) = tokio::join!(committing, answering);
            self.gauge.batches.fetch_add(1, Ordering::Relaxed);
            self.meters.commit_times.observe_time(begun.elapsed());
            self.meters.batch_items.observe(items.len() as u64);
            let part = items
                .into_iter()
                .zip(rest)
                .map(|(item, rest)| rest.with(item));
            match result {
                Ok(outcomes) => {
                    for (staged, outcome) in part.zip(outcomes) {
                        match outcome {
                            Outcome::Again => retries.push(staged),
                            outcome => {
                                count_events(&self.meters, &staged, &outcome);
                                finished.push(judged(staged, outcome));
                            }
                        }
                    }
                }
                Err(error) => {
                    let mut part: Vec<_> = part.collect();
                    // An error caused by one item is isolated by halving the batch. An error that
                    // affects every item is not repeated a thousand times.
                    if part.len() > 1 && error.may_be_one_items() {
                        let second = part.split_off(part.len() / 2);
                        parts.push(second);
                        parts.push(part);
                        continue;
                    }
                    if let Some(left_out) = self.failures.pass(&error.to_string()) {
                        let items = part.len();
                        tracing::error!(%error, items, left_out, "a batch was not stored");
                    }
                    self.meters.commit_failed(&error);
                    for staged in part {
                        if let Some(run) = &staged.run {
                            run.kill();
                        }
                        finished.push((staged, Verdict::Failed(error.clone())));
                    }
                }
            }
        }
        *batch = retries;
        self.gauge
            .items
            .fetch_add(finished.len() as u64, Ordering::Relaxed);
        finished
    }
}

/// Splits a batch into parts, in reverse order. An activation with turns gets its own part, because
/// turns depend on what was committed before them.
fn split(batch: Vec<Staged>) -> Vec<Vec<Staged>> {
    let turns =
        |staged: &Staged| matches!(&staged.item, Item::Activate(it) if !it.turns.is_empty());
    if !batch.iter().any(turns) {
        return vec![batch];
    }
    let mut parts: Vec<Vec<Staged>> = Vec::new();
    let mut is_closed = true;
    for staged in batch {
        let has_turns = turns(&staged);
        match parts.last_mut() {
            Some(part) if !has_turns && !is_closed => part.push(staged),
            _ => parts.push(vec![staged]),
        }
        is_closed = has_turns;
    }
    parts.reverse();
    parts
}

/// A staged item without its item, which has been passed to the store.
struct Rest {
    run: Option<Arc<super::Run>>,
    done: super::Callback,
}

impl Rest {
    fn with(self, item: Item) -> Staged {
        Staged {
            item,
            run: self.run,
            done: self.done,
        }
    }
}

/// Separates the items of a batch from the rest. Items of a dead run are finished immediately.
fn open(part: Vec<Staged>, finished: &mut Vec<Finished>) -> (Vec<Item>, Vec<Rest>) {
    let (mut items, mut rest) = (
        Vec::with_capacity(part.len()),
        Vec::with_capacity(part.len()),
    );
    for staged in part {
        if staged.run.as_ref().is_some_and(|run| run.is_dead()) {
            finished.push((staged, Verdict::Outcome(Outcome::RunDead)));
            continue;
        }
        let Staged { item, run, done } = staged;
        items.push(item);
        rest.push(Rest { run, done });
    }
    (items, rest)
}

fn count_events(meters: &Meters, staged: &Staged, outcome: &Outcome) {
    if let (Item::Append { writes, .. }, Outcome::Appended(_)) = (&staged.item, outcome) {
        for write in writes {
            let category = meters.events.of(write.stream.category());
            category.add(write.commit.events.len() as u64);
        }
    }
}

/// Ends the run if the outcome means that the state after the item is not valid.
fn judged(staged: Staged, outcome: Outcome) -> Finished {
    let is_valid = matches!(
        (&staged.item, &outcome),
        (Item::Append { .. }, Outcome::Appended(_))
            | (Item::Check(_), Outcome::Holds(_) | Outcome::Known(_))
    );
    if let (false, Some(run)) = (is_valid, &staged.run) {
        match outcome {
            Outcome::WrongVersion { .. } => run.outrun(),
            _ => run.kill(),
        }
    }
    (staged, Verdict::Outcome(outcome))
}

fn answer(staged: Staged, verdict: Verdict) {
    (staged.done)(staged.item, verdict);
}
