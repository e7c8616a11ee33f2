//! Handles events that can't be folded: retries them, then applies the policy of the projection.
//! Also retries parked events on request.

use std::sync::Arc;

use tokio::time::sleep;

use super::owner::{End, Owner};
use super::rules::{Event, FoldFailure, Rules, Task};
use super::{Error, Trouble};
use crate::model::{Backoff, OnError, Position, Timestamp};
use crate::store::{
    DOCUMENTS_PAGE_MAX, Direction, FailedEvent, Filter, SKIPPED_BY_POLICY, Subject,
};

/// Number of retried events after which the results are written.
const RETRIED_AT_ONCE: usize = 500;

/// What operators asked for parked events.
pub(super) struct Retries {
    /// How often they asked for a retry.
    pub(super) requests: u64,
    /// Whether one may have to be made.
    pub(super) is_wanted: bool,
}

/// The result of folding one stored event.
#[derive(Default)]
struct FoldResult {
    /// Documents into which the event was folded.
    documents: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Documents into which it could not be folded, or its stream.
    failed: Vec<(Subject, FoldFailure)>,
}

impl Owner {
    /// Gets past an event that can't be folded, or stops before it, depending on the policy.
    pub(super) async fn overcome(&mut self, stuck: FoldFailure) -> Result<(), End> {
        check_host(&stuck)?;
        // Everything before the event is already folded.
        self.progress.folded = self
            .progress
            .folded
            .max(Position(stuck.position.0.saturating_sub(1)));
        self.flush(None).await?;
        let since = self.shared.clock.now();
        let (first, max) = self.shared.options.retry;
        let mut backoff = Backoff::new(first, max);
        let (mut attempts, mut last, mut tried) = (1, stuck, None);
        while attempts < self.shared.options.attempts {
            let trouble = Trouble::of(&last, since, attempts, false);
            self.flush(Some(&trouble)).await?;
            let pause = backoff.next_pause();
            self.holding(sleep(pause)).await?;
            let outcome = self.try_one(last.position, None).await?;
            attempts += 1;
            let Some((_, stuck)) = outcome.failed.first() else {
                return self.passed(last.position, outcome).await;
            };
            last = stuck.clone();
            tried = Some(outcome);
        }
        match self.on_error {
            OnError::Skip | OnError::Park => {
                let tried = match tried {
                    Some(tried) => tried,
                    None => self.try_one(last.position, None).await?,
                };
                self.set_by(last.position, tried, (since, attempts)).await
            }
            OnError::Stop => {
                let trouble = Trouble::of(&last, since, attempts, true);
                tracing::error!(
                    projection = &*self.name, position = last.position.0, stream = %last.stream,
                    error = &*last.error, "a projection has stopped before an event"
                );
                self.flush(Some(&trouble)).await?;
                self.shared.notify();
                Err(End::Waiting)
            }
        }
    }

    /// Skips or parks the event for every subject for which it fails.
    async fn set_by(
        &mut self,
        position: Position,
        mut tried: FoldResult,
        (at, attempts): (Timestamp, u32),
    ) -> Result<(), End> {
        for (subject, stuck) in std::mem::take(&mut tried.failed) {
            if let Some(left_out) = self.shared.may_say(&self.name, &stuck.error) {
                tracing::warn!(
                    projection = &*self.name, position = position.0, stream = %stuck.stream,
                    error = &*stuck.error, policy = %self.on_error, left_out,
                    "an event was parked or skipped; the same error is not logged for a minute"
                );
            }
            let mut failed = FailedEvent {
                subject: subject.clone(),
                position,
                at,
                error: Some(stuck.error),
                attempts,
                reason: None,
            };
            if self.on_error == OnError::Park {
                self.parked.add(&subject, position);
                self.buffer.failed.parked.push(failed);
            } else {
                failed.reason = Some(SKIPPED_BY_POLICY.into());
                self.buffer.failed.skipped.push(failed);
            }
        }
        self.passed(position, tried).await
    }

    /// Continues after the event, with the documents into which it was folded.
    async fn passed(&mut self, position: Position, tried: FoldResult) -> Result<(), End> {
        for (key, document) in tried.documents {
            self.buffer.cache.put(&key, document, position);
        }
        self.progress.folded = self.progress.folded.max(position);
        self.flush(None).await
    }

    /// Folds one stored event into each of its documents separately, or only into the document
    /// `only`. Documents for which events are parked, or get parked meanwhile, are left unchanged.
    async fn try_one(
        &mut self,
        position: Position,
        only: Option<&Arc<str>>,
    ) -> Result<FoldResult, End> {
        let Some(event) = self.event(position).await? else {
            return Ok(FoldResult::default());
        };
        let (rules, events) = (Arc::clone(&self.rules), vec![Arc::clone(&event)]);
        let (mut keyed, stuck) = self.folding(move || rules.key(events)).await?;
        if let Some(stuck) = stuck {
            check_host(&stuck)?;
            let subject = Subject::Stream(event.stream.as_str().into());
            return Ok(FoldResult {
                documents: Vec::new(),
                failed: vec![(subject, stuck)],
            });
        }
        let at = self.shared.clock.now();
        let dropped = self.drops.take_documents(&mut keyed, at);
        self.buffer.failed.skipped.extend(dropped);
        match only {
            Some(only) => keyed.works.retain(|(key, _)| key == only),
            None => {
                for (subject, position) in self.parked.take_documents(&mut keyed) {
                    self.park(subject, position, at);
                }
            }
        }
        self.load(keyed.works.iter().map(|(key, _)| key)).await?;
        let rules = Arc::clone(&self.rules);
        let tasks = keyed.tasks(|key| self.buffer.cache.get(key));
        let tried = self.folding(move || apply_each(&rules, tasks)).await?;
        tried.failed.iter().try_for_each(|(_, it)| check_host(it))?;
        Ok(tried)
    }

