//! The owner of a build: reads the log after its checkpoint, folds the events and writes the
//! documents.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::cache::Cache;
use super::cutover::TakeOver;
use super::dropped::Drops;
use super::error_policy::Retries;
use super::flush::Buffer;
use super::guard::Replaced;
use super::parked::Parked;
use super::rules::{Event, FoldFailure, Keyed, Rules, Task};
use super::shared::{Shared, blocking};
use super::staleness::Verdict;
use super::{Error, Trouble};
use crate::model::{Backoff, OnError, Position, Timestamp};
use crate::store::{Build, BuildClaim, FailedEvent, Role, StoredProjection, Subject};

/// Number of documents in a page from which folding is distributed among threads.
const SHARED_OUT_MIN: usize = 64;

/// Pause between two transactions of a build while events arrive continuously.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);
/// The same pause while somebody waits for documents.
const FLUSH_PAUSE_AWAITED: Duration = Duration::from_millis(20);

/// How long a stopping host waits for the store to release a build.
const RELEASED_IN: Duration = Duration::from_secs(2);

/// Runs one build whenever this host can own it.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Arc<str>,
    pub(super) build: Build,
    pub(super) stop: CancellationToken,
}

/// Why an owner has stopped.
pub(super) enum End {
    /// The host is shutting down, or another host owns the build, or the build has been removed.
    Gone,
    /// Another owner has claimed the build, or it has become inline.
    Lost,
    /// The build has stopped after an error, or an operator paused it. The store has the details.
    Waiting,
    /// The store failed, or another error occurred that may be temporary.
    Failed(Error),
}

/// A build that this host owns, with the state of folding it.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Arc<str>,
    pub(super) build: Build,
    pub(super) on_error: OnError,
    pub(super) rules: Arc<Rules>,
    pub(super) progress: Progress,
    pub(super) buffer: Buffer,
    /// The token of its lease, which every write of the build names.
    pub(super) token: u64,
    /// When to renew the lease.
    pub(super) renew_at: Instant,
    pub(super) parked: Parked,
    /// Events that operators dropped. Dropping another one takes the build from its owner.
    pub(super) drops: Drops,
    pub(super) retries: Retries,
    pub(super) verdict: Verdict,
    pub(super) takeover: TakeOver,
}

/// How far a build is.
pub(super) struct Progress {
    /// Everything up to here is folded.
    pub(super) folded: Position,
    /// Everything up to here is stored.
    pub(super) stored: Position,
    /// When the store was last asked for commands to the projection.
    checked_at: Instant,
}