    async fn event(&mut self, position: Position) -> Result<Option<Event>, End> {
        let (shared, after) = (
            Arc::clone(&self.shared),
            Position(position.0.saturating_sub(1)),
        );
        let reading = async move {
            let (all, forward) = (Filter::default(), Direction::Forward);
            let page = shared.reader.read_log(after, forward, 1, &all).await?;
            let events = page.events.into_iter();
            Ok::<_, Error>(events.map(Arc::new).find(|it| it.position == position))
        };
        self.holding(reading).await?.map_err(End::Failed)
    }

    /// Remembers that an operator asked to retry parked events.
    pub(super) fn wants_retry(&mut self, retries: u64) {
        if retries > self.retries.requests {
            self.retries.requests = retries;
            self.retries.is_wanted = true;
        }
    }

    /// Retries the parked events that operators asked for, per subject and in order, up to the
    /// first one that fails. Under the policy `skip`, an event that fails is skipped, and its
    /// sequence goes on.
    pub(super) async fn retry_parked(&mut self) -> Result<(), End> {
        self.retries.is_wanted = false;
        let mut tried = 0;
        loop {
            let (shared, build) = (Arc::clone(&self.shared), self.build.id);
            let asking = async move { shared.documents.retries(build, DOCUMENTS_PAGE_MAX).await };
            let retries = self.holding(asking).await?;
            let retries = retries.map_err(|error| End::Failed(error.into()))?;
            if retries.is_empty() {
                return Ok(());
            }
            // An operator retries after a deployment, perhaps on another host of which this one
            // has not heard yet: then the newly deployed module retries them.
            self.shared.learn_plan().await.map_err(End::Failed)?;
            if self.is_replaced() {
                self.retries.is_wanted = true;
                return Ok(());
            }
            for (subject, number) in retries {
                while let Some(position) = self.parked.first(&subject) {
                    let has_passed = self.retry_one(&subject, position).await?;
                    tried += 1;
                    if tried % RETRIED_AT_ONCE == 0 {
                        self.flush(None).await?;
                    }
                    if !has_passed {
                        break;
                    }
                }
                self.buffer.failed.retried.push((subject, number));
            }
            self.flush(None).await?;
        }
    }

    async fn retry_one(&mut self, subject: &Subject, position: Position) -> Result<bool, End> {
        let only = match subject {
            Subject::Document(key) => Some(key),
            Subject::Stream(_) => None,
        };
        let at = self.shared.clock.now();
        let tried = self.try_one(position, only).await?;
        let mut has_passed = true;
        for (of, stuck) in tried.failed {
            // An event that is parked for a document stays parked for it, no matter for which
            // subject the retry fails.
            let of = only.map_or(of, |_| subject.clone());
            let mut failed = FailedEvent {
                subject: of,
                position,
                at,
                error: Some(stuck.error),
                attempts: 1,
                reason: None,
            };
            if self.on_error == OnError::Skip {
                // As for an event that fails for the first time.
                failed.reason = Some(SKIPPED_BY_POLICY.into());
                self.buffer.failed.skipped.push(failed);
                continue;
            }
            has_passed &= failed.subject != *subject;
            self.parked.add(&failed.subject, position);
            self.buffer.failed.parked.push(failed);
        }
        for (key, document) in tried.documents {
            self.buffer.cache.put(&key, document, position);
        }
        if has_passed {
            self.parked.remove(subject, position);
            self.buffer
                .failed
                .unparked
                .push((subject.clone(), position));
        }
        Ok(has_passed)
    }
}

/// Fails when the host could not fold an event. The policy is for events that can't be folded.
fn check_host(stuck: &FoldFailure) -> Result<(), End> {
    match stuck.is_of_host() {
        true => Err(End::Failed(stuck.unavailable().into())),
        false => Ok(()),
    }
}

fn apply_each(rules: &Rules, tasks: Vec<Task>) -> FoldResult {
    let mut tried = FoldResult::default();
    for task in tasks {
        match rules.apply_one(&task) {
            Ok(document) => tried.documents.push((task.key, document)),
            Err(stuck) => {
                let subject = Subject::Document(task.key);
                tried.failed.push((subject, stuck));
            }
        }
    }
    tried
}

impl Trouble {
    /// The error of a build that has more parked events than allowed.
    pub(super) fn full(waiting: usize, max: usize, since: Timestamp) -> Self {
        let error = format!(
            "{waiting} events wait, at most {max} may; retry them after a fix, or drop them, then \
             resume"
        );
        Self {
            is_stopped: true,
            error: error.into(),
            since,
            position: None,
            stream: None,
            document: None,
            attempts: 0,
        }
    }

    /// The error of a build that can't fold an event.
    fn of(stuck: &FoldFailure, since: Timestamp, attempts: u32, is_stopped: bool) -> Self {
        Self {
            is_stopped,
            position: Some(stuck.position),
            stream: Some(stuck.stream.as_str().into()),
            document: stuck.document.as_deref().map(Into::into),
            error: stuck.error.clone(),
            since,
            attempts,
        }
    }
}