impl Runner {
    /// Runs until the build is not wanted any more.
    pub(super) async fn run(self) {
        let mut control = self.shared.control.subscribe();
        let mut backoff = Backoff::of_reads();
        while !self.stop.is_cancelled() {
            control.borrow_and_update();
            let claimed = tokio::select! {
                claimed = self.claim() => claimed,
                () = self.stop.cancelled() => return,
            };
            let end = match claimed {
                Ok(Some((stored, claim))) => self.own(&stored, claim).await,
                Ok(None) => End::Waiting,
                Err(error) => End::Failed(error),
            };
            let pause = match end {
                End::Gone => return,
                End::Waiting | End::Lost => {
                    backoff.reset();
                    self.pause()
                }
                End::Failed(error) => {
                    if let Some(left_out) = self.shared.may_say(&self.name, &error.to_string()) {
                        let projection = &*self.name;
                        tracing::warn!(%error, projection, left_out, "a build failed; retrying");
                    }
                    backoff.next_pause()
                }
            };
            tokio::select! {
                _ = control.changed() => {}
                () = sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Returns a random pause between two attempts to own the build.
    fn pause(&self) -> Duration {
        let (poll, lease) = (self.shared.options.poll, self.shared.options.lease);
        rand::rng().random_range(lease / 8..=lease / 4).min(poll)
    }

    /// Claims the build, if it should run and nobody else owns it.
    async fn claim(&self) -> Result<Option<(StoredProjection, BuildClaim)>, Error> {
        let documents = &self.shared.documents;
        let Some(stored) = documents.projection(&self.name).await? else {
            return Ok(None);
        };
        let mut builds = stored.builds.iter();
        let Some(build) = builds.find(|build| build.id == self.build.id) else {
            return Ok(None);
        };
        let trouble = Trouble::read(build.trouble.as_deref());
        let is_stopped = trouble.is_some_and(|trouble| trouble.is_stopped);
        if stored.is_paused || is_stopped || build.is_inline || build.role == Role::Previous {
            return Ok(None);
        }
        let lease = self.shared.options.lease;
        let claim = documents.claim(self.build.id, lease).await?;
        Ok(claim.map(|claim| (stored, claim)))
    }

    /// Owns the build until it ends, then releases it. Otherwise nobody could run the build until
    /// its lease expires.
    async fn own(&self, stored: &StoredProjection, claim: BuildClaim) -> End {
        let token = claim.token;
        let owning = async {
            match Owner::of(self, stored, claim).await {
                Ok(mut owner) => owner.run().await,
                Err(error) => End::Failed(error),
            }
        };
        // Events that were folded but not written by then are folded a second time by the next
        // owner.
        let end = tokio::select! {
            end = owning => end,
            () = self.stop.cancelled() => End::Gone,
        };
        if !matches!(end, End::Lost) {
            let releasing = self.shared.documents.release(self.build.id, token);
            match timeout(RELEASED_IN, releasing).await {
                Ok(Ok(_)) => {}
                // The lease expires by itself.
                Ok(Err(error)) => {
                    tracing::debug!(projection = &*self.name, %error, "could not release a build");
                }
                Err(_) => tracing::debug!(projection = &*self.name, "could not release a build"),
            }
        }
        end
    }
}

impl Owner {
    async fn of(
        runner: &Runner,
        stored: &StoredProjection,
        claim: BuildClaim,
    ) -> Result<Self, Error> {
        let shared = &runner.shared;
        let mut builds = stored.builds.iter();
        let build = builds.find(|build| build.id == runner.build.id);
        let mut build = build.unwrap_or(&runner.build).clone();
        // Since it was read, the build may have been handed to another module.
        build.module = claim.module;
        let rules = shared.rules(&runner.name, build.module).await?;
        let settings = rules.plan.projection(&runner.name).map(|it| it.settings);
        let parked = Parked::read(&*shared.documents, build.id).await?;
        // Read after the claim, because dropping an event from now on ends the claim.
        let drops = Drops::read(&*shared.documents, &runner.name, Position(0)).await?;
        let (now, has_parked) = (Instant::now(), parked.len() > 0);
        Ok(Self {
            shared: Arc::clone(shared),
            name: Arc::clone(&runner.name),
            on_error: settings.unwrap_or_default().on_error,
            parked,
            drops,
            rules: Arc::new(rules),
            progress: Progress {
                folded: claim.position,
                stored: claim.position,
                checked_at: now,
            },
            buffer: Buffer::new(Cache::new(build.id, claim.changes)),
            token: claim.token,
            renew_at: now + shared.options.lease / 3,
            retries: Retries {
                requests: stored.retries,
                // The previous owner may have stopped before the retry.
                is_wanted: has_parked,
            },
            verdict: Verdict {
                plan: claim.plan,
                stale: claim.stale,
                is_new: false,
            },
            takeover: TakeOver {
                is_held: stored.is_held,
                comparison: None,
                waits: build.waits.clone(),
                checked: None,
                replaced: Replaced::of(&stored.builds),
            },
            build,
        })
    }

    /// Folds the existing events, then those that arrive.
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.follow().await {
                return end;
            }
        }
    }

    /// Folds one page. At the end of the log, waits for more.
    async fn follow(&mut self) -> Result<(), End> {
        let mut control = self.shared.control.subscribe();
        control.borrow_and_update();
        let mut raised = self.shared.registry.raised();
        raised.borrow_and_update();
        // Also checked while events arrive continuously and nothing waits.
        if self.progress.checked_at.elapsed() >= self.shared.options.poll {
            self.check_commands().await?;
        }
        self.renew_rules().await?;
        let (page, mut grown) = self.page().await?;
        let newest = page.events.iter().map(|event| event.commit.plan).max();
        if newest.is_some_and(|newest| newest > self.rules.plan.number) {
            let known = self.rules.plan.number;
            self.shared.learn_plan().await.map_err(End::Failed)?;
            // During an import, the history may not include the plan yet.
            if self.shared.registry.plan().number > known {
                return Ok(());
            }
        }
        let is_last = page.next.is_none();
        let next = page.next.unwrap_or(page.head).max(self.progress.folded);
        if !is_last {
            self.read_ahead(next);
        }
        let span = self.begin_span(&page.events);
        let stuck = self.fold(page.events.clone(), !is_last).await?;
        self.end_span(span, stuck.is_some());
        if let Some(stuck) = stuck {
            return self.overcome(stuck).await;
        }
        self.progress.folded = next;
        // While events arrive continuously, not every commit is followed by a transaction.
        let is_quiet = is_last && !grown.has_changed().unwrap_or(true);
        let is_due = is_last && self.buffer.since.elapsed() >= self.flush_pause();
        if is_quiet || is_due {
            self.flush(None).await?;
        } else if self.buffer.is_full(&self.shared.options) {
            self.begin_flush(None).await?;
        }
        if is_quiet || is_due {
            // Otherwise the newly deployed module retries them, once it has taken over the build.
            if self.retries.is_wanted && !self.is_replaced() {
                self.retry_parked().await?;
            }
            self.caught_up().await?;
        }
        if is_quiet {
            self.wait(&mut grown, &mut control, &mut raised).await?;
        }
        Ok(())
    }

    /// Whether another module is deployed with this version of the projection.
    pub(super) fn is_replaced(&self) -> bool {
        let plan = self.shared.registry.plan();
        plan.projection(&self.name).is_some_and(|projected| {
            projected.definition().version == self.build.version
                && projected.module.digest() != self.build.module
        })
    }

    /// Folds events up to the first one that can't be folded, which is returned.
    pub(super) async fn fold(
        &mut self,
        mut events: Vec<Event>,
        is_catching_up: bool,
    ) -> Result<Option<FoldFailure>, End> {
        let mut first_stuck: Option<FoldFailure> = None;
        loop {
            if let Some(stuck) = &first_stuck {
                events.truncate(events.partition_point(|it| it.position < stuck.position));
            }
            let at = self.shared.clock.now();
            let (known, mut dropped) = self.drops.without_streams(&events, at);
            let (known, followers) = self.parked.without_streams(&known);
            let rules = Arc::clone(&self.rules);
            let keying = self.folding(move || rules.key(known));
            let (mut keyed, stuck) = keying.await?;
            if stuck.is_some() {
                first_stuck = stuck;
                continue;
            }
            dropped.extend(self.drops.take_documents(&mut keyed, at));
            let waiting = self.parked.take_documents(&mut keyed);
            match self.apply(&keyed, is_catching_up).await? {
                Ok(()) => {
                    self.buffer.events += events.len();
                    self.buffer.failed.skipped.extend(dropped);
                    let waiting = waiting.into_iter().chain(followers);
                    for (subject, position) in waiting {
                        self.park(subject, position, at);
                    }
                    self.check_parked(&events).await?;
                    return Ok(first_stuck);
                }
                Err(stuck) => first_stuck = Some(stuck),
            }
        }
    }

    /// Parks an event for a subject.
    pub(super) fn park(&mut self, subject: Subject, position: Position, at: Timestamp) {
        self.parked.add(&subject, position);
        self.buffer.failed.parked.push(FailedEvent {
            subject,
            position,
            at,
            error: None,
            attempts: 0,
            reason: None,
        });
    }

    /// Stops if more events are parked than allowed. What was folded is written together with the
    /// error.
    async fn check_parked(&mut self, folded: &[Event]) -> Result<(), End> {
        let (waiting, max) = (self.parked.len(), self.shared.options.parked_max);
        if waiting <= max {
            return Ok(());
        }
        let last = folded.last().map(|event| event.position);
        self.progress.folded =
            last.map_or(self.progress.folded, |last| last.max(self.progress.folded));
        let trouble = Trouble::full(waiting, max, self.shared.clock.now());
        tracing::error!(
            projection = &*self.name,
            waiting,
            max,
            "a projection has stopped: too many events are parked"
        );
        self.flush(Some(&trouble)).await?;
        self.shared.notify();
        Err(End::Waiting)
    }

    /// Folds documents into the cache. If one fails, the cache is not changed.
    async fn apply(
        &mut self,
        keyed: &Keyed,
        is_catching_up: bool,
    ) -> Result<Result<(), FoldFailure>, End> {
        self.load(keyed.works.iter().map(|(key, _)| key)).await?;
        let tasks = keyed.tasks(|key| self.buffer.cache.get(key));
        let threads = match is_catching_up && tasks.len() >= SHARED_OUT_MIN {
            true => self.shared.options.threads.max(1),
            false => 1,
        };
        let places: Vec<(Arc<str>, Position)> = tasks
            .iter()
            .map(|task| (Arc::clone(&task.key), task.position()))
            .collect();
        let parts = shared_out(tasks, threads);
        let rules = Arc::clone(&self.rules);
        let applying = self.folding_all(parts, move |tasks| rules.apply(tasks));
        let mut documents = Vec::with_capacity(places.len());
        let mut first: Option<FoldFailure> = None;
        for part in applying.await? {
            match part {
                Ok(part) => documents.extend(part),
                Err(stuck) => {
                    let is_first = |known: &FoldFailure| stuck.position < known.position;
                    if first.as_ref().is_none_or(is_first) {
                        first = Some(stuck);
                    }
                }
            }
        }
        if let Some(stuck) = first {
            return Ok(Err(stuck));
        }
        for ((key, position), document) in places.into_iter().zip(documents) {
            self.buffer.cache.put(&key, document, position);
        }
        Ok(Ok(()))
    }

    /// Loads documents that are not in the cache yet.
    pub(super) async fn load<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<(), End> {
        let missing = self.buffer.cache.missing(keys);
        if missing.is_empty() {
            return Ok(());
        }
        let (shared, build) = (Arc::clone(&self.shared), self.build.id);
        let reading = async move {
            let read = shared.documents.documents(build, &missing).await?;
            Ok::<_, Error>((missing, read))
        };
        let (keys, read) = self.holding(reading).await?.map_err(End::Failed)?;
        self.buffer.cache.take(keys, read);
        Ok(())
    }

    /// Runs a guest. The number of guests that run at the same time is limited.
    pub(super) async fn folding<T: Send + 'static>(
        &mut self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, End> {
        let shared = Arc::clone(&self.shared);
        let running = async move {
            let _permit = shared.folding.acquire().await.map_err(|_| Error::Stopped)?;
            blocking(run).await
        };
        self.holding(running).await?.map_err(End::Failed)
    }

    /// Does the same on several threads.
    async fn folding_all<T: Send + 'static>(
        &mut self,
        parts: Vec<Vec<Task>>,
        run: impl Fn(&[Task]) -> T + Clone + Send + Sync + 'static,
    ) -> Result<Vec<T>, End> {
        let shared = Arc::clone(&self.shared);
        let running = async move {
            let _permit = shared.folding.acquire().await.map_err(|_| Error::Stopped)?;
            let parts = parts.into_iter().map(|part| {
                let run = run.clone();
                blocking(move || run(&part))
            });
            futures::future::try_join_all(parts).await
        };
        self.holding(running).await?.map_err(End::Failed)
    }

    fn flush_pause(&self) -> Duration {
        match self.shared.progress.receiver_count() {
            0 => FLUSH_PAUSE,
            _ => FLUSH_PAUSE_AWAITED,
        }
    }

    /// Waits until there may be something to do.
    async fn wait(
        &mut self,
        grown: &mut watch::Receiver<u64>,
        control: &mut watch::Receiver<u64>,
        raised: &mut watch::Receiver<u64>,
    ) -> Result<(), End> {
        let poll = self.shared.options.poll;
        let work = async {
            tokio::select! {
                changed = grown.changed() => changed.map(|()| false),
                _ = control.changed() => Ok(true),
                _ = raised.changed() => Ok(false),
                () = sleep(poll) => Ok(true),
            }
        };
        let result = self.holding(work).await?;
        match result {
            Ok(true) => self.check_commands().await,
            Ok(false) => Ok(()),
            // The store is gone.
            Err(_) => Err(End::Gone),
        }
    }

    /// Checks for commands to the projection, from this host or another one.
    async fn check_commands(&mut self) -> Result<(), End> {
        self.progress.checked_at = Instant::now();
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.name));
        let reading = async move { shared.documents.projection(&name).await };
        let stored = self.holding(reading).await?;
        let stored = stored.map_err(|error| End::Failed(error.into()))?;
        let build = stored.as_ref().and_then(|stored| {
            let mut builds = stored.builds.iter();
            builds.find(|build| build.id == self.build.id)
        });
        let (Some(stored), Some(build)) = (&stored, build) else {
            return Err(End::Gone);
        };
        if stored.is_paused || build.is_inline || build.role == Role::Previous {
            return Err(End::Waiting);
        }
        self.build.role = build.role;
        self.build.is_confirmed = build.is_confirmed;
        self.takeover.replaced = Replaced::of(&stored.builds);
        self.takeover.is_held = stored.is_held;
        self.wants_retry(stored.retries);
        Ok(())
    }
}

/// Splits tasks into at most one part per thread, of about equal size.
fn shared_out(mut tasks: Vec<Task>, threads: usize) -> Vec<Vec<Task>> {
    let share = tasks.len().div_ceil(threads).max(1);
    let mut parts = Vec::with_capacity(threads);
    while tasks.len() > share {
        let rest = tasks.split_off(share);
        parts.push(std::mem::replace(&mut tasks, rest));
    }
    parts.push(tasks);
    parts
}
